"""Finds where a generator can be quantized: its convolutions and linear layers, and the readers of their outputs.

They are read from the functions that one forward pass calls, so architectures need no description.
"""

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, fx, nn
from torch.overrides import TorchFunctionMode

from ganpress.compression.preparation.code_flows import readers_of
from ganpress.errors import ConfigError
from ganpress.structure.function_graph import argument, shape_of, trace_functions
from models.quantized_geometry import QUANTIZABLE, draws_one_pixel, geometry_of

Follower = Literal["relu", "tanh", "instance_norm"]

LAYERS = ("conv2d", "conv_transpose2d", "linear")
FOLLOWERS: dict[object, Follower] = {"relu": "relu", "tanh": "tanh", "instance_norm": "instance_norm"}
PASSING = ("dropout", "identity")
"""Functions that do nothing in eval mode."""
VIEWS = ("getitem", "view", "reshape", "unsqueeze")
"""Functions that reshape a parameter for broadcasting along channels."""


@dataclass(frozen=True)
class Site:
    """A layer that can be quantized."""

    name: str
    """Dotted name of the module."""
    norm: str | None = None
    """Batch normalisation directly after this layer only, so that it can be folded."""
    shift: str | None = None
    """Parameter with one value per channel that is added next, and only here, so that it can be folded as well."""
    follower: Follower | None = None
    """The only reader of the layer's output after `norm` and `shift`; None if it is of another kind, or there are
    several.
    """
    readers: tuple[str, ...] = ()
    """The only readers of the output after both, if they are layers behind operators that commute with rounding; else
    empty.
    """
    pixel: bool = False
    """Whether it is a transposed convolution of single pixels, see `models.quantized_geometry`."""

    @property
    def folded(self) -> tuple[str, ...]:
        """Names of the normalisation and of the parameter that the layer can contain."""
        return tuple(name for name in (self.norm, self.shift) if name is not None)


def find_sites(model: nn.Module, example: Float[Tensor, "n ..."]) -> tuple[Site, ...]:
    """List the layers of a generator that can be quantized, in the order in which they run.

    A layer that cannot be written as a plain convolution is left out, and so is a functional call without a module.

    Args:
        model: a generator of one tensor, in eval mode.
        example: an input that it can run.

    Raises:
        ConfigError: if the generator cannot be traced, or has no such layer.
    """
    if not any(isinstance(layer, QUANTIZABLE) for layer in model.modules()):
        raise _nothing_to_quantize(model)
    nodes = [node for node in trace(model, example).nodes if node.target in LAYERS]
    named = [(node, owner_of(argument(node, 1, "weight"))) for node in nodes]
    calls = Counter(name for _, name in named)
    typed = _number_types_read(model, example)
    layers = {
        node: name
        for node, name in named
        if name is not None and _quantizable(model, name) and _alone_reads_weight(node) and name not in typed
    }
    sites = {}
    for node, name in layers.items():
        sites[name] = _site(model, node, layers) if calls[name] == 1 else Site(name)
    if not sites:
        raise _nothing_to_quantize(model)
    return tuple(_without_shared_norms(sites))


def _nothing_to_quantize(model: nn.Module) -> ConfigError:
    return ConfigError(f"{type(model).__name__} has no convolution or linear layer that can be quantized")


def trace(model: nn.Module, example: Float[Tensor, "n ..."]) -> fx.Graph:
    """Trace the functions of one forward pass in eval mode, see `ganpress.structure.function_graph`.

    Raises:
        ConfigError: if the generator cannot be traced.
    """
    try:
        return trace_functions(model, example)
    except Exception as error:  # a generator's own functions raise many types
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(
            f"{type(model).__name__} cannot be traced, so that its layers cannot be found: {reason}; "
            "a generator must take one tensor and run the same operators for every input of that shape"
        ) from None


def owner_of(node: object) -> str | None:
    """Return the dotted name of the module whose parameter or buffer a node is."""
    if not isinstance(node, fx.Node) or node.op != "get_attr" or not node.target:
        return None
    return str(node.target).rpartition(".")[0]


