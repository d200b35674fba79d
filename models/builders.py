"""Names for architectures, so that a model file can say what it holds without a pickled class."""

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import nn

from models.edge_wdcgan import edge_wdcgan, folded_wdcgan
from models.elastic import elastic_wdcgan_generator
from models.judge import classifier
from models.quantized import quantized_wdcgan
from models.resnet import resnet_generator
from models.spade import spade_generator
from models.wdcgan import wdcgan_discriminator, wdcgan_generator

Argument = int | float | str | bool | None | list[int] | dict[str, "Argument"]

BUILDERS: dict[str, Callable[..., nn.Module]] = {
    "classifier": classifier,
    "edge_wdcgan": edge_wdcgan,
    "elastic_wdcgan_generator": elastic_wdcgan_generator,
    "folded_wdcgan": folded_wdcgan,
    "quantized_wdcgan": quantized_wdcgan,
    "resnet_generator": resnet_generator,
    "spade_generator": spade_generator,
    "wdcgan_discriminator": wdcgan_discriminator,
    "wdcgan_generator": wdcgan_generator,
}
"""A new architecture is a builder function of plain arguments and one line here."""


@dataclass(frozen=True)
class Blueprint:
    """What rebuilds a module: the name of its builder and plain arguments."""

    builder: str
    arguments: dict[str, Argument] = field(default_factory=dict)

    def build(self) -> nn.Module:
        """Build the module with fresh weights.

        Raises:
            ValueError: if the builder is unknown.
        """
        if self.builder not in BUILDERS:
            raise ValueError(f"unknown builder '{self.builder}'; known: {', '.join(sorted(BUILDERS))}")
        return BUILDERS[self.builder](**self.arguments)
