"""Judges: the feature networks that generators are measured by."""

from pathlib import Path
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ganpress.basics.device import CPU, device_of
from ganpress.basics.pixel_values import images_to_uint8, uint8_to_images
from ganpress.basics.whole_files import write_whole
from ganpress.config.judge_section import JudgeConfig
from ganpress.errors import CheckpointError, ConfigError, shown
from ganpress.files.checkpoint import load_model, read_model_file
from ganpress.files.tensor_files import tensor_bytes
from ganpress.metrics.judges.external_judges import (
    GivenSegmenterJudge,
    InceptionJudge,
    SqueezeNetJudge,
    given_weights,
    inception_weights,
)
from ganpress.metrics.judges.judge_output import JudgeOutput, judge_output, weights_digest

FORMAT = "ganpress-judge"
ExternalJudge = InceptionJudge | SqueezeNetJudge | GivenSegmenterJudge


class Judge(Protocol):
    """A frozen network that looks at images as bytes."""

    @property
    def name(self) -> str:
        """Name of the judge in metric names: `judge` for the data set's own, else `inception`, `squeezenet` or
        `segmenter`.
        """

    @property
    def digest(self) -> str:
        """First digits of the SHA-256 of its weights file; scores of other digests are not comparable."""

    def __call__(self, images: Float[Tensor, "n c h w"]) -> JudgeOutput:
        """Look at float images in [-1, 1], rounded to uint8 first."""


class ClassifierJudge:
    """A small classifier that was trained on the data set (`artifacts/judge/judge.safetensors`).

    Args:
        network: images -> (features, logits).
        digest: of its file.
        pretext: Whether its classes are no classes of the data (domains, rotations), so that its probabilities say
            nothing about an image's quality and are not given.
    """

    name = "judge"

    def __init__(self, network: nn.Module, digest: str, pretext: bool = False) -> None:
        self.network = network.eval()
        self.digest = digest
        self.pretext = pretext

    @torch.no_grad()
    def __call__(self, images: Float[Tensor, "n c h w"]) -> JudgeOutput:
        """Look at float images in [-1, 1], rounded to uint8 first."""
        features, logits = self.network(uint8_to_images(images_to_uint8(images.to(device_of(self.network)))))
        return judge_output(features, None if self.pretext else logits)


class SegmenterJudge:
    """A small segmentation network that was trained on the data set's label maps (`judge.safetensors`)."""

    name = "judge"

    def __init__(self, network: nn.Module, digest: str) -> None:
        self.network = network.eval()
        self.digest = digest

    @torch.no_grad()
    def __call__(self, images: Float[Tensor, "n c h w"]) -> JudgeOutput:
        """Look at float images in [-1, 1], rounded to uint8 first."""
        features, logits = self.network(uint8_to_images(images_to_uint8(images.to(device_of(self.network)))))
        return judge_output(features, label_logits=logits)


def load_judge(source: Path | JudgeConfig, device: torch.device = CPU) -> Judge:
    """Load the judge from its file `judge.safetensors`, or one that is not trained here from params.yaml.

    Its network computes on `device`; what it sees comes back to the processor.

    Raises:
        CheckpointError: if the file is missing, damaged or no judge, or external weights have changed since.
        ConfigError: if the section asks for a judge that is trained (which only its file can give), or its weights are
            not where the section says.
        DataError: if Inception's weights are neither cached nor to be downloaded.
    """
    if isinstance(source, JudgeConfig):
        return load_external_judge(source.kind, source.weights, device)
    content = read_model_file(source)
    if isinstance(content, dict) and content.get("format") == FORMAT:
        return _load_reference(source, content, device)
    network, blueprint = load_model(source)
    network.to(device)
    digest = weights_digest(source)
    if blueprint.builder == "segmenter":
        return SegmenterJudge(network, digest)
    if blueprint.builder not in ("classifier", "pretext_classifier"):
        raise CheckpointError(f"{source} holds a '{blueprint.builder}', but a judge is needed; run `dvc repro judge`")
    return ClassifierJudge(network, digest, pretext=blueprint.builder == "pretext_classifier")


def load_external_judge(kind: str, weights: str | None, device: torch.device = CPU) -> ExternalJudge:
    """Load a judge that is not trained here; the user's own segmentation network stays on the processor.

    Raises:
        ConfigError: if this kind is trained here, or `weights` does not exist.
        CheckpointError: if the file holds another network.
        DataError: if Inception's weights are neither cached nor to be downloaded.
    """
    if kind == "inception":
        return InceptionJudge(inception_weights(weights), device)
    if kind == "squeezenet" and weights is not None:
        return SqueezeNetJudge(
            given_weights(weights, "name a state_dict of SqueezeNet 1.0 for Caffe's colours"), device
        )
    if kind == "segmenter" and weights is not None:
        return GivenSegmenterJudge(given_weights(weights, "name a TorchScript or torch.export file"))
    raise ConfigError(f"judge.kind is '{kind}': it is read from its file; run `dvc repro judge` first")


def save_external_judge(path: Path, judge: ExternalJudge, weights: str | None) -> None:
    """Write the `judge.safetensors` that stands for an external judge: where its weights are, and their digest."""
    facts = {"format": FORMAT, "kind": judge.name, "weights": weights, "digest": judge.digest}
    write_whole(path, tensor_bytes({}, facts))


def _load_reference(path: Path, content: dict[str, object], device: torch.device) -> Judge:
    kind, weights, digest = content.get("kind", "inception"), content.get("weights"), content.get("digest")
    if not isinstance(kind, str) or not isinstance(weights, str | None) or not isinstance(digest, str):
        raise CheckpointError(f"{path} is no judge: a field is missing or wrong; run `dvc repro --force judge`")
    judge = load_external_judge(kind, weights, device)
    if judge.digest != digest:
        raise CheckpointError(
            f"{judge.weights} has the digest {judge.digest}, {path} was made with {shown(digest)}; put the "
            "weights back or run `dvc repro --force judge`"
        )
    return judge
