"""Sections of the data: its source, its checks and its preparation."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from ganpress.config.base import Section
from ganpress.config.bounds import (
    Channels,
    FilePath,
    Images,
    ImageSize,
    Pixels,
    PixelValue,
    Share,
    ShareBelowHalf,
    SourceName,
)
from models.family import LATENT

Fit = Literal["crop", "stretch", "cut"]
Background = Literal["white", "black"]
SomeChannels = Annotated[tuple[Channels, ...], Field(strict=False, min_length=1, max_length=2)]


class DataConfig(Section):
    """Source of the raw data of a run."""

    source: SourceName
    """Plain images: `digits`, `mnist`, `fashion-mnist`, `cifar10`, `celeba`, `folder:<path>`.
    Paired: `edges2shoes`, `maps`, `facades`, `pairs:<path>` (`:AB` or `:BA`), `edges:<base>`, `superres:<base>`.
    Unpaired: `horse2zebra`, `unpaired:<path>`, `scenes`, `domains:<base>:<classes>:<classes>`.
    Semantic: `cityscapes`, `semantic:<path>`, `segments:<base>`.
    A base is a source of plain images; docs/data.md has the layouts."""
    path: FilePath | None = None
    """Local copy to import from; None downloads the data if the source allows it."""
    values: Annotated[tuple[PixelValue, ...], Field(strict=False, min_length=2, max_length=2)] | None = None
    """For `folder:<path>`: values of black and white in pictures of more than eight bits, e.g. `[0, 4095]`. None: 0
    and 65,535 if 16-bit pictures use the upper half of that range, else such pictures are refused."""
    background: Background = "white"
    """For `folder:<path>`: background of transparent pictures, `white` or `black`."""

    def style(self) -> dict[str, object]:
        """Return the settings of the conversion of pictures that differ from the defaults."""
        given = self.model_dump(include={"values", "background"}, exclude_defaults=True, mode="json")
        return dict(given)

    @model_validator(mode="after")
    def _values_differ(self) -> Self:
        if self.values is not None and self.values[0] == self.values[1]:
            raise ValueError(f"values are black and white, two different numbers; found {list(self.values)}")
        return self


class ValidateConfig(Section):
    """Expectations on the image manifest; the thresholds of the data gate."""

    min_images: Images
    min_size: Pixels
    """Smallest allowed width and height in pixels."""
    channels: SomeChannels
    """Allowed numbers of colour channels; if there are sources, those of the targets."""
    source_channels: SomeChannels | None = None
    """Allowed numbers of colour channels of the sources of conditional data; None: as `channels`. Label maps always
    have one channel."""
    max_duplicate_fraction: Share
    """Allowed share of images whose pixels equal another image's, within or across splits."""
    max_leaked_fraction: Share
    """Allowed share of test images that also occur in train."""
    max_flat_fraction: Share
    """Allowed share of images without any contrast."""
    min_class_share: Share
    """Smallest allowed share of a class among the train images, relative to an even share; 0 for unlabelled data."""
    max_drift: Share | None = None
    """Largest distance of a new version of the data from the one that passed before, in channels, classes, sizes,
    brightness, contrast and the features of the former judge each: 0 means equal, 1 means disjoint distributions. None:
    versions are not compared."""


class PrepareConfig(Section):
    """Settings of the conversion of raw images to arrays."""

    RENAMED: ClassVar[Mapping[str, str]] = {"size": "image_size"}

    image_size: ImageSize
    """Height in pixels after the resize, and width where `width` is None."""
    width: int | None = Field(default=None, ge=16, le=1024, multiple_of=16)
    """Width in pixels after the resize; None: square."""
    fit: Fit = "crop"
    """Part of a picture that is kept. `crop`: the largest central part with the result's proportions; `stretch`: the
    whole picture, with changed proportions; `cut`: a central part of the result's size, which is not resampled (a
    smaller picture is cropped)."""
    channels: Channels
    source_size: int | None = Field(default=None, ge=4, le=256)
    """Height of the sources of conditional data; None: as the targets. 16 with image_size 64 is x4 super-resolution."""
    source_channels: Channels | None = None
    """Channels of the sources of conditional data; None: as `channels`. Label maps are not asked."""
    latent: int = Field(default=LATENT, ge=1, le=4096)
    """Numbers of a latent, for generators of unconditional data; that of an imported generator."""
    validation_fraction: ShareBelowHalf
    """Share of train held out for search and teacher selection."""
    max_train_images: Images | None = None
    """Use only so many train images (chosen by seed), of each domain where unpaired; None uses all."""

    @model_validator(mode="after")
    def _check_source_size(self) -> Self:
        small = self.source_size
        if small is not None and (self.image_size % small or self.target_width % (self.image_size // small)):
            raise ValueError(
                f"source_size {small} is no whole part of the targets' {self.image_size}x{self.target_width} pixels"
            )
        return self

    @property
    def target_width(self) -> int:
        """Width of the targets in pixels."""
        return self.width or self.image_size

    @property
    def source_shape(self) -> tuple[int, int]:
        """Height and width of the sources in pixels, in the targets' proportions."""
        height = self.source_size or self.image_size
        return height, self.target_width * height // self.image_size
