"""Perceptual loss: distance of images in the features of a network that was trained to classify photographs."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from ganpress.errors import CheckpointError
from ganpress.files.checkpoint import load_weights_only, named_tensors

Preprocessing = Literal["torchvision", "caffe"]
"""`torchvision`: RGB in [0, 1], standardised; `caffe`: BGR in [0, 255] minus the mean, as Caffe's networks read."""

_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)
_CAFFE_MEAN_BGR = (104.0, 117.0, 123.0)


@dataclass(frozen=True)
class _FeatureNetwork:
    name: str
    """Name of the constructor in `torchvision.models`."""
    taps: dict[int, float]
    """Index into its `features` -> weight of the distance there."""
    smallest: int
    """Height and width in pixels below which the deepest tap has nothing left to see."""


_NETWORKS = (
    # relu1_1 … relu5_1 (Johnson et al. 2016, with the layers and weights of pix2pixHD: Wang et al. 2018, section 3.5).
    _FeatureNetwork("vgg19", {1: 1 / 32, 6: 1 / 16, 11: 1 / 8, 20: 1 / 4, 29: 1.0}, 16),
    # The first layer at each of its resolutions, like VGG's, under the same weights from the deep end.
    _FeatureNetwork("squeezenet1_0", {1: 1 / 16, 3: 1 / 8, 7: 1 / 4, 12: 1.0}, 21),
    _FeatureNetwork("squeezenet1_1", {1: 1 / 16, 3: 1 / 8, 6: 1 / 4, 9: 1.0}, 17),
)


class PerceptualLoss(nn.Module):
    """Sum over layers of weight_i E |phi_i(x) - phi_i(y)| (Johnson et al. 2016, eq. 2, in L1 as Wang et al. 2018).

    The network phi is the VGG19 or SqueezeNet that the weights file fits; nothing is downloaded. Its weights are frozen
    and belong to no checkpoint. Features are compared as the network makes them: those of a Caffe network are one to
    two orders larger than torchvision's, so choose the loss's weight for the network at hand.

    Args:
        weights_path: a torchvision `state_dict`, with its classifier or without.
        preprocessing: what the network reads; None takes `caffe` for a file that says "caffe" in its name, since
            tensors alone do not tell, else `torchvision`.

    Raises:
        CheckpointError: if the file is missing, damaged, or fits none of the networks.
    """

    def __init__(self, weights_path: Path, preprocessing: Preprocessing | None = None) -> None:
        super().__init__()
        self._network, self.features = _load_features(weights_path)
        named = "caffe" if "caffe" in weights_path.name.lower() else "torchvision"
        self._preprocess = _PREPROCESSING[preprocessing or named]

    @property
    def network(self) -> str:
        """Name of the feature network: `vgg19`, `squeezenet1_0` or `squeezenet1_1`."""
        return self._network.name

    def forward(self, images: Float[Tensor, "n _ h w"], references: Float[Tensor, "n _ h w"]) -> Float[Tensor, ""]:
        """Distance of `images` to `references`, both of 1 or 3 channels in [-1, 1]; no gradient reaches the references.

        Raises:
            ValueError: if the images have neither 1 nor 3 channels or are too small for the network.
        """
        _check(images, self._network)
        with torch.no_grad():
            wanted = list(self._taps(references))
        distances = [
            weight * functional.l1_loss(found, reference)
            for weight, found, reference in zip(self._network.taps.values(), self._taps(images), wanted, strict=True)
        ]
        return torch.stack(distances).sum()

    def _taps(self, images: Float[Tensor, "n c h w"]) -> Iterator[Float[Tensor, "n _ _ _"]]:
        x = self._preprocess(images.expand(-1, 3, -1, -1))
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in self._network.taps:
                yield x


def _check(images: Float[Tensor, "n c h w"], network: _FeatureNetwork) -> None:
    if images.shape[1] not in (1, 3):
        raise ValueError(f"a perceptual loss compares grey or colour images, found {images.shape[1]} channels")
    if min(images.shape[-2:]) < network.smallest:
        height, width = images.shape[-2:]
        raise ValueError(
            f"a perceptual loss on {network.name} needs images of {network.smallest} pixels or more each way, "
            f"found {height}x{width}"
        )


def _for_torchvision(images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 3 h w"]:
    mean, deviation = (images.new_tensor(values).view(1, 3, 1, 1) for values in (_MEAN, _DEVIATION))
    return ((images + 1) / 2 - mean) / deviation


def _for_caffe(images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 3 h w"]:
    return (images.flip(1) + 1) * 127.5 - images.new_tensor(_CAFFE_MEAN_BGR).view(1, 3, 1, 1)


_PREPROCESSING: dict[str, Callable[[Tensor], Tensor]] = {"torchvision": _for_torchvision, "caffe": _for_caffe}


def _load_features(path: Path) -> tuple[_FeatureNetwork, nn.Sequential]:
    """Find the network that the file fits; its layers up to the deepest tap, frozen, in eval mode."""
    from torchvision import models

    state = load_weights_only(path)
    if not isinstance(state, dict):
        raise CheckpointError(f"{path} holds no state_dict but a {type(state).__name__}; save `network.state_dict()`")
    found = {key: value for key, value in named_tensors(state, str(path)).items() if key.startswith("features.")}
    for network in _NETWORKS:
        with torch.device("meta"):  # no memory and no random numbers for weights that are replaced at once
            features = getattr(models, network.name)(weights=None).features
        wanted = {f"features.{name}": tensor.shape for name, tensor in features.state_dict().items()}
        if wanted == {name: tensor.shape for name, tensor in found.items()}:
            features.load_state_dict({name.removeprefix("features."): found[name] for name in wanted}, assign=True)
            kept = features[: max(network.taps) + 1]
            return network, _without_inplace_(kept).requires_grad_(False).eval()
    raise CheckpointError(
        f"{path} fits no feature network of a perceptual loss ({', '.join(one.name for one in _NETWORKS)}); "
        f"{_first_tensor(found)}; give the state_dict of one of them"
    )


def _without_inplace_(features: nn.Sequential) -> nn.Sequential:
    """Let ReLUs write their own outputs: a tap before one would else be changed after it was taken."""
    for module in features.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    return features


def _first_tensor(found: dict[str, Tensor]) -> str:
    name = next(iter(found), None)
    return f"found '{name}' {tuple(found[name].shape)}" if name else "found no tensor below 'features.'"
