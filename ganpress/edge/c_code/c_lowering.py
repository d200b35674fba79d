"""Writes a whole generator as a C program, function by function in the order in which they run."""

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.overrides import handle_torch_function, has_torch_function

from ganpress.edge.c_code.c_convolutions import float_convolution, integer_convolution
from ganpress.edge.c_code.c_functions import POINTWISE, of_codes, write_call
from ganpress.edge.c_code.c_moves import viewed
from ganpress.edge.c_code.c_program import Buffer, Program, Step, Structure
from ganpress.edge.c_code.c_values import Values, shape_of_value
from ganpress.edge.forms.float_forms import SubpixelConv
from ganpress.edge.graphs.form_operands import NoForm
from ganpress.edge.graphs.network_graph import PASSING, VIEWS
from ganpress.structure.function_graph import shape_of, trace_functions
from models.quantized_layers import QuantizedConv


class UnwrittenLayer(Exception):
    """A function cannot be written in C; the error has its name and the reason."""

    def __init__(self, function: str, reason: str) -> None:
        super().__init__(reason)
        self.function = function


class _Whole(nn.Module):
    """A layer that a trace records as one call, and not as the functions inside."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return whole_layer(x, self.layer)


def whole_layer(x: Tensor, layer: nn.Module) -> Tensor:
    """Run a layer; a torch function mode that records calls sees this call alone."""
    if has_torch_function((x,)):
        result: Tensor = handle_torch_function(whole_layer, (x,), x, layer)
        return result
    made: Tensor = layer(x)
    return made


def lower(model: nn.Module, example: Tensor) -> tuple[Program, Values, Values]:
    """Write a generator as a program for one sample.

    Args:
        model: a generator in eval mode; it is left as it is.
        example: inputs (N, …).

    Returns:
        The program, its input and its output, each in codes or in floats. If the input is in codes, `Program.encoding`
        holds the step that computes them, which is not one of the program's own steps.

    Raises:
        UnwrittenLayer: if a function cannot be written in C.
        Untraceable: if the functions may depend on the input.
    """
    model = _with_whole_layers(copy.deepcopy(model).eval())
    graph, program = trace_functions(model, example[:1]), Program()
    shape = tuple(example[:1].shape)
    source = Values(Buffer(int(np.prod(shape)), 4, "input"), shape_of_value(shape), len(shape))
    values: dict[fx.Node, Any] = {}
    for node in graph.nodes:
        if node.op == "output":
            break
        try:
            values[node] = _value(program, node, values, source)
        except NoForm as error:
            raise UnwrittenLayer(str(node.target), str(error)) from None
    result = values[node.args[0]]
    if not isinstance(result, Values) or result.buffer is source.buffer or result.rank != 4:
        raise UnwrittenLayer("forward", "a network whose output is not a feature map (N, C, H, W)")
    result.buffer.place = "output"
    fuse_tables(program)
    return program, _take_codes(program, source), result


def _with_whole_layers(network: nn.Module) -> nn.Module:
    kinds = (QuantizedConv, SubpixelConv)
    if isinstance(network, kinds):
        return _Whole(network)
    for name, module in list(network.named_modules()):
        if isinstance(module, kinds):
            network.set_submodule(name, _Whole(module))
    return network


def _value(program: Program, node: fx.Node, values: dict[fx.Node, Any], source: Values) -> Any:
    if node.op == "placeholder":
        return source
    if not node.meta["computed"]:
        return node.meta["value"].detach()
    replace_node: Any = values.__getitem__  # fx's annotation allows only nodes as results
    mapped: Any = fx.node.map_arg((node.args, node.kwargs), replace_node)
    arguments, named = mapped
    name, first = str(node.target), arguments[0]
    if name == "whole_layer":
        return _layer(program, first, arguments[1])
    if name in PASSING:
        return first
    if isinstance(first, Values) and (name in VIEWS or (name == "getitem" and len(shape_of(node)) != first.rank)):
        shape = shape_of(node)
        return viewed(program, first, shape_of_value(shape), len(shape))
    computed = [one for one in (*arguments, *named.values()) if isinstance(one, Values)]
    if name in POINTWISE and len(computed) == 1 and computed[0].reals is not None:
        return of_codes(node.meta["function"], computed[0], arguments, named)
    return write_call(program, name, arguments, named)


def _layer(program: Program, x: Values, layer: nn.Module) -> Values:
    if isinstance(layer, QuantizedConv):
        return integer_convolution(program, x, layer, 2 if layer.linear else 4)
    assert isinstance(layer, SubpixelConv)  # only layers are wrapped
    result = float_convolution(program, x, layer.weight.detach(), layer.bias.detach(), layer.geometry, 4)
    return write_call(program, "relu", [result], {}) if layer.relu else result


def fuse_tables(program: Program) -> None:
    """Merge lookup tables into the layers before them; a table that only clips becomes the layer's bounds."""
    for step in list(program.steps):
        if step.function != "map_codes" or step.arguments[1] != "0":
            continue
        before = step.reads[0]
        readers = [one for one in program.steps if before in one.reads]
        makers = [one for one in program.steps if one.writes is before]
        if len(readers) == len(makers) == 1 and makers[0].function == "convolve_codes" and before.place == "arena":
            _fuse(program, makers[0], step)


def _fuse(program: Program, maker: Step, step: Step) -> None:
    table, layer = program.arrays[str(step.arguments[0])], maker.arguments[0]
    assert isinstance(layer, Structure)  # the first argument of a convolution
    low, high = int(table.min()), int(table.max())
    if (table == np.arange(len(table)).clip(low, high)).all():
        layer.fields |= {"low": str(low), "high": str(high)}
    else:
        layer.fields["table"] = str(step.arguments[0])
    old = maker.writes
    maker.arguments = tuple(step.writes if one is old else one for one in maker.arguments)
    maker.writes = step.writes
    program.steps.remove(step)


def _take_codes(program: Program, source: Values) -> Values:
    """Return the input that the program reads: codes, if the only reader of the floats is the step that rounds them."""
    readers = [step for step in program.steps if source.buffer in step.reads]
    if len(readers) != 1 or readers[0].function != "encode_floats":
        return source
    program.encoding = readers[0]
    program.steps.remove(readers[0])
    codes = readers[0].writes
    codes.place = "input"
    levels = torch.zeros(source.channels, 1)  # no step needs the reals
    return replace(source, buffer=codes, reals=levels)
