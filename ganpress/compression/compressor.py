"""What is known of a compression algorithm that another package adds."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ganpress.config.base import Section

if TYPE_CHECKING:
    from torch import Tensor, nn

    from models.builders import Blueprint


@dataclass(frozen=True)
class Compressor:
    """One algorithm: its options, and the function that takes them."""

    name: str
    """As in `compress.items.X.method.name`."""
    options: type[Section]
    """What stands beside the name; frozen, every option bounded and declared."""
    compress: "Callable[[nn.Module, Blueprint, Any, Tensor, int], tuple[nn.Module, Blueprint]]"
    """(generator, its blueprint, options, calibration inputs (N, …), seed) -> a compressed one and what rebuilds it.

    The given generator is left as it is; what comes out is pruned and rounded as the other options of the item say.
    """
