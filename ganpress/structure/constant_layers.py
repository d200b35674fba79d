"""Replaces a user's modules that compute one convolution or linear layer of their input with computed weights.

Equalised learning rates scale a kernel in each call, re-parameterised branches add several into one, weight
standardisation normalises it: none of that depends on the input. Such a module is read from the functions that it
calls: each value is the input times a number, or one layer of the input, as long as every further step is linear.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.conv import _ConvNd

from ganpress.structure.function_graph import Untraceable, argument, trace_functions
from models.plain_network import plain_layer

SAME_RESULT = 1e-4
"""Largest difference between a plain layer and the module that it replaces, as a share of the largest value."""
LAYERS = {"conv2d": "Conv2d", "conv_transpose2d": "ConvTranspose2d", "linear": "Linear"}
PASSING = frozenset({"dropout", "identity", "contiguous", "clone", "to", "float", "type_as", "detach"})
SIGNAL_KINDS = {nn.Conv1d: "Conv2d", nn.ConvTranspose1d: "ConvTranspose2d"}


class _NotLinear(Exception):
    """The module is not such a layer."""


@dataclass(frozen=True)
class _Input:
    """The input, times a number."""

    factor: float


@dataclass(frozen=True)
class _Layer:
    """One layer of the input."""

    kind: str
    weight: Tensor
    bias: Tensor | None
    geometry: tuple[Any, ...]
    """Stride, padding, dilation, groups, output padding."""

    @property
    def outputs(self) -> int:
        return self.weight.shape[1] * self.geometry[3] if self.kind == "ConvTranspose2d" else self.weight.shape[0]


@torch.no_grad()
def put_constant_layers_(network: nn.Module, run: Callable[[nn.Module], Tensor]) -> dict[str, Any]:
    """Replace every module that is one layer of its input by that layer, in place, weights included.

    If the network needs more of such a module than its call, for example its weight, all modules stay unchanged.

    Args:
        network: in eval mode.
        run: runs it once.

    Returns:
        The plan that `models.plain_network.put_plain_` takes.
    """
    plan: dict[str, Any] = {}
    before: dict[str, nn.Module] = {}
    wanted = run(network)
    for name, inputs in _inputs_of_modules(network, run).items():
        if any(name.startswith(f"{done}.") for done in plan):
            continue
        module = network.get_submodule(name)
        found = _signal_layer(module) if type(module) in SIGNAL_KINDS else _constant_layer(module, inputs)
        if found is None:
            continue
        content, state = found
        layer = plain_layer(content).eval()
        layer.load_state_dict(state)
        if _same(module(inputs), layer(inputs)):
            network.set_submodule(name, layer)
            plan[name], before[name] = content, module
    if plan and not _still_runs(network, run, wanted):
        for name, module in before.items():
            network.set_submodule(name, module)
        return {}
    return plan


def _same(wanted: Tensor, found: Tensor) -> bool:
    if wanted.shape != found.shape:
        return False
    return bool((wanted - found).abs().max() <= SAME_RESULT * wanted.abs().max())


def _still_runs(network: nn.Module, run: Callable[[nn.Module], Tensor], wanted: Tensor) -> bool:
    try:
        return _same(wanted, run(network))
    except Exception:  # The user's code may raise any error.
        return False


def _inputs_of_modules(network: nn.Module, run: Callable[[nn.Module], Tensor]) -> dict[str, Tensor]:
    """Inputs of the modules that read one tensor and may be one layer, the outer ones first."""
    seen: dict[str, Tensor] = {}
    candidates = [(name, module) for name, module in network.named_modules() if name and _may_be_layer(module)]

    def hook(name: str) -> Callable[..., None]:
        def look(_module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], result: object) -> None:
            if len(inputs) == 1 and not named and isinstance(inputs[0], Tensor) and isinstance(result, Tensor):
                seen.setdefault(name, inputs[0])

        return look

    handles = [module.register_forward_hook(hook(name), with_kwargs=True) for name, module in candidates]
    try:
        run(network)
    finally:
        for handle in handles:
            handle.remove()
    return {name: seen[name] for name, _ in candidates if name in seen}


def _may_be_layer(module: nn.Module) -> bool:
    if type(module) in SIGNAL_KINDS:
        return True
    own = not type(module).__module__.startswith("torch.")
    return own and bool(module._parameters or module._buffers or not list(module.children()) or _holds_kernel(module))


def _holds_kernel(module: nn.Module) -> bool:
    """Whether a module wraps a layer whose weight is computed elsewhere, or one and something else that is linear."""
    return any(isinstance(child, _ConvNd | nn.Linear) for child in module.children())


def _signal_layer(module: nn.Module) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
    assert isinstance(module, _ConvNd)
    if module.padding_mode != "zeros" or isinstance(module.padding, str):
        return None
    content = {
        "kind": SIGNAL_KINDS[type(module)], "signal": True,
        "in_channels": module.in_channels, "out_channels": module.out_channels,
        "kernel_size": [1, *module.kernel_size], "stride": [1, *module.stride], "padding": [0, *module.padding],
        "dilation": [1, *module.dilation], "groups": module.groups, "bias": module.bias is not None,
    }  # fmt: skip
    if isinstance(module, nn.ConvTranspose1d):
        content["output_padding"] = [0, *module.output_padding]
    state = {"conv.weight": module.weight[:, :, None]}
    return content, state if module.bias is None else state | {"conv.bias": module.bias}


def _constant_layer(module: nn.Module, inputs: Tensor) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
    try:
        layer = _evaluated(trace_functions(copy.deepcopy(module), inputs))
    except (_NotLinear, Untraceable, RuntimeError):
        return None
    return _content(layer)


def _evaluated(graph: fx.Graph) -> _Layer:
    values: dict[fx.Node, Any] = {}
    for node in graph.nodes:
        if node.op == "output":
            result = values.get(node.args[0])
            if isinstance(result, _Layer):
                return result
            raise _NotLinear
        if node.op == "placeholder":
            values[node] = _Input(1.0)
        elif node.meta["computed"]:
            values[node] = _step(node, values)
        else:
            values[node] = node.meta["value"].detach()
    raise _NotLinear


def _step(node: fx.Node, values: Mapping[fx.Node, Any]) -> _Input | _Layer:
    def read(place: int, name: str, default: Any = None) -> Any:
        value = argument(node, place, name, default)
        return values[value] if isinstance(value, fx.Node) else value

    first = read(0, "input")
    if node.target in PASSING:
        return first  # type: ignore[no-any-return]
    if node.target in LAYERS:
        return _first_layer(str(node.target), first, read)
    other = read(1, "other")
    if node.target in ("mul", "div", "truediv"):
        first, other = (other, first) if isinstance(other, _Input | _Layer) and node.target == "mul" else (first, other)
        return _scaled(first, _reciprocal(other) if node.target != "mul" else other)
    if node.target in ("add", "sub") and "alpha" not in node.kwargs:
        if node.target == "sub":
            other = _scaled(other, -1.0) if isinstance(other, _Input | _Layer) else -other
        first, other = (first, other) if isinstance(first, _Layer) else (other, first)
        return _sum(first, other)
    raise _NotLinear


def _reciprocal(value: Any) -> Any:
    if isinstance(value, _Input | _Layer):
        raise _NotLinear
    return 1 / value


def _first_layer(name: str, first: Any, read: Callable[..., Any]) -> _Layer:
    weight, bias = read(1, "weight"), read(2, "bias")
    if not isinstance(first, _Input) or not isinstance(weight, Tensor) or isinstance(bias, _Input | _Layer):
        raise _NotLinear
    if name == "linear":
        geometry: tuple[Any, ...] = ()
    else:
        stride, padding = _pair(read(3, "stride", 1)), read(4, "padding", 0)
        if name == "conv2d":
            groups, dilation, output_padding = read(6, "groups", 1), read(5, "dilation", 1), 0
        else:
            groups, dilation, output_padding = (
                read(6, "groups", 1),
                read(7, "dilation", 1),
                read(5, "output_padding", 0),
            )
        padding = padding if isinstance(padding, str) else _pair(padding)
        geometry = (stride, padding, _pair(dilation), groups, _pair(output_padding))
    return _Layer(LAYERS[name], weight * first.factor, bias, geometry)


def _pair(value: Any) -> tuple[int, int]:
    values = [value] if isinstance(value, int) else list(value)
    return (values[0], values[-1])


def _scaled(value: Any, by: Any) -> _Input | _Layer:
    number = by.item() if isinstance(by, Tensor) and by.numel() == 1 else by
    if isinstance(value, _Input) and isinstance(number, int | float):
        return _Input(value.factor * number)
    if not isinstance(value, _Layer):
        raise _NotLinear
    if isinstance(number, int | float):
        bias = None if value.bias is None else value.bias * number
        return replace(value, weight=value.weight * number, bias=bias)
    channels = _of_channels(number, value)
    if value.kind == "ConvTranspose2d" and value.geometry[3] > 1:
        raise _NotLinear
    shape = (1, -1, 1, 1) if value.kind == "ConvTranspose2d" else (-1, *(1,) * (value.weight.dim() - 1))
    bias = None if value.bias is None else value.bias * channels
    return replace(value, weight=value.weight * channels.reshape(shape), bias=bias)


def _of_channels(value: Any, layer: _Layer) -> Tensor:
    """A constant that has one value for each output channel, or one for all, as (O,)."""
    axes = 1 if layer.kind == "Linear" else 3
    if not isinstance(value, Tensor):
        return torch.full((layer.outputs,), float(value))
    shape = (1,) * (axes - value.dim()) + tuple(value.shape)
    if len(shape) == axes + 1 and shape[0] == 1:
        shape = shape[1:]
    if shape not in ((layer.outputs, *(1,) * (axes - 1)), (1,) * axes):
        raise _NotLinear
    return value.reshape(-1).expand(layer.outputs)


def _sum(layer: Any, other: Any) -> _Layer:
    if not isinstance(layer, _Layer) or isinstance(other, _Input):
        raise _NotLinear
    if isinstance(other, _Layer):
        if (layer.kind, layer.geometry, layer.weight.shape) != (other.kind, other.geometry, other.weight.shape):
            raise _NotLinear
        biases = [one for one in (layer.bias, other.bias) if one is not None]
        return replace(layer, weight=layer.weight + other.weight, bias=torch.stack(biases).sum(0) if biases else None)
    shift = _of_channels(other, layer)
    return replace(layer, bias=shift if layer.bias is None else layer.bias + shift)


def _content(layer: _Layer) -> tuple[dict[str, Any], dict[str, Tensor]]:
    state = {"weight": layer.weight.contiguous()}
    if layer.bias is not None:
        state["bias"] = layer.bias.contiguous()
    content: dict[str, Any] = {"kind": layer.kind, "bias": layer.bias is not None}
    if layer.kind == "Linear":
        outputs, inputs = layer.weight.shape
        return content | {"in_features": inputs, "out_features": outputs}, state
    stride, padding, dilation, groups, output_padding = layer.geometry
    inputs = layer.weight.shape[0] if layer.kind == "ConvTranspose2d" else layer.weight.shape[1] * groups
    content |= {
        "in_channels": inputs, "out_channels": layer.outputs, "kernel_size": list(layer.weight.shape[2:]),
        "stride": list(stride), "padding": padding if isinstance(padding, str) else list(padding),
        "dilation": list(dilation), "groups": groups,
    }  # fmt: skip
    if layer.kind == "ConvTranspose2d":
        content["output_padding"] = list(output_padding)
    return content, state
