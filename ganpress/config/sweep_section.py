"""Section of the sweep over compression levels."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, model_validator

from ganpress.config.base import Section
from ganpress.config.bounds import Bits, Reference, ScoredImages
from ganpress.config.edge_section import Clipping


@dataclass(frozen=True)
class SweepPoint:
    """One compression level."""

    clipping: Clipping
    bits: int
    """Number of bits of weights and of activations."""

    @property
    def item(self) -> str:
        """Name of the level, such as `mse-4`."""
        return f"{self.clipping}-{self.bits}"

    @property
    def text(self) -> str:
        """Name of the level in a score book."""
        return self.item


@dataclass(frozen=True)
class FloatPoint:
    """Level without compression: the generator that all levels are compared with."""

    text: str = "float"


FLOAT = FloatPoint()


class SweepConfig(Section):
    """One generator, compressed with every clipping method and bit width; each pair is a level such as `mse-4`."""

    generator: Reference
    """Reference of a float generator, e.g. `subnet` or `student/d4-mse`."""
    clipping: Annotated[tuple[Clipping, ...], Field(strict=False, min_length=1, max_length=5)]
    """Clipping methods, used for weights and activations alike."""
    bits: Annotated[tuple[Bits, ...], Field(strict=False, min_length=1, max_length=7)]
    """Bit widths; weights and activations have the same."""
    images: ScoredImages
    """Number of generated images at each level; a conditional generator draws one for each test source and no more."""

    @property
    def points(self) -> tuple[SweepPoint, ...]:
        """Return all levels, ordered by method."""
        return tuple(SweepPoint(clipping, bits) for clipping in self.clipping for bits in self.bits)

    @model_validator(mode="after")
    def _levels_differ(self) -> "SweepConfig":
        for name, values in (("clipping", self.clipping), ("bits", self.bits)):
            if len(set(values)) < len(values):
                raise ValueError(f"{name} must differ from each other, found {list(values)}")
        return self
