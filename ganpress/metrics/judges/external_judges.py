"""Judges from weights files that were trained elsewhere: Inception, SqueezeNet, and the user's segmentation network."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional

from ganpress.basics.device import CPU, device_of
from ganpress.basics.pixel_values import images_to_uint8, uint8_to_images
from ganpress.errors import CheckpointError, ConfigError, DataError
from ganpress.files.checkpoint import load_weights_, load_weights_only
from ganpress.metrics.judges.exported_programs import load_exported
from ganpress.metrics.judges.judge_output import JudgeOutput, judge_output, weights_digest

SQUEEZENET_SIZE = 227
CAFFE_MEAN_BGR = (104.0, 117.0, 123.0)
GRID = 4
"""A given segmentation network has no named features; its logits, averaged over GRID x GRID cells, take their place."""


class InceptionJudge:
    """InceptionV3 of the original FID code, by torch-fidelity: its 2048 features and unbiased logits."""

    name = "inception"

    def __init__(self, weights: Path, device: torch.device = CPU) -> None:
        self.weights = weights
        self.network = _load_inception(weights).to(device)
        self.digest = weights_digest(weights)

    @torch.no_grad()
    def __call__(self, images: Float[Tensor, "n c h w"]) -> JudgeOutput:
        """Look at float images in [-1, 1], rounded to uint8 first; gray is repeated to three channels."""
        features, logits = self.network(_coloured(images_to_uint8(images.to(device_of(self.network)))))
        return judge_output(features, logits)


class SqueezeNetJudge:
    """SqueezeNet 1.0 (Iandola et al. 2016) trained on ImageNet: the 512 channels of its last Fire module, averaged.

    Images are rounded to uint8, gray is repeated, resized to 227 x 227 (bilinear with antialiasing) and given as Caffe
    gave them: blue, green, red in 0 … 255 less ImageNet's mean. FIDs by its features are not comparable with those by
    Inception's; it is small, and its weights are free to pass on.
    """

    name = "squeezenet"

    def __init__(self, weights: Path, device: torch.device = CPU) -> None:
        from torchvision.models import squeezenet1_0

        self.weights = weights
        network = squeezenet1_0(weights=None)
        content = load_weights_only(weights)
        if not isinstance(content, dict):
            raise CheckpointError(f"{weights} does not hold SqueezeNet 1.0: a state_dict is needed")
        load_weights_(network, content, str(weights))
        self.network = network.features.eval().to(device)
        self.digest = weights_digest(weights)

    @torch.no_grad()
    def __call__(self, images: Float[Tensor, "n c h w"]) -> JudgeOutput:
        """Look at float images in [-1, 1], rounded to uint8 first."""
        pixels = _coloured(images_to_uint8(images.to(device_of(self.network)))).float()
        size = (SQUEEZENET_SIZE, SQUEEZENET_SIZE)
        resized = functional.interpolate(pixels, size, mode="bilinear", antialias=True)
        mean = torch.tensor(CAFFE_MEAN_BGR, device=resized.device)[:, None, None]
        centred = resized.flip(1) - mean  # red, green, blue -> blue, green, red
        return judge_output(self.network(centred).mean((2, 3)))


class GivenSegmenterJudge:
    """The user's segmentation network: images (N, C, H, W) in [-1, 1] -> logits (N, K, h, w) of the label classes.

    What else it needs of its input (size, mean, standard deviation) it does itself. Logits are resized bilinearly to
    the size of the images. Features are its logits averaged over 4 x 4 cells: which classes it sees where.
    """

    name = "segmenter"

    def __init__(self, weights: Path) -> None:
        self.weights = weights
        self.network = _load_program(weights)
        self.digest = weights_digest(weights)

    @torch.no_grad()
    def __call__(self, images: Float[Tensor, "n c h w"]) -> JudgeOutput:
        """Look at float images in [-1, 1], rounded to uint8 first.

        Raises:
            CheckpointError: if the network does not accept the images, or does not return logits.
        """
        try:
            logits = self.network(uint8_to_images(images_to_uint8(images.cpu())))
        except (RuntimeError, ValueError, AssertionError) as error:
            reason = _last_line(error)
            raise CheckpointError(f"{self.weights} does not accept images {tuple(images.shape)}: {reason}") from None
        if not isinstance(logits, Tensor) or logits.dim() != 4 or len(logits) != len(images):
            found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise CheckpointError(f"{self.weights} must return logits (N, classes, h, w), found {found}")
        resized = functional.interpolate(logits.float(), images.shape[2:], mode="bilinear", align_corners=False)
        features = functional.adaptive_avg_pool2d(logits.float(), GRID).flatten(1)
        return judge_output(features, label_logits=resized)


def inception_weights(weights: str | None) -> Path:
    """Return the path of Inception's weights, downloading them into torch's cache where none is named.

    Raises:
        ConfigError: if the named file is absent.
        DataError: if they are neither cached nor to be downloaded.
    """
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

    if weights is not None:
        return given_weights(weights, f"name a local copy of {URL_INCEPTION_V3}")
    cached = Path(torch.hub.get_dir()) / "checkpoints" / Path(URL_INCEPTION_V3).name
    if not cached.is_file():
        try:
            cached.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(URL_INCEPTION_V3, str(cached), progress=False)
        except OSError as error:
            raise DataError(
                f"Inception's weights are not at {cached} and {URL_INCEPTION_V3} cannot be read ({error}); copy the "
                "file there, or set judge.weights to it, or judge.kind to 'classifier'"
            ) from None
    return cached


def given_weights(weights: str, advice: str) -> Path:
    """Return the path of a weights file that params.yaml names.

    Raises:
        ConfigError: if it is absent.
    """
    if not Path(weights).is_file():
        raise ConfigError(f"judge.weights: {weights} does not exist; {advice}")
    return Path(weights)


def _coloured(pixels: UInt8[Tensor, "n _ h w"]) -> UInt8[Tensor, "n _ h w"]:
    return pixels.expand(-1, 3, -1, -1) if pixels.shape[1] == 1 else pixels


def _load_inception(weights: Path) -> Any:
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    # torch-fidelity unpickles its weights; a file that also loads with weights_only=True holds no code.
    load_weights_only(weights)
    try:
        return FeatureExtractorInceptionV3("inception", ["2048", "logits_unbiased"], str(weights))
    except (RuntimeError, TypeError, AttributeError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{weights} does not hold torch-fidelity's InceptionV3: {reason}") from None


def _load_program(weights: Path) -> Callable[[Tensor], Any]:
    """Load a TorchScript or exported program: code that runs as the user, who names it in params.yaml and trusts it."""
    try:
        if weights.suffix == ".pt2":
            exported: Callable[[Tensor], Any] = load_exported(weights).module()
            return exported
        script: Callable[[Tensor], Any] = torch.jit.load(str(weights), map_location="cpu").eval()  # type: ignore[no-untyped-call]
        return script
    except CheckpointError:
        raise
    except Exception as error:  # both loaders raise many types for damaged files
        raise CheckpointError(
            f"{weights} is no segmentation network ({_last_line(error)}); save it by torch.jit.save as .pt, or by "
            "torch.export.save as .pt2 with a dynamic batch dimension"
        ) from None


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(error).__name__
