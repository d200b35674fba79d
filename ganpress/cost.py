"""What a generator costs to store and to run: parameters, multiply-accumulates, bytes."""

import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from ganpress.errors import ConfigError
from models.resnet import check_image_size, resnet_generator
from models.spade import SpadeGenerator, SpadeSpec
from models.wdcgan import LATENT, wdcgan_generator

aten = torch.ops.aten


@dataclass(frozen=True)
class Cost:
    """Cost of one generator for one image."""

    parameters: int
    macs_exact: int
    """Half of what torch.utils.flop_counter counts: convolutions and matrix products."""
    macs_torchprofile: int
    """By the rule behind the published tables, see `OperatorCount`; comparable with papers, above the truth."""
    size_bytes: int
    """The parameters as float32, without any container."""


class OperatorCount(TorchDispatchMode):
    """Counts the operators that run inside it, by the exact rule and by the one behind the published tables.

    Exact is what `torch.utils.flop_counter` counts, by its own formulas. The published rule (GAN Compression, 2020)
    differs in two things: a transposed convolution is counted at its *output* resolution times the full kernel,
    stride^2 too many; and every output element of an instance normalisation, a multiplication and an average pooling
    counts 1, while batch normalisation (folded at inference), activations and upsampling count nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.exact_flops = 0
        self.published_macs = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing is compiled here; without this the first count imports the compiler, at 3.4 CPU seconds."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one operator and add what it counts."""
        operator = func.overloadpacket
        result = func(*args, **(kwargs or {}))
        flops = flop_registry[operator](*args, **(kwargs or {}), out_val=result) if operator in flop_registry else 0
        self.exact_flops += flops
        if operator is aten.convolution:
            weight, transposed, groups = args[1], args[6], args[8]
            per_output = weight.shape[0] // groups if transposed else weight.shape[1]
            self.published_macs += result.numel() * per_output * math.prod(weight.shape[2:])
        elif operator in ELEMENT_OPERATORS:
            self.published_macs += result.numel()
        else:
            self.published_macs += flops // 2
        return result


ELEMENT_OPERATORS = frozenset({
    aten.mul,
    aten.mul_,
    aten.mean,
    aten.avg_pool2d,
    aten._adaptive_avg_pool2d,
    aten.adaptive_avg_pool2d,
})  # fmt: skip


class InstanceNorms(TorchFunctionMode):
    """Counts output elements of instance normalisations, which are batch normalisations by the time of dispatch."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call one function and add what it counts."""
        result = func(*args, **(kwargs or {}))
        if getattr(func, "__name__", "") == "instance_norm":
            self.elements += result.numel()
        return result


@torch.no_grad()
def generator_cost(generator: nn.Module, example: Tensor) -> Cost:
    """Count a generator by running it once, on the device that it is on (`meta` computes nothing).

    Args:
        generator: Any module of one tensor; it is counted in eval mode.
        example: Input of one image: z (1, Z) or an image (1, C, H, W).

    Raises:
        ValueError: if `example` holds more than one sample.
    """
    if len(example) != 1:
        raise ValueError(f"the cost is that of one image; the example must hold 1 sample, found {len(example)}")
    with _evaluating(generator), OperatorCount() as operators, InstanceNorms() as norms:
        generator(example)
    parameters = sum(parameter.numel() for parameter in generator.parameters())
    return Cost(
        parameters=parameters,
        macs_exact=operators.exact_flops // 2,
        macs_torchprofile=operators.published_macs + norms.elements,
        size_bytes=4 * parameters,
    )


