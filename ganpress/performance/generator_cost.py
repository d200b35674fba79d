"""Counts the cost of storing and running a generator: parameters, multiply-accumulates, bytes."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from ganpress.config.image_size import MAX_CHANNELS, parse_size
from ganpress.config.yaml_text import quoted
from ganpress.errors import ConfigError
from models.builders import generator_blueprint
from models.elastic import NoInitialisation
from models.families import find_family
from models.family import Canvas, Family

aten = torch.ops.aten


@dataclass(frozen=True)
class Cost:
    """Cost of one generator for one image."""

    parameters: int
    macs_exact: int
    """MACs of convolutions and matrix products, half of the count of torch.utils.flop_counter."""
    macs_torchprofile: int
    """MACs by the rule of published tables, see `OperatorCount`; comparable with papers, but too high."""
    size_bytes: int
    """Size of the parameters as float32, without a file format's overhead."""


class OperatorCount(TorchDispatchMode):
    """Counts the operators that run inside it, by the exact rule and by the rule of published tables.

    The exact rule uses the formulas of `torch.utils.flop_counter`. The published rule (GAN Compression, 2020) differs
    in two points: a transposed convolution is counted at its *output* resolution times the full kernel, a factor of
    stride^2 too high; and every output element of an instance normalisation, a multiplication and an average pooling
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
        """Run one operator and add its count."""
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
        """Call one function and add its count."""
        result = func(*args, **(kwargs or {}))
        if getattr(func, "__name__", "") == "instance_norm":
            self.elements += result.numel()
        return result


@torch.no_grad()
def generator_cost(generator: nn.Module, example: Tensor) -> Cost:
    """Count a generator by running it once on its own device (`meta` computes nothing).

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


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Put every part of `module` in eval mode, and restore the modes afterwards."""
    training = [part for part in module.modules() if part.training]
    module.eval()
    try:
        yield
    finally:
        for part in training:
            part.training = True


MOST_MACS_ON_CPU = 3 * 10**10
"""Above this number, counting without computing is faster, although its first use costs 3.4 CPU seconds of imports."""


def named_cost(name: str, size: str | None = None, channels: int | None = None) -> Cost:
    """Count an architecture by name without building its weights.

    Args:
        name: `family` or `family:spec`, e.g. `wdcgan:16_8_16_4` or `spade:ngf=64 semantic=36 upsampling=more`.
        size: Height x width of the images, e.g. `64x64`; None takes the family's own.
        channels: Channels of the images; None takes the family's own.

    Raises:
        ConfigError: if the family, spec, size or channels are not allowed.
    """
    try:
        _, family, _ = find_family(name)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    default = family.default_canvas
    height, width = (default.height, default.width) if size is None else parse_size(size)
    if channels is not None and not 1 <= channels <= MAX_CHANNELS:
        raise ConfigError(f"channels must be 1 to {MAX_CHANNELS:,}, found {quoted(channels)}")
    drawn = channels or default.channels
    try:
        return _counted(name, family, Canvas(drawn, height, width, _reads(name, family, drawn)))
    except ValueError as error:
        raise ConfigError(f"{name}: {error}") from None
    except (RuntimeError, TypeError) as error:  # torch raises it for shapes beyond 64 bits
        raise ConfigError(f"{name}: torch cannot hold a generator of these numbers: {_first_line(error)}") from None


def _reads(name: str, family: Family, channels: int) -> int:
    """Return the input channels of a named generator: a label map's from the spec, otherwise those of the image."""
    if family.source_channels is not None:
        return family.source_channels(find_family(name)[2])
    return channels if family.conditional else 0


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _counted(name: str, family: Family, canvas: Canvas) -> Cost:
    """Count a generator on the CPU if it surely runs there within a second, otherwise on the meta device."""
    blueprint = generator_blueprint(name, canvas)
    with torch.device("meta"), NoInitialisation():
        generator = blueprint.build()
    parameters = sum(parameter.numel() for parameter in generator.parameters())
    most_macs = parameters * canvas.height * canvas.width  # no weight is used more than once for each pixel
    device = "cpu" if most_macs <= MOST_MACS_ON_CPU else "meta"
    if device == "cpu":  # built again, because moving off the meta device needs the same imports as counting there
        with NoInitialisation():
            generator = blueprint.build()
    return generator_cost(generator, torch.zeros(family.input_shape(canvas), device=device))
