"""Applies an item of `compress` to a generator, and sets the number of inputs on which the difference is measured."""

import copy

from jaxtyping import Float
from torch import Tensor, nn

from ganpress.compression.compressor import CompressionData
from ganpress.config.edge_section import CompressItem
from models.builders import Blueprint

HELD_OUT_IMAGES = 256
"""Number of inputs on which the difference to the original is measured; they are not used for calibration."""
HELD_OUT_VALUES = 2**22
"""Largest number of values in these inputs, so that the measurement takes seconds: 21 pictures of 3x256x256."""
FEWEST_HELD_OUT = 8


def apply_item(
    original: nn.Module, blueprint: Blueprint, item: CompressItem, data: CompressionData
) -> tuple[nn.Module, Blueprint]:
    """Apply an item's algorithms in order to a copy of `original`; a generator that is only pruned keeps its
    architecture.

    Raises:
        ConfigError: if an option does not fit the generator, or the calibration inputs do not.
    """
    model = copy.deepcopy(original)
    for compressor, options in item.algorithms():
        model, blueprint = compressor.compress(model, blueprint, options, data)
    return model, blueprint


def held_out_count(example: Float[Tensor, "1 ..."]) -> int:
    """Return the number of inputs on which the difference is measured, for inputs of the size of `example`."""
    return max(FEWEST_HELD_OUT, min(HELD_OUT_IMAGES, HELD_OUT_VALUES // example.numel()))
