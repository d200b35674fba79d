"""Learned perceptual image patch similarity (LPIPS; Zhang et al. 2018) on a SqueezeNet 1.1, from a local file.

No installed package ships the weights, so the user supplies one file, written once where torchvision and lpips are:

    torch.save({"backbone": torchvision.models.squeezenet1_1(weights="DEFAULT").state_dict(),
                "heads": torch.load(".../lpips/weights/v0.1/squeeze.pth")}, "lpips-squeeze.pt")
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from ganpress.basics.device import CPU, device_of
from ganpress.basics.pixel_values import uint8_to_images
from ganpress.errors import CheckpointError, DataError
from ganpress.files.checkpoint import load_weights_, load_weights_only, named_tensors
from ganpress.metrics.feature_inputs import Float64

TAPS = (1, 4, 7, 9, 10, 11, 12)
"""Layers of torchvision's `squeezenet1_1().features` whose outputs are compared."""
CHANNELS = (64, 128, 256, 384, 384, 512, 512)
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""ImageNet's mean and standard deviation for images in [-1, 1], as the published heads were trained with."""
MIN_SIZE = 32
EPSILON = 1e-10


class PerceptualDistance:
    """LPIPS of pairs of images: 0 for equal ones, larger for more different ones; symmetric.

    Args:
        features: A feature network, as a sequence of layers that reads (N, 3, H, W).
        heads: For each tap the weights (C,) of its channels, at least 0.
        taps: Indices of the layers that are compared.
    """

    def __init__(
        self, features: nn.Sequential, heads: Sequence[Float[Tensor, " _"]], taps: Sequence[int] = TAPS
    ) -> None:
        self.features, self.taps, self._device = features.eval(), tuple(taps), device_of(features)
        self.heads = [head.to(self._device) for head in heads]

    @torch.no_grad()
    def __call__(self, images: UInt8[Tensor, "n c h w"], others: UInt8[Tensor, "_ _ _ _"]) -> Float[Float64, " n"]:
        """Return sum_l mean_hw sum_c w_lc (f_lc(x) - f_lc(y))^2 of each pair, f of unit length over its channels.

        Args:
            images: uint8 (N, 1 or 3, H, W); gray is repeated to three channels.
            others: uint8, of the same shape.

        Raises:
            DataError: if shapes differ or images are smaller than 32 pixels.
        """
        if images.shape != others.shape or min(images.shape[2:]) < MIN_SIZE:
            found = f"{tuple(images.shape)} and {tuple(others.shape)}"
            raise DataError(f"LPIPS compares images of one shape, from {MIN_SIZE} pixels on; found {found}")
        distance = torch.zeros(len(images), dtype=torch.float64)
        for head, one, other in zip(self.heads, self._taps_of(images), self._taps_of(others), strict=True):
            squared = (_unit(one) - _unit(other)).square()
            distance += torch.einsum("nchw,c->n", squared, head).cpu().double() / squared[0, 0].numel()
        return np.asarray(distance.numpy(), dtype=np.float64)

    def _taps_of(self, pixels: UInt8[Tensor, "n c h w"]) -> list[Float[Tensor, "n _ _ _"]]:
        shift, scale = (torch.tensor(values, device=self._device)[:, None, None] for values in (SHIFT, SCALE))
        x = (uint8_to_images(pixels.to(self._device)).expand(-1, 3, -1, -1) - shift) / scale
        found = []
        for place, layer in enumerate(self.features):
            x = layer(x)
            if place in self.taps:
                found.append(x.clone())  # the next ReLU may work in place
        return found


def load_perceptual_distance(path: Path, device: torch.device = CPU) -> PerceptualDistance:
    """Read the user's file: `backbone`, the state_dict of squeezenet1_1, and `heads`, the lpips package's squeeze.pth.

    Raises:
        CheckpointError: if it is missing, damaged, or holds something else.
    """
    from torchvision.models import squeezenet1_1

    content = load_weights_only(path)
    if not isinstance(content, dict) or set(content) != {"backbone", "heads"}:
        raise CheckpointError(f"{path} must hold 'backbone' and 'heads' of LPIPS on SqueezeNet 1.1 (docs/metrics.md)")
    network = squeezenet1_1(weights=None)
    load_weights_(network, content["backbone"], f"{path}: backbone")
    named = named_tensors(content["heads"], f"{path}: heads")
    heads = []
    for place, channels in enumerate(CHANNELS):
        name = f"lin{place}.model.1.weight"
        head = named.get(name)
        if head is None or head.numel() != channels or not head.is_floating_point():
            found = "missing" if head is None else tuple(head.shape)
            raise CheckpointError(f"{path}: heads: '{name}' is {found}, needed is (1, {channels}, 1, 1)")
        heads.append(head.flatten())
    return PerceptualDistance(network.features.to(device), heads)


def _unit(x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
    return x / (x.square().sum(1, keepdim=True).sqrt() + EPSILON)