def shift_of(addition: fx.Node, channels: int) -> str | None:
    """Return the dotted name of the parameter of an addition, if it has one value per channel and no other reader.

    Args:
        addition: a node in the model's graph; the first operand has the channels, (N, C, …).
        channels: C.
    """
    node = argument(addition, 1, "other")
    while isinstance(node, fx.Node) and node.target in VIEWS and len(node.users) == 1:
        node = node.args[0]
    if owner_of(node) is None or len(node.users) != 1 or addition.kwargs.get("alpha", 1) != 1:
        return None
    beside, axes = shape_of(argument(addition, 1, "other")), len(shape_of(addition))
    along_channels = (1,) * (axes - len(beside)) + beside == (1, channels, *(1,) * (axes - 2))
    return str(node.target) if along_channels and isinstance(node.meta["value"], nn.Parameter) else None


def _alone_reads_weight(node: fx.Node) -> bool:
    """Whether only calls of its layer read a weight, because a network cannot compute with quantized weights
    otherwise.
    """
    weight = argument(node, 1, "weight")
    return all(user.target in LAYERS and argument(user, 1, "weight") is weight for user in weight.users)


def _number_types_read(model: nn.Module, example: Float[Tensor, "n ..."]) -> set[str]:
    """Return the layers whose weight's number type the network reads, as in `x.to(self.conv.weight.dtype)`: with
    weights of integers it would compute something else.
    """
    with torch.no_grad(), _TypesRead() as read:
        model(example)
    return {name for name, layer in model.named_modules() if id(getattr(layer, "weight", None)) in read.tensors}


class _TypesRead(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.tensors: set[int] = set()

    def __torch_function__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func == torch.Tensor.dtype.__get__:  # type: ignore[attr-defined]
            self.tensors.add(id(args[0]))
        return func(*args, **(kwargs or {}))


def _quantizable(model: nn.Module, name: str) -> bool:
    layer = model.get_submodule(name)
    if not isinstance(layer, QUANTIZABLE):
        return False
    try:
        geometry_of(layer)
    except ValueError:
        return False
    return True


def _site(model: nn.Module, node: fx.Node, layers: dict[fx.Node, str]) -> Site:
    layer, reader = model.get_submodule(layers[node]), _only_reader(node)
    site = Site(layers[node], pixel=draws_one_pixel(layer, shape_of(argument(node, 0, "input"))))
    if reader is not None and reader.target == "batch_norm":
        norm = owner_of(argument(reader, 1, "running_mean"))
        if norm is not None and isinstance(model.get_submodule(norm), nn.BatchNorm1d | nn.BatchNorm2d):
            site, node, reader = replace(site, norm=norm), reader, _only_reader(reader)
    if reader is not None and reader.target == "add" and reader.args[0] is node:
        shift = shift_of(reader, shape_of(node)[1])
        if shift is not None:
            site, node, reader = replace(site, shift=shift), reader, _only_reader(reader)
    follower = FOLLOWERS.get(reader.target) if reader is not None and not _by_running_statistics(reader) else None
    return replace(site, follower=follower, readers=readers_of(node, layers))


def _by_running_statistics(node: fx.Node) -> bool:
    """Whether an instance normalisation uses stored statistics, so that it does not take out the mean of its input."""
    return node.target == "instance_norm" and argument(node, 5, "use_input_stats") is False


def _only_reader(node: fx.Node) -> fx.Node | None:
    while len(node.users) == 1:
        (reader,) = node.users
        if reader.target not in PASSING:
            return reader
        node = reader
    return None


def _without_shared_norms(sites: dict[str, Site]) -> list[Site]:
    """Leave out normalisations that follow several layers, because folding would replace them everywhere."""
    uses = Counter(site.norm for site in sites.values() if site.norm is not None)
    return [site if uses[site.norm or ""] < 2 else Site(site.name) for site in sites.values()]
