"""The definition of a distance between images in one value."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn

Measure = Callable[["Tensor", "Tensor"], "Tensor"]
"""(images that were made, images that are wanted), both (N, C, H, W) in [-1, 1] -> a scalar of the first's graph."""


@dataclass(frozen=True)
class Distance:
    """One distance between two batches of images."""

    name: str
    """Name of the distance, as in `student.items.X.distances`."""
    build: "Callable[[nn.Module | None], Measure]"
    """Frozen network of features, None where none is needed -> the function that measures the distance."""
    needs_features: bool = False
    """Whether it is measured on the features of the teacher's discriminator."""
    shown: str = ""
    """Name of its value in training curves; empty: its own name."""
