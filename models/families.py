"""Generator families: the names that params.yaml and the command line use, and what belongs to each.

A generator's *name* is `family:spec`, e.g. `wdcgan:16` or `mobile_resnet_9blocks:16_16_32_16_32_32_16_16`. What it
reads and draws is not part of the name but of the data: its *canvas*.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from models.base_channels import COUNT
from models.names import check_name
from models.resnet import check_image_size
from models.spade import SpadeSpec
from models.unet import check_image_size as check_unet_size
from models.wdcgan import LATENT, hidden_levels

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
    """Its name in `models.builders.BUILDERS`."""
    arguments: Callable[[str, Canvas], dict[str, Argument]]
    """(spec text, canvas) -> arguments of the builder, the spec under `spec`; ValueError where they do not fit."""
    places: Callable[[Canvas], int]
    """Numbers in a spec."""
    conditional: bool
    """Whether it reads a source; else latents."""
    default_spec: str
    default_canvas: Canvas
    """What the published tables use."""
    taps: tuple[str, ...] = ()
    """Layers whose features are distilled (Li et al. 2020); none for an unconditional generator."""

    def input_shape(self, canvas: Canvas) -> tuple[int, ...]:
        """Shape of an input of one sample."""
        return (1, *canvas.source_shape) if self.conditional else (1, LATENT)


def _wdcgan(spec: str, canvas: Canvas) -> dict[str, Argument]:
    if canvas.height != canvas.width:
        raise ValueError(f"W-DCGAN makes square images, found {canvas.height}x{canvas.width}")
    return {"spec": spec, "size": canvas.height, "channels": canvas.channels}


def _same_size(canvas: Canvas) -> None:
    if canvas.source_shape[1:] != (canvas.height, canvas.width):
        found = "x".join(map(str, canvas.source_shape[1:]))
        raise ValueError(f"it draws images of its source's size, {found}, not {canvas.height}x{canvas.width}")


def _resnet(spec: str, canvas: Canvas, separable: bool) -> dict[str, Argument]:
    _same_size(canvas)
    check_image_size(canvas.height, canvas.width)
    return {"spec": spec, "in_channels": canvas.reads, "out_channels": canvas.channels, "separable": separable}


def _spade(spec: str, canvas: Canvas, separable: bool) -> dict[str, Argument]:
    _same_size(canvas)
    if "semantic=" not in spec:
        spec = f"{spec} semantic={canvas.reads}"
    parsed = SpadeSpec.parse(spec)
    if parsed.semantic != canvas.reads:
        raise ValueError(f"it reads {parsed.semantic} label classes; the data has {canvas.reads}: leave semantic out")
    parsed.first_size(canvas.height, canvas.width)
    return {"spec": spec, "channels": canvas.channels, "separable": separable}


def _unet(spec: str, canvas: Canvas, downs: int) -> dict[str, Argument]:
    _same_size(canvas)
    check_unet_size(canvas.height, canvas.width, downs)
    return {"spec": spec, "in_channels": canvas.reads, "out_channels": canvas.channels, "downs": downs}


def _base_channels(_canvas: Canvas) -> int:
    return COUNT


def _levels(canvas: Canvas) -> int:
    return hidden_levels(canvas.height)


_PHOTO = Canvas(3, 256, 256, 3)
_STREET = Canvas(3, 256, 512, 36)
_RESNET_TAPS = ("down2", "blocks.2", "blocks.5", "blocks.8")
_SPADE_TAPS = ("head_0", "middle_1", "up_1")
_SUB_RESNET, _SUB_SPADE = "16_16_32_16_32_32_16_16", "32_32_48_32_32_32_32_24"


def _resnet_family(mobile: bool, default_spec: str, builder: str = "resnet_generator") -> Family:
    arguments = partial(_resnet, separable=mobile)
    return Family(builder, arguments, _base_channels, True, default_spec, _PHOTO, _RESNET_TAPS)


def _spade_family(mobile: bool, default_spec: str) -> Family:
    arguments = partial(_spade, separable=mobile)
    return Family("spade_generator", arguments, _base_channels, True, default_spec, _STREET, _SPADE_TAPS)


def _unet_family(downs: int) -> Family:
    size = 2**downs
    taps = (f"downs.{downs - 1}", f"ups.{downs // 2}")
    return Family(
        "unet_generator", partial(_unet, downs=downs), lambda _: downs, True, "ngf=64", Canvas(3, size, size, 3), taps
    )


FAMILIES: dict[str, Family] = {
    "wdcgan": Family("wdcgan_generator", _wdcgan, _levels, False, "16", Canvas(1, 64, 64)),
    "edge_mobile_resnet_9blocks": _resnet_family(True, "ngf=64", "edge_resnet_generator"),
    "edge_resnet_9blocks": _resnet_family(False, "ngf=64", "edge_resnet_generator"),
    "resnet_9blocks": _resnet_family(False, "ngf=64"),
    "mobile_resnet_9blocks": _resnet_family(True, "ngf=64"),
    "sub_mobile_resnet_9blocks": _resnet_family(True, _SUB_RESNET),
    "spade": _spade_family(False, "ngf=64"),
    "mobile_spade": _spade_family(True, "ngf=64"),
    "sub_mobile_spade": _spade_family(True, _SUB_SPADE),
    "unet_32": _unet_family(5),
    "unet_64": _unet_family(6),
    "unet_128": _unet_family(7),
    "unet_256": _unet_family(8),
}
"""A new family is a function like `_wdcgan`, one line here and one in `models.names`."""


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
