"""Where a generator can be quantized: its convolutions and linear layers, and what each one's output goes into.

Read from the graph that torch.export makes of one forward pass, so that no architecture has to describe itself.
"""

import copy
from collections import Counter
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, fx, nn

from ganpress.compression.preparation.code_flows import readers_of
from ganpress.errors import ConfigError
from models.quantized_geometry import geometry_of
from models.quantized_network import QUANTIZABLE

aten = torch.ops.aten
Follower = Literal["relu", "tanh", "instance_norm"]

LAYERS = (aten.conv2d.default, aten.conv2d.padding, aten.conv_transpose2d.input, aten.linear.default)
FOLLOWERS: dict[object, Follower] = {
    aten.relu.default: "relu",
    aten.relu_.default: "relu",
    aten.tanh.default: "tanh",
    aten.instance_norm.default: "instance_norm",
}
PASSING = (aten.dropout.default, aten.feature_dropout.default)
"""Operators that do nothing in eval mode."""


@dataclass(frozen=True)
class Site:
    """A layer that can be quantized."""

    name: str
    """Dotted name of the module."""
    norm: str | None = None
    """Batch normalisation that follows at once and nowhere else, so that it can be folded."""
    follower: Follower | None = None
    """What alone reads the layer's output, behind `norm`; None where it is something else, or several."""
    readers: tuple[str, ...] = ()
    """Layers that alone read the output, behind `norm`, with nothing between that does not commute with rounding; empty
    where anything else reads it.
    """


def find_sites(model: nn.Module, example: Tensor) -> tuple[Site, ...]:
    """List the layers of a generator that can be quantized, in the order in which they run.

    A layer without a form as a plain convolution is left out, as is a functional call that no module stands behind.

    Args:
        model: a generator of one tensor, in eval mode.
        example: an input that it can run.

    Raises:
        ConfigError: if the generator cannot be traced, or has no such layer.
    """
    if not any(isinstance(layer, QUANTIZABLE) for layer in model.modules()):
        raise _nothing_to_quantize(model)
    program = trace(model, example)
    signature = program.graph_signature
    owners = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    nodes = [node for node in program.graph.nodes if node.target in LAYERS]
    named = [(node, owner_of(node.args[1], owners)) for node in nodes]
    calls = Counter(name for _, name in named)
    layers = {node: name for node, name in named if name is not None and _quantizable(model, name)}
    sites = {}
    for node, name in layers.items():
        sites[name] = _site(model, node, layers, owners) if calls[name] == 1 else Site(name)
    if not sites:
        raise _nothing_to_quantize(model)
    return tuple(_without_shared_norms(sites))


def _nothing_to_quantize(model: nn.Module) -> ConfigError:
    return ConfigError(f"{type(model).__name__} has no convolution or linear layer that can be quantized")


def trace(model: nn.Module, example: Tensor) -> torch.export.ExportedProgram:
    """The graph of one forward pass in eval mode.

    Raises:
        ConfigError: if the generator cannot be traced.
    """
    try:
        with torch.no_grad():
            return torch.export.export(copy.deepcopy(model).eval(), (example,))
    except Exception as error:  # the tracer raises many types
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(
            f"{type(model).__name__} cannot be traced, so that its layers cannot be found: {reason}; "
            "a generator must take one tensor and run the same operators for every input of that shape"
        ) from None


def owner_of(node: object, owners: dict[str, str]) -> str | None:
    """Dotted name of the module whose parameter or buffer a node is."""
    name = owners.get(node.name) if isinstance(node, fx.Node) else None
    return None if name is None else name.rpartition(".")[0]


def _quantizable(model: nn.Module, name: str) -> bool:
    layer = model.get_submodule(name)
    if not isinstance(layer, QUANTIZABLE):
        return False
    try:
        geometry_of(layer)
    except ValueError:
        return False
    return True


def _site(model: nn.Module, node: fx.Node, layers: dict[fx.Node, str], owners: dict[str, str]) -> Site:
    site, reader = Site(layers[node]), _only_reader(node)
    if reader is not None and reader.target is aten.batch_norm.default:
        norm = owner_of(reader.args[3], owners)  # of the running mean
        layer = None if norm is None else model.get_submodule(norm)
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            site, node, reader = replace(site, norm=norm), reader, _only_reader(reader)
    follower = FOLLOWERS.get(reader.target) if reader is not None else None
    return replace(site, follower=follower, readers=readers_of(node, layers))


def _only_reader(node: fx.Node) -> fx.Node | None:
    while len(node.users) == 1:
        (reader,) = node.users
        if reader.target not in PASSING:
            return reader
        node = reader
    return None


def _without_shared_norms(sites: dict[str, Site]) -> list[Site]:
    """Leave normalisations alone that follow several layers: folding replaces them everywhere."""
    uses = Counter(site.norm for site in sites.values() if site.norm is not None)
    return [site if uses[site.norm or ""] < 2 else Site(site.name) for site in sites.values()]
