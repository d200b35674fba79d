"""Cross-layer equalization: channels between two layers are rescaled to equal ranges of both layers' weights.

A positive factor passes through the functions between two layers if these are positively homogeneous for each channel,
like a (leaky) ReLU: one layer's output channel may be divided by it if the next layer's input channel is multiplied by
it. The factor that equalizes the ranges is sqrt(r1 / r2), with r the largest magnitude of the channel's weights (Nagel
et al. 2019, "Data-free quantization through weight equalization and bias correction", section 4.1, equation 11).
Channels with equal ranges lose less with a common scale.
"""

import copy
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, fx, nn

from ganpress.compression.preparation.sites import LAYERS, PASSING, owner_of, shift_of, trace
from ganpress.errors import ConfigError
from ganpress.structure.function_graph import argument
from models.quantized_geometry import QUANTIZABLE

HOMOGENEOUS = (*PASSING, "relu", "leaky_relu", "avg_pool2d", "max_pool2d")
"""Positively homogeneous functions that compute each channel by itself."""
PASSES = 20
"""Number of passes over all pairs, because a layer may belong to two; further passes change factors by less than 1
%.
"""
LARGEST_FACTOR = 100.0
"""Largest factor of a channel in one pass, so that a nearly empty channel is not blown up."""


@dataclass(frozen=True)
class Pair:
    """Two layers with only positively homogeneous functions between them."""

    first: nn.Module
    norm: nn.BatchNorm1d | nn.BatchNorm2d | None
    """Normalisation between them."""
    shifts: tuple[nn.Parameter, ...]
    """Parameters added to the channels between them, one value for each channel."""
    second: nn.Module


@torch.no_grad()
def equalize_layers(model: nn.Module, example: Float[Tensor, "1 ..."]) -> nn.Module:
    """Return an equivalent generator with equal weight ranges on both sides of each channel between two layers.

    Grouped layers, and layers whose output has several readers, are not changed.

    Args:
        model: a generator of one tensor; it is not changed.
        example: an input that it can run.

    Raises:
        ConfigError: if the generator cannot be traced, or it has no such pair of layers.
    """
    rewritten = copy.deepcopy(model).eval()
    pairs = _find_pairs(rewritten, example)
    if not pairs:
        raise ConfigError(
            f"{type(model).__name__} has no two layers with at most a batch normalisation and a ReLU between them, "
            "whose channels could be equalized; leave out equalized"
        )
    for _ in range(PASSES):
        for pair in pairs:
            _equalize_(pair)
    return rewritten


def _find_pairs(model: nn.Module, example: Float[Tensor, "1 ..."]) -> list[Pair]:
    nodes = trace(model, example).nodes
    found = (_pair(model, node) for node in nodes if node.target in LAYERS)
    return [pair for pair in found if pair is not None]


def _pair(model: nn.Module, node: fx.Node) -> Pair | None:
    """Return the pair whose first layer is a node; None if a factor does not pass to a second layer."""
    first, norm = _layer(model, node), None
    shifts: list[nn.Parameter] = []
    while first is not None and len(node.users) == 1:
        (reader,) = node.users
        if reader.target in LAYERS and reader.args[0] is node:
            second = _layer(model, reader)
            return None if second is None else Pair(first, norm, tuple(shifts), second)
        if reader.target == "batch_norm" and norm is None and not shifts and _once(argument(reader, 1, "running_mean")):
            found = model.get_submodule(owner_of(argument(reader, 1, "running_mean")) or "")
            if not isinstance(found, nn.BatchNorm1d | nn.BatchNorm2d):
                return None
            norm = found
        elif reader.target == "add" and reader.args[0] is node:
            shift = shift_of(reader, _channels(first))
            if shift is None:
                return None
            shifts.append(model.get_parameter(shift))
        elif not _homogeneous(reader):
            return None
        node = reader
    return None


def _layer(model: nn.Module, node: fx.Node) -> nn.Module | None:
    """Return the layer of a node; None if it has groups, is used several times, or is not a module of a known kind."""
    weight = argument(node, 1, "weight")
    name = owner_of(weight)
    layer = None if name is None or not _once(weight) else model.get_submodule(name)
    return layer if isinstance(layer, QUANTIZABLE) and getattr(layer, "groups", 1) == 1 else None


def _once(node: object) -> bool:
    return isinstance(node, fx.Node) and len(node.users) == 1


def _homogeneous(node: fx.Node) -> bool:
    """Whether a function is positively homogeneous."""
    if node.target == "pad":  # pads with pixels of the input, or with zeros
        return argument(node, 2, "mode", "constant") != "constant" or not argument(node, 3, "value")
    if node.target == "interpolate":
        return argument(node, 3, "mode", "nearest") in ("nearest", "bilinear")
    return node.target in HOMOGENEOUS


def _equalize_(pair: Pair) -> None:
    """Divide and multiply the channels between two layers by sqrt(r1 / r2)."""
    outgoing = _by_channel(pair.first, outputs=True).flatten(1).abs().amax(1)
    if pair.norm is not None:
        outgoing = outgoing * _gain(pair.norm).abs()
    incoming = _by_channel(pair.second, outputs=False).flatten(1).abs().amax(1)
    usable = (outgoing > 0) & (incoming > 0)
    factors = torch.where(usable, (outgoing / incoming).sqrt(), 1.0).clamp(1 / LARGEST_FACTOR, LARGEST_FACTOR)
    if pair.norm is not None:
        _divide_norm_(pair.norm, factors)
    else:
        _scale_(pair.first, 1 / factors, outputs=True)
        bias = getattr(pair.first, "bias", None)
        if bias is not None:
            bias.div_(factors)
    for shift in pair.shifts:
        shift.div_(factors.view(shift.shape))
    _scale_(pair.second, factors, outputs=False)


def _scale_(layer: nn.Module, factors: Float[Tensor, " channels"], outputs: bool) -> None:
    weight = _by_channel(layer, outputs)
    weight.mul_(factors.view(-1, *(1,) * (weight.dim() - 1)))


def _by_channel(layer: nn.Module, outputs: bool) -> Float[Tensor, "channels ..."]:
    """Return a view of the layer's weights whose first dimension is that of its outputs, or of its inputs."""
    weight = layer.get_parameter("weight")
    outputs_first = not isinstance(layer, nn.ConvTranspose2d)
    return weight if outputs == outputs_first else weight.transpose(0, 1)


def _channels(layer: nn.Module) -> int:
    return len(_by_channel(layer, outputs=True))


def _gain(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> Float[Tensor, " channels"]:
    """Return the factor by which a normalisation multiplies each channel."""
    assert norm.running_var is not None  # `_pair` found its running mean in the graph
    gain = (norm.running_var + norm.eps).rsqrt()
    return gain * norm.weight if norm.affine else gain


def _divide_norm_(norm: nn.BatchNorm1d | nn.BatchNorm2d, factors: Float[Tensor, " channels"]) -> None:
    """Divide a normalisation's output, by changing its weight and bias, or otherwise its statistics."""
    if norm.affine:
        norm.weight.div_(factors)
        norm.bias.div_(factors)
        return
    assert norm.running_var is not None
    norm.running_var.add_(norm.eps).mul_(factors.square()).sub_(norm.eps)
