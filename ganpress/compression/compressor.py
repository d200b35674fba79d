"""The definition of a compression algorithm in one value."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ganpress.config.base import Section

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from ganpress.data.prepared.generator_inputs import TrainingInputs
    from ganpress.training.loop import TrainingRun
    from models.builders import Blueprint


@dataclass(frozen=True)
class CompressionData:
    """The data that an algorithm gets in addition to the generator."""

    calibration: "Tensor"
    """Calibration inputs (N, …), the same for every algorithm of an item."""
    seed: int
    """Seed that drew them."""
    inputs: "TrainingInputs"
    """Source of further inputs, for algorithms that train."""
    run: "TrainingRun"
    """Random streams and checkpoint of such a training."""
    device: "torch.device"
    """Device on which it runs; generators are passed in and returned on the CPU."""


@dataclass(frozen=True)
class Compressor:
    """One algorithm: its options, and the function that takes them."""

    name: str
    """Name of the algorithm, as in `compress.items.X.method`."""
    options: type[Section]
    """Class of its options, which is frozen and declares and bounds every option."""
    compress: "Callable[[nn.Module, Blueprint, Any, CompressionData], tuple[nn.Module, Blueprint]]"
    """(generator, its blueprint, options, data) -> the compressed generator and its blueprint.

    The given generator is a copy and may be changed. The result goes to the next algorithm of the item.
    """
    comes_last: bool = False
    """Whether no other algorithm can follow, e.g. because the result is in integers."""
    scan: "Callable[[nn.Module, Any, Tensor], Any] | None" = None
    """(original, options, calibration inputs) -> further content of the record about the original; or None."""
