"""Structured pruning as an algorithm of `compress.items`: the least important channels are removed."""

from typing import TYPE_CHECKING

from ganpress.compression.compressor import CompressionData, Compressor
from ganpress.config.base import Section
from ganpress.config.bounds import PositiveShare

if TYPE_CHECKING:
    from torch import nn

    from models.builders import Blueprint


class ChannelPruning(Section):
    """Options of `prune_channels`."""

    width: PositiveShare
    """Share of each layer's channels that are kept, the most important ones."""


def _prune_channels(
    model: "nn.Module", blueprint: "Blueprint", options: ChannelPruning, data: CompressionData
) -> "tuple[nn.Module, Blueprint]":
    from ganpress.compression.pruning.structured_pruning import prune_channels

    return prune_channels(model, blueprint, options.width, data.calibration)


PRUNE_CHANNELS = Compressor("prune_channels", ChannelPruning, _prune_channels)
