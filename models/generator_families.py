"""The built-in generator families, each one value; networks are imported when one is asked of."""

import re
from functools import partial
from typing import TYPE_CHECKING, Any

from models.base_channels import COUNT
from models.family import LATENT, Argument, Canvas, Family

if TYPE_CHECKING:
    from models.elastic import Kept, Spec


def _wdcgan(spec: str, canvas: Canvas) -> dict[str, Argument]:
    if canvas.height != canvas.width:
        raise ValueError(f"W-DCGAN makes square images, found {canvas.height}x{canvas.width}")
    latent: dict[str, Argument] = {} if canvas.latent == LATENT else {"latent": canvas.latent}  # as files of before say
    return {"spec": spec, "size": canvas.height, "channels": canvas.channels, **latent}


def _same_size(canvas: Canvas) -> None:
    if canvas.source_shape[1:] != (canvas.height, canvas.width):
        found = "x".join(map(str, canvas.source_shape[1:]))
        raise ValueError(f"it draws images of its source's size, {found}, not {canvas.height}x{canvas.width}")


def _resnet(spec: str, canvas: Canvas, separable: bool) -> dict[str, Argument]:
    from models.resnet import check_image_size

    _same_size(canvas)
    check_image_size(canvas.height, canvas.width)
    return {"spec": spec, "in_channels": canvas.reads, "out_channels": canvas.channels, "separable": separable}


def _spade(spec: str, canvas: Canvas, separable: bool) -> dict[str, Argument]:
    from models.spade import SpadeSpec

    _same_size(canvas)
    if "semantic=" not in spec:
        spec = f"{spec} semantic={canvas.reads}"
    parsed = SpadeSpec.parse(spec)
    if parsed.semantic != canvas.reads:
        raise ValueError(f"it reads {parsed.semantic} label classes; the data has {canvas.reads}: leave semantic out")
    parsed.first_size(canvas.height, canvas.width)
    return {"spec": spec, "channels": canvas.channels, "separable": separable}


def _unet(spec: str, canvas: Canvas, downs: int) -> dict[str, Argument]:
    from models.unet import check_image_size

    _same_size(canvas)
    check_image_size(canvas.height, canvas.width, downs)
    return {"spec": spec, "in_channels": canvas.reads, "out_channels": canvas.channels, "downs": downs}


def _base_channels(_canvas: Canvas) -> int:
    return COUNT


def _levels(canvas: Canvas) -> int:
    from models.wdcgan import hidden_levels

    return hidden_levels(canvas.height)


def _wdcgan_misfit(spec: str, height: int, width: int) -> str | None:
    levels = (height // 4).bit_length() - 1
    if width != height:
        return "is a W-DCGAN, which makes square images; leave prepare.width out"
    if spec and not (re.fullmatch(r"[0-9]+(?:_[0-9]+)*", spec) and len(spec.split("_")) in (1, levels)):
        return (
            f"has the spec '{spec[:80]}'; for images of prepare.image_size {height} it is one number or {levels}, "
            "joined by '_'"
        )
    return None


def _wdcgan_numbers(arguments: dict[str, Any]) -> tuple[int, ...]:
    from models.elastic import Spec
    from models.wdcgan import hidden_levels

    return Spec.parse(str(arguments["spec"]), hidden_levels(arguments["size"])).numbers


def _resnet_numbers(arguments: dict[str, Any]) -> tuple[int, ...]:
    from models.resnet import ResnetSpec

    return ResnetSpec.parse(str(arguments["spec"])).base_channels


def _spade_numbers(arguments: dict[str, Any]) -> tuple[int, ...]:
    from models.spade import SpadeSpec

    return SpadeSpec.parse(str(arguments["spec"])).base_channels


def _spade_source(spec: str) -> int:
    from models.spade import SpadeSpec

    return SpadeSpec.parse(spec).semantic


def _unet_numbers(arguments: dict[str, Any]) -> tuple[int, ...]:
    from models.unet import UnetSpec

    return UnetSpec.parse(str(arguments["spec"]), arguments["downs"]).base_channels


def _unet_kept(_arguments: dict[str, Argument], narrow: "Spec", wide: "Spec") -> "Kept":
    from models.unet import UnetSpec, unet_kept

    return unet_kept(UnetSpec(narrow.numbers), UnetSpec(wide.numbers))


def _imported_arguments(spec: str, _canvas: Canvas) -> dict[str, Argument]:
    raise ValueError(f"'imported:{spec}' is a size of an imported network, which the name alone does not tell")


def _imported_numbers(arguments: dict[str, Any]) -> tuple[int, ...]:
    from models.imported_generator import parse_percents

    return parse_percents(str(arguments["spec"]), len(arguments["groups"]))


def _imported_kept(arguments: dict[str, Argument], narrow: "Spec", wide: "Spec") -> "Kept":
    from models.imported_generator import imported_kept

    return imported_kept(arguments, narrow, wide)


_PHOTO = Canvas(3, 256, 256, 3)
_STREET = Canvas(3, 256, 512, 36)
_RESNET_TAPS = ("down2", "blocks.2", "blocks.5", "blocks.8")
_SPADE_TAPS = ("head_0", "middle_1", "up_1")
_SUB_RESNET, _SUB_SPADE = "16_16_32_16_32_32_16_16", "32_32_48_32_32_32_32_24"


def _resnet_family(mobile: bool, default_spec: str, builder: str = "resnet_generator") -> Family:
    arguments = partial(_resnet, separable=mobile)
    return Family(builder, arguments, _base_channels, _resnet_numbers, True, default_spec, _PHOTO, _RESNET_TAPS)


def _spade_family(mobile: bool, default_spec: str) -> Family:
    return Family(
        "spade_generator",
        partial(_spade, separable=mobile),
        _base_channels,
        _spade_numbers,
        True,
        default_spec,
        _STREET,
        _SPADE_TAPS,
        source_channels=_spade_source,
    )


def _unet_family(downs: int) -> Family:
    size = 2**downs
    return Family(
        "unet_generator",
        partial(_unet, downs=downs),
        lambda _: downs,
        _unet_numbers,
        True,
        "ngf=64",
        Canvas(3, size, size, 3),
        (f"downs.{downs - 1}", f"ups.{downs // 2}"),
        _unet_kept,
    )


WDCGAN = Family(
    "wdcgan_generator", _wdcgan, _levels, _wdcgan_numbers, False, "16", Canvas(1, 64, 64), misfit=_wdcgan_misfit
)
EDGE_MOBILE_RESNET_9BLOCKS = _resnet_family(True, "ngf=64", "edge_resnet_generator")
EDGE_RESNET_9BLOCKS = _resnet_family(False, "ngf=64", "edge_resnet_generator")
RESNET_9BLOCKS = _resnet_family(False, "ngf=64")
MOBILE_RESNET_9BLOCKS = _resnet_family(True, "ngf=64")
SUB_MOBILE_RESNET_9BLOCKS = _resnet_family(True, _SUB_RESNET)
SPADE = _spade_family(False, "ngf=64")
MOBILE_SPADE = _spade_family(True, "ngf=64")
SUB_MOBILE_SPADE = _spade_family(True, _SUB_SPADE)
UNET_32 = _unet_family(5)
UNET_64 = _unet_family(6)
UNET_128 = _unet_family(7)
UNET_256 = _unet_family(8)
OWN_NETWORK = Family(
    "imported", _imported_arguments, lambda _: 0, _imported_numbers, True, "100", _PHOTO, kept=_imported_kept
)
"""A network that a user brought; what it is stands in its model file."""
