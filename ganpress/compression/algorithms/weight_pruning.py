"""Magnitude pruning as an algorithm of `compress.items`: the smallest weights of each layer become zero."""

from typing import TYPE_CHECKING

from ganpress.compression.compressor import CompressionData, Compressor
from ganpress.config.base import Section
from ganpress.config.bounds import PartialShare

if TYPE_CHECKING:
    from torch import nn

    from models.builders import Blueprint


class WeightPruning(Section):
    """Options of `prune`."""

    sparsity: PartialShare
    """Share of the smallest weights of each layer set to zero."""


def _prune(
    model: "nn.Module", blueprint: "Blueprint", options: WeightPruning, _data: CompressionData
) -> "tuple[nn.Module, Blueprint]":
    from ganpress.compression.pruning.magnitude_pruning import prune_

    prune_(model, options.sparsity)
    return model, blueprint


PRUNE = Compressor("prune", WeightPruning, _prune)