class SkippedInitialisation(TorchFunctionMode):
    """Leaves new weights as they are: on the meta device torch draws them by Python code that imports its compiler."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call one function, unless it is one of `torch.nn.init`, which return the tensor that they are given."""
        if getattr(func, "__module__", None) == nn.init.__name__:
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Put every part of `module` in eval mode, and back as it was."""
    training = [part for part in module.modules() if part.training]
    module.eval()
    try:
        yield
    finally:
        for part in training:
            part.training = True


@dataclass(frozen=True)
class ImageSize:
    """Size of the images that a generator makes."""

    height: int
    width: int
    channels: int


@dataclass(frozen=True)
class Architecture:
    """A generator family that can be named on the command line."""

    build: Callable[[str, ImageSize], tuple[nn.Module, tuple[int, ...]]]
    """spec, image size -> the module and the shape of an input of one sample."""
    default_spec: str
    default_size: ImageSize


def _wdcgan(spec: str, size: ImageSize) -> tuple[nn.Module, tuple[int, ...]]:
    if size.height != size.width:
        raise ValueError(f"W-DCGAN makes square images, found {size.height}x{size.width}")
    return wdcgan_generator(spec, size.height, size.channels), (1, LATENT)


def _resnet(spec: str, size: ImageSize, separable: bool) -> tuple[nn.Module, tuple[int, ...]]:
    check_image_size(size.height, size.width)
    generator = resnet_generator(spec, size.channels, size.channels, separable)
    return generator, (1, size.channels, size.height, size.width)


def _spade(spec: str, size: ImageSize, separable: bool) -> tuple[nn.Module, tuple[int, ...]]:
    parsed = SpadeSpec.parse(spec)
    parsed.first_size(size.height, size.width)
    return SpadeGenerator(parsed, size.channels, separable), (1, parsed.semantic, size.height, size.width)


_PHOTO = ImageSize(256, 256, 3)
_STREET = ImageSize(256, 512, 3)
_plain_resnet, _mobile_resnet = partial(_resnet, separable=False), partial(_resnet, separable=True)
_plain_spade, _mobile_spade = partial(_spade, separable=False), partial(_spade, separable=True)

ARCHITECTURES = {
    "wdcgan": Architecture(_wdcgan, "16", ImageSize(64, 64, 1)),
    "resnet_9blocks": Architecture(_plain_resnet, "ngf=64", _PHOTO),
    "mobile_resnet_9blocks": Architecture(_mobile_resnet, "ngf=64", _PHOTO),
    "sub_mobile_resnet_9blocks": Architecture(_mobile_resnet, "16_16_32_16_32_32_16_16", _PHOTO),
    "spade": Architecture(_plain_spade, "ngf=64", _STREET),
    "mobile_spade": Architecture(_mobile_spade, "ngf=64", _STREET),
    "sub_mobile_spade": Architecture(_mobile_spade, "32_32_48_32_32_32_32_24", _STREET),
}
"""A new family is a function like `_wdcgan` and one line here."""

MOST_MACS_ON_CPU = 3 * 10**10
"""Above this, counting without computing is the faster way, though its first use costs 3.4 CPU seconds of imports."""


def named_cost(name: str, size: str | None = None, channels: int | None = None) -> Cost:
    """Count an architecture by name without building its weights.

    Args:
        name: `family` or `family:spec`, e.g. `wdcgan:16_8_16_4` or `spade:ngf=64 semantic=36 upsampling=more`.
        size: Height x width of the images, e.g. `64x64`; None takes the family's own.
        channels: Channels of the images; None takes the family's own.

    Raises:
        ConfigError: if the family, spec, size or channels are not allowed.
    """
    family, _, spec = name.partition(":")
    if family not in ARCHITECTURES:
        raise ConfigError(f"unknown generator '{family}'; known: {', '.join(sorted(ARCHITECTURES))}")
    architecture = ARCHITECTURES[family]
    default = architecture.default_size
    height, width = (default.height, default.width) if size is None else _parse_size(size)
    if channels is not None and channels < 1:
        raise ConfigError(f"channels must be at least 1, found {channels}")
    chosen = ImageSize(height, width, channels or default.channels)
    try:
        return _counted(architecture, spec or architecture.default_spec, chosen)
    except ValueError as error:
        raise ConfigError(f"{name}: {error}") from None
    except (RuntimeError, TypeError) as error:  # how torch refuses shapes beyond 64 bits
        raise ConfigError(f"{name}: torch cannot hold a generator of these numbers: {_first_line(error)}") from None


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _counted(architecture: Architecture, spec: str, size: ImageSize) -> Cost:
    """Count a generator on the CPU where it surely runs there in a second, else on the meta device."""
    with torch.device("meta"), SkippedInitialisation():
        generator, example_shape = architecture.build(spec, size)
    parameters = sum(parameter.numel() for parameter in generator.parameters())
    most_macs = parameters * size.height * size.width  # no weight is used more than once for each pixel
    device = "cpu" if most_macs <= MOST_MACS_ON_CPU else "meta"
    if device == "cpu":  # built anew: moving off the meta device imports as much as counting there
        with SkippedInitialisation():
            generator, _ = architecture.build(spec, size)
    return generator_cost(generator, torch.zeros(example_shape, device=device))


def _parse_size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)[xX](\d+)", text)
    if match is None or 0 in (sizes := (int(match[1]), int(match[2]))):
        raise ConfigError(f"size '{text}' is not HEIGHTxWIDTH in pixels, e.g. 64x64")
    return sizes
