"""The definition of a generator family in one value, and the input and output of its generators."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    from models.elastic import Kept, Spec

Argument = int | float | str | bool | None | list["Argument"] | dict[str, "Argument"]
"""Argument of a builder: any JSON value."""


LATENT = 100
"""Numbers of a latent, unless the data's `meta.json` says otherwise (Aguinaldo et al. 2019)."""


@dataclass(frozen=True)
class Canvas:
    """Input and output of a generator."""

    channels: int
    """Channels of its images."""
    height: int
    width: int
    reads: int = 0
    """Channels of its source: of an image, or label classes; 0 where it reads latents."""
    source_height: int = 0
    """0 where the source is as high as the image."""
    source_width: int = 0
    latent: int = LATENT
    """Numbers of a latent, where it reads no source."""

    def __str__(self) -> str:
        source = f" from {self.reads} channels" if self.reads else ""
        return f"{self.height}x{self.width} images of {self.channels} channels{source}"

    @property
    def source_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one source image or one-hot label map."""
        return self.reads, self.source_height or self.height, self.source_width or self.width

    @property
    def reversed(self) -> "Canvas":
        """The way back, from images to sources."""
        channels, height, width = self.source_shape
        return Canvas(channels, height, width, self.channels, self.height, self.width)


@dataclass(frozen=True)
class Family:
    """One architecture, of any width."""

    builder: str
    """Name of the builder in `models.builders.BUILDERS`, or the family's name if `build` is given."""
    arguments: Callable[[str, Canvas], dict[str, Argument]]
    """(spec text, canvas) -> arguments of the builder, the spec under `spec`; ValueError where they do not fit."""
    places: Callable[[Canvas], int]
    """Numbers in a spec."""
    numbers: Callable[[dict[str, Any]], tuple[int, ...]]
    """Arguments of the builder -> the numbers of their spec, which say how wide the network is."""
    conditional: bool
    """Whether it reads a source; else latents."""
    default_spec: str
    default_canvas: Canvas
    """Input and output in the published tables."""
    taps: tuple[str, ...] = ()
    """Layers whose features are distilled (Li et al. 2020); none for an unconditional generator."""
    kept: "Callable[[dict[str, Argument], Spec, Spec], Kept] | None" = None
    """(arguments, narrow, wide) -> indices, where a narrow network does not keep the first channels everywhere."""
    misfit: Callable[[str, int, int], str | None] | None = None
    """(spec text, height, width of the images) -> what is wrong, told before any network is built."""
    source_channels: Callable[[str], int] | None = None
    """Channels of the source that a spec names by itself; None where the data alone tells."""
    build: "Callable[..., nn.Module] | None" = None
    """The builder of a family that another package adds."""

    def input_shape(self, canvas: Canvas) -> tuple[int, ...]:
        """Shape of an input of one sample."""
        return (1, *canvas.source_shape) if self.conditional else (1, canvas.latent)


def latent_of(generator: "nn.Module") -> int:
    """Numbers of a latent that a generator reads, by what it, or the one inside it, says of itself."""
    found = (getattr(one, "latent", None) for one in generator.modules())
    return next((latent for latent in found if isinstance(latent, int)), LATENT)
