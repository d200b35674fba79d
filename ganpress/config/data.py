"""Sections about data: where it comes from, what must hold, how it is prepared."""

from typing import Literal

from pydantic import Field

from ganpress.config.base import Section


class DataConfig(Section):
    """Raw data that a run starts from."""

    source: str
    """`digits`, `mnist`, `fashion-mnist`, `cifar10`, `celeba` or `folder:<path>`."""
    path: str | None = None
    """Local copy to import from; None downloads where the source allows it."""


class ValidateConfig(Section):
    """Expectations on the image manifest; the thresholds of the data gate."""

    min_images: int = Field(ge=1)
    min_size: int = Field(ge=1)
    """Smallest allowed width and height in pixels."""
    channels: tuple[Literal[1, 3], ...] = Field(min_length=1)
    max_duplicate_fraction: float = Field(ge=0, le=1)
    """Allowed share of images whose pixels equal another image's, within or across splits."""
    max_leaked_fraction: float = Field(ge=0, le=1)
    """Allowed share of test images that also occur in train."""
    max_flat_fraction: float = Field(ge=0, le=1)
    """Allowed share of images without any contrast."""
    min_class_share: float = Field(ge=0, le=1)
    """Smallest class's share of the train images, relative to an even share; 0 for unlabelled data."""


class PrepareConfig(Section):
    """How raw images become arrays."""

    size: Literal[16, 32, 64, 128]
    """Height and width in pixels after the resize."""
    channels: Literal[1, 3]
    validation_fraction: float = Field(gt=0, lt=0.5)
    """Share of train held out for search and teacher selection."""
    max_train_images: int | None = Field(default=None, ge=1)
    """Use only so many train images (chosen by seed); None uses all."""
