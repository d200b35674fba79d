"""Section about the sweep over compression levels."""

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
    """Of weights and of activations."""

    @property
    def item(self) -> str:
        """Its name: `mse-4`."""
        return f"{self.clipping}-{self.bits}"

    @property
    def text(self) -> str:
        """Its name in a score book."""
        return self.item


@dataclass(frozen=True)
class FloatPoint:
    """No compression: the generator that all levels are compared with."""

    text: str = "float"


FLOAT = FloatPoint()


class SweepConfig(Section):
    """One generator at every clipping method and bit width: each pair is a level, `mse-4`."""

    generator: Reference
    """Reference of a float generator, e.g. `subnet` or `student/d4-mse`."""
    clipping: Annotated[tuple[Clipping, ...], Field(strict=False, min_length=1, max_length=5)]
    """Of weights and of activations alike."""
    bits: Annotated[tuple[Bits, ...], Field(strict=False, min_length=1, max_length=7)]
    """Weights and activations have the same."""
    images: ScoredImages
    """Generated images at each level; a conditional generator draws one for each test source, and no more."""

    @property
    def points(self) -> tuple[SweepPoint, ...]:
        """Every level, method by method."""
        return tuple(SweepPoint(clipping, bits) for clipping in self.clipping for bits in self.bits)

    @model_validator(mode="after")
    def _levels_differ(self) -> "SweepConfig":
        for name, values in (("clipping", self.clipping), ("bits", self.bits)):
            if len(set(values)) < len(values):
                raise ValueError(f"{name} must differ from each other, found {list(values)}")
        return self
