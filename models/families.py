"""Generator families: the names that params.yaml and the command line use, and what belongs to each.

A generator's *name* is `family:spec`, e.g. `wdcgan:16` or `mobile_resnet_9blocks:16_16_32_16_32_32_16_16`. What it
reads and draws is not part of the name but of the data: its *canvas*.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from models.names import check_name, shortened
from models.registry import Registry

if TYPE_CHECKING:
    from torch import nn

    from models.elastic import Kept, Spec

Argument = int | float | str | bool | None | list["Argument"] | dict[str, "Argument"]
"""What a builder takes: anything that JSON holds."""


@dataclass(frozen=True)
class Canvas:
    """What a generator reads and draws."""

    channels: int
    """Of the images that it draws."""
    height: int
    width: int
    reads: int = 0
    """Channels of its source: of an image, or label classes; 0 where it reads latents."""
    source_height: int = 0
    """0 where the source is as high as the image."""
    source_width: int = 0

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
    """Its name in `models.builders.BUILDERS`; the family's own where `build` is given."""
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
    """What the published tables use."""
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
        from models.wdcgan import LATENT

        return (1, *canvas.source_shape) if self.conditional else (1, LATENT)


FAMILIES: Registry[Family] = Registry(
    "family",
    "ganpress.families",
    "models.families:Family",
    ValueError,
    {
        "wdcgan": "models.generator_families:WDCGAN",
        "edge_mobile_resnet_9blocks": "models.generator_families:EDGE_MOBILE_RESNET_9BLOCKS",
        "edge_resnet_9blocks": "models.generator_families:EDGE_RESNET_9BLOCKS",
        "resnet_9blocks": "models.generator_families:RESNET_9BLOCKS",
        "mobile_resnet_9blocks": "models.generator_families:MOBILE_RESNET_9BLOCKS",
        "sub_mobile_resnet_9blocks": "models.generator_families:SUB_MOBILE_RESNET_9BLOCKS",
        "spade": "models.generator_families:SPADE",
        "mobile_spade": "models.generator_families:MOBILE_SPADE",
        "sub_mobile_spade": "models.generator_families:SUB_MOBILE_SPADE",
        "unet_32": "models.generator_families:UNET_32",
        "unet_64": "models.generator_families:UNET_64",
        "unet_128": "models.generator_families:UNET_128",
        "unet_256": "models.generator_families:UNET_256",
    },
)
IMPORTED = "imported"
"""In place of a family: the user's own network, at other widths."""


def find_family(name: str) -> tuple[str, Family, str]:
    """Take a generator's name apart: family name, family, spec text (the family's default where it is left out).

    Raises:
        ValueError: if the family is unknown, or the name is beyond the bounds of `check_name`.
    """
    check_name(name)
    family_name, _, spec = name.partition(":")
    if family_name not in FAMILIES:
        raise ValueError(f"unknown generator '{family_name[:40]}'; known: {', '.join(sorted(FAMILIES))}")
    family = FAMILIES[family_name]
    return family_name, family, spec or family.default_spec


def family_of(builder: str) -> Family | None:
    """A family whose networks this builder makes, the imported ones among them; None where there is none."""
    from models.generator_families import OWN_NETWORK

    families = (family for family in FAMILIES.values() if family.builder == builder)
    return OWN_NETWORK if builder == OWN_NETWORK.builder else next(families, None)


def split_name(name: str) -> tuple[str, str]:
    """Take `family:spec` apart; the spec is empty where only the family is named.

    Raises:
        ValueError: if the family is unknown, or the name is beyond the bounds of `check_name`.
    """
    check_name(name)
    family, _, spec = name.partition(":")
    if family != IMPORTED and family not in FAMILIES:
        known = ", ".join(sorted([*FAMILIES, IMPORTED]))
        raise ValueError(f"unknown generator '{shortened(family)}'; known: {known}")
    return family, spec


def is_conditional(family: str) -> bool:
    """Whether generators of this name read a source; else latents."""
    return family == IMPORTED or FAMILIES[family].conditional
