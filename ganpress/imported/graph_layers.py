"""Builds networks of layers from exported programs, which can be quantized, pruned and exported like any other.

A program (`torch.export`, ONNX) names functions and weights. What has its own layer (convolutions, dense layers,
normalisations with weights, PReLU) becomes a module of torch.nn; all else stays a call.
"""

import re
from typing import Any

import torch
from torch import Tensor, fx, nn

NOT_A_NAME = re.compile(r"[^A-Za-z0-9_]+")


class GraphBuilder:
    """Builds a network of layers, node by node."""

    def __init__(self) -> None:
        self.root, self.graph = nn.Module(), fx.Graph()
        self._names: set[str] = set()

    def input(self, name: str) -> fx.Node:
        """Add an input of the network."""
        return self.graph.placeholder(self._unused(name))

    def constant(self, name: str, value: Tensor) -> fx.Node:
        """Add a tensor that is no weight of a layer."""
        own = self._unused(name)
        self.root.register_buffer(own, value.detach().clone())
        return self.graph.get_attr(own)

    def layer(self, name: str, layer: nn.Module, x: fx.Node) -> fx.Node:
        """Add a layer that reads `x`."""
        own = self._unused(name)
        self.root.add_module(own, layer)
        return self.graph.call_module(own, (x,))

    def call(self, function: Any, *args: Any, **kwargs: Any) -> fx.Node:
        """Add a call of any function."""
        return self.graph.call_function(function, args, kwargs)

    def method(self, name: str, x: fx.Node, *args: Any, **kwargs: Any) -> fx.Node:
        """Add a call of a method of `x`."""
        return self.graph.call_method(name, (x, *args), kwargs)

    def finish(self, result: Any) -> nn.Module:
        """Return the network in eval mode, without what nothing reads."""
        self.graph.output(result)
        made = fx.GraphModule(self.root, self.graph)
        made.graph.eliminate_dead_code()
        made.recompile()
        return made.eval()

    def _unused(self, name: str) -> str:
        stem = NOT_A_NAME.sub("_", name).strip("_") or "layer"
        stem = f"n{stem}" if stem[0].isdigit() else stem
        own, number = stem, 1
        while own in self._names or hasattr(self.root, own):
            own, number = f"{stem}_{number}", number + 1
        self._names.add(own)
        return own


@torch.no_grad()
def convolution(
    weight: Tensor,
    bias: Tensor | None,
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
    groups: int,
    output_padding: tuple[int, ...] | None = None,
) -> nn.Module:
    """A convolution of one or two axes; with `output_padding` a transposed one.

    Args:
        weight: (out, in / groups, …), or of a transposed one (in, out / groups, …).
        bias: (out,) or None.
        stride: for each axis.
        padding: for each axis, the same on both sides.
        dilation: for each axis.
        groups: of channels.
        output_padding: of a transposed convolution, for each axis.

    Raises:
        ValueError: if it has three axes.
    """
    axes = weight.dim() - 2
    if axes not in (1, 2):
        raise ValueError(f"a convolution of {axes} axes")
    first, second = weight.shape[:2]
    more: dict[str, Any] = {"groups": groups, "bias": bias is not None, "dilation": dilation}
    if output_padding is None:
        kind: Any = nn.Conv1d if axes == 1 else nn.Conv2d
        made: nn.Module = kind(second * groups, first, weight.shape[2:], stride, padding, **more)
    else:
        kind = nn.ConvTranspose1d if axes == 1 else nn.ConvTranspose2d
        made = kind(first, second * groups, weight.shape[2:], stride, padding, output_padding, **more)
    return _filled(made, {"weight": weight, "bias": bias})


@torch.no_grad()
def dense(weight: Tensor, bias: Tensor | None) -> nn.Module:
    """A dense layer of weights (out, in)."""
    return _filled(nn.Linear(weight.shape[1], weight.shape[0], bias is not None), {"weight": weight, "bias": bias})


@torch.no_grad()
def batch_norm(
    weight: Tensor | None, bias: Tensor | None, mean: Tensor, variance: Tensor, eps: float, axes: int
) -> nn.Module:
    """A batch normalisation with its statistics (C,), of maps with `axes` axes behind the channels."""
    kind: Any = nn.BatchNorm2d if axes == 2 else nn.BatchNorm1d
    ones, zeros = torch.ones_like(mean), torch.zeros_like(mean)
    made = kind(len(mean), eps=eps)
    values = {"weight": ones if weight is None else weight, "bias": zeros if bias is None else bias}
    return _filled(made, {**values, "running_mean": mean, "running_var": variance})


@torch.no_grad()
def instance_norm(channels: int, weight: Tensor | None, bias: Tensor | None, eps: float, axes: int) -> nn.Module:
    """An instance normalisation, with weights (C,) or without."""
    kind: Any = nn.InstanceNorm2d if axes == 2 else nn.InstanceNorm1d
    made = kind(channels, eps=eps, affine=weight is not None)
    return _filled(made, {} if weight is None else {"weight": weight, "bias": bias})


@torch.no_grad()
def group_norm(groups: int, channels: int, weight: Tensor | None, bias: Tensor | None, eps: float) -> nn.Module:
    """A group normalisation."""
    made = nn.GroupNorm(groups, channels, eps, weight is not None)
    return _filled(made, {} if weight is None else {"weight": weight, "bias": bias})


@torch.no_grad()
def prelu(slopes: Tensor) -> nn.Module:
    """A parametric ReLU with one slope, or one a channel."""
    return _filled(nn.PReLU(slopes.numel()), {"weight": slopes.flatten()})


def _filled(layer: nn.Module, values: dict[str, Tensor | None]) -> nn.Module:
    tensors = {name: one for name, one in values.items() if one is not None}
    for name, value in tensors.items():
        place = getattr(layer, name)
        place.copy_(value.reshape(place.shape))
    return layer.eval()
