"""The output of a judge for a batch of images."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from torch import Tensor

from ganpress.errors import ConfigError
from ganpress.files.checkpoint import file_digest

DIGEST_LENGTH = 12


@dataclass(frozen=True)
class JudgeOutput:
    """A judge's output for N images; outputs that this kind of judge does not have are None."""

    features: NDArray[np.float32]
    """(N, F), for distances between sets."""
    probabilities: NDArray[np.float64] | None = None
    """(N, K), for the Inception Score; rows sum to 1. None where the judge knows no classes of the images."""
    label_maps: NDArray[np.uint8] | None = None
    """(N, H, W) label ids, for the segmentation score."""


def judge_output(
    features: Float[Tensor, "n f"],
    logits: Float[Tensor, "n k"] | None = None,
    label_logits: Float[Tensor, "n classes h w"] | None = None,
) -> JudgeOutput:
    """Gather features, class logits and logits of each pixel's label off the device."""
    probabilities = None if logits is None else logits.cpu().to(torch.float64).softmax(dim=1).numpy()
    maps = None if label_logits is None else label_logits.argmax(1).to(torch.uint8).cpu().numpy()
    return JudgeOutput(features.to(torch.float32).cpu().numpy(), probabilities, maps)


def class_probabilities(seen: JudgeOutput, judge: str) -> Float[NDArray[np.float64], "n k"]:
    """Return the class probabilities that the judge of this name gives.

    Raises:
        ConfigError: if it knows no classes.
    """
    if seen.probabilities is None:
        raise ConfigError(
            f"the Inception Score needs a judge that knows the images' classes; this one ('{judge}') gives features "
            "only: choose the metric fid or kid, or judge.kind classifier or inception"
        )
    return seen.probabilities


def label_maps(seen: JudgeOutput, judge: str) -> UInt8[NDArray[np.uint8], "n h w"]:
    """Return the label maps that the judge of this name gives.

    Raises:
        ConfigError: if it reads none.
    """
    if seen.label_maps is None:
        raise ConfigError(
            f"mean class IoU needs a judge that reads label maps; this one ('{judge}') does not: set judge.kind to "
            "'segmenter', or choose the metric fid or kid"
        )
    return seen.label_maps


def weights_digest(path: Path) -> str:
    """Return the first digits of the SHA-256 of a weights file."""
    return file_digest(path, "sha256")[:DIGEST_LENGTH]
