"""Judges: the feature networks that generators are measured by."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ganpress.checkpoint import file_digest, load_model, load_weights_only, save_atomically
from ganpress.config.judge import JudgeConfig
from ganpress.errors import CheckpointError, ConfigError, DataError
from ganpress.pixels import images_to_uint8, uint8_to_images

FORMAT = "ganpress-judge"
DIGEST_LENGTH = 12


@dataclass(frozen=True)
class JudgeOutput:
    """What a judge sees in N images."""

    features: NDArray[np.float32]
    """(N, F), for distances between sets."""
    probabilities: NDArray[np.float64]
    """(N, K), for the Inception Score; rows sum to 1."""


class Judge(Protocol):
    """A frozen network that looks at images as bytes."""

    @property
    def name(self) -> str:
        """What metric names carry: `judge` for the data set's own classifier, `inception` for InceptionV3."""

    @property
    def digest(self) -> str:
        """First digits of the SHA-256 of its weights file; scores of other digests are not comparable."""

    def __call__(self, images: Tensor) -> JudgeOutput:
        """Look at float images (N, C, H, W) in [-1, 1], rounded to uint8 first."""


class ClassifierJudge:
    """A small classifier that was trained on the data set (`artifacts/judge/judge.pt`)."""

    name = "judge"

    def __init__(self, network: nn.Module, digest: str) -> None:
        self.network = network.eval()
        self.digest = digest

    @torch.no_grad()
    def __call__(self, images: Tensor) -> JudgeOutput:
        """Look at float images (N, C, H, W) in [-1, 1], rounded to uint8 first."""
        features, logits = self.network(uint8_to_images(images_to_uint8(images)))
        return _output(features, logits)


class InceptionJudge:
    """InceptionV3 of the original FID code, by torch-fidelity: its 2048 features and unbiased logits."""

    name = "inception"

    def __init__(self, weights: Path) -> None:
        self.weights = weights
        self.network = _load_inception(weights)
        self.digest = weights_digest(weights)

    @torch.no_grad()
    def __call__(self, images: Tensor) -> JudgeOutput:
        """Look at float images (N, C, H, W) in [-1, 1], rounded to uint8 first; gray is repeated to three channels."""
        pixels = images_to_uint8(images)
        colour = pixels.expand(-1, 3, -1, -1) if pixels.shape[1] == 1 else pixels
        features, logits = self.network(colour)
        return _output(features, logits)


def load_judge(source: Path | JudgeConfig) -> Judge:
    """Load the judge from its file `artifacts/judge/judge.pt`, or Inception from its section of params.yaml.

    Raises:
        CheckpointError: if the file is missing, damaged or no judge, or Inception's weights have changed since.
        ConfigError: if the section asks for a classifier (which only its file can give), or Inception's weights are
            not where the section says.
        DataError: if Inception's weights are neither cached nor to be downloaded.
    """
    if isinstance(source, JudgeConfig):
        if source.kind != "inception":
            raise ConfigError("judge.kind is 'classifier': it is read from its file; run `dvc repro judge` first")
        return InceptionJudge(_inception_weights(source.weights))
    content = load_weights_only(source)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        network, _ = load_model(source, expected_builder="classifier")
        return ClassifierJudge(network, weights_digest(source))
    judge = InceptionJudge(_inception_weights(content["weights"]))
    if judge.digest != content["digest"]:
        raise CheckpointError(
            f"{judge.weights} has the digest {judge.digest}, {source} was made with {content['digest']}; put the "
            "weights back or run `dvc repro --force judge`"
        )
    return judge


def save_inception_judge(path: Path, judge: InceptionJudge, weights: str | None) -> None:
    """Write the `judge.pt` that stands for Inception: where its weights are, as configured, and their digest."""
    save_atomically(path, {"format": FORMAT, "weights": weights, "digest": judge.digest})


def weights_digest(path: Path) -> str:
    """Return the first digits of the SHA-256 of a weights file."""
    return file_digest(path, "sha256")[:DIGEST_LENGTH]


def _output(features: Tensor, logits: Tensor) -> JudgeOutput:
    probabilities = logits.to(torch.float64).softmax(dim=1)
    return JudgeOutput(features.to(torch.float32).cpu().numpy(), probabilities.cpu().numpy())


def _inception_weights(weights: str | None) -> Path:
    """Return the path of Inception's weights, downloading them into torch's cache where none is named."""
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

    if weights is not None:
        if not Path(weights).is_file():
            raise ConfigError(f"judge.weights: {weights} does not exist; name a local copy of {URL_INCEPTION_V3}")
        return Path(weights)
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


def _load_inception(weights: Path) -> Any:
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    # torch-fidelity unpickles its weights; a file that also loads with weights_only=True holds no code.
    load_weights_only(weights)
    try:
        return FeatureExtractorInceptionV3("inception", ["2048", "logits_unbiased"], str(weights))
    except (RuntimeError, TypeError, AttributeError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{weights} does not hold torch-fidelity's InceptionV3: {reason}") from None
