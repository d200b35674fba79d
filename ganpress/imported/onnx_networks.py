"""ONNX files as networks of layers: operators are translated one by one, and the result is held against ONNX Runtime.

Each value is known twice: as a node of the network that is written, and as what it is for an example of `BATCH` inputs,
of which only shapes are computed; what does not depend on the input is computed, within `MOST_VALUES`.
Shapes that the graph computes from its input are numbers in the example, so that they are folded; a first number that
is the batch is read from the input again. What one operator means: https://onnx.ai/onnx/operators.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.func import functional_call
from torch.nn import functional

from ganpress.errors import CheckpointError, ConfigError, shown
from ganpress.files.onnx_files import read_onnx as read_content
from ganpress.imported.graph_layers import (
    GraphBuilder,
    batch_norm,
    convolution,
    dense,
    group_norm,
    instance_norm,
    prelu,
)

MOST_VALUES = 2**27
"""Numbers in one result of one sample; half a gigabyte. A file of a few bytes may ask for any."""
BATCH = 7
"""Inputs of the example; a number that hardly stands in a shape for another reason."""
RELATIVE_TOLERANCE = 1e-3
"""Of the largest value: how far the network may be from ONNX Runtime's results."""
FLOATS = {1: torch.float32, 10: torch.float16, 11: torch.float64}
TYPES = FLOATS | {6: torch.int32, 7: torch.int64, 9: torch.bool}


@dataclass(frozen=True)
class Value:
    """A result of the graph."""

    example: Tensor
    """On the meta device where it depends on the input."""
    node: fx.Node | None = None
    """None where it does not depend on the input."""
    name: str = ""
    is_size: bool = False
    """Whether it is the number of inputs, which torch takes as a number and not as a tensor."""

    @property
    def is_constant(self) -> bool:
        return self.node is None


def read_onnx(path: Path) -> tuple[nn.Module, tuple[int, ...] | None]:
    """Read an ONNX generator; returns and raises as `program_files.read_program`."""
    import onnx

    content = read_content(path)
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:
        raise CheckpointError(f"{path} is no ONNX file that can be read ({shown(error, 120)})") from None
    graph = model.graph
    weights = {one.name for one in graph.initializer}
    inputs = [one for one in graph.input if one.name not in weights]
    if len(inputs) != 1 or len(graph.output) < 1:
        raise ConfigError(f"{path} reads {len(inputs)} tensors; give a file that reads one")
    sizes = [one.dim_value for one in inputs[0].type.tensor_type.shape.dim][1:]
    if inputs[0].type.tensor_type.elem_type not in FLOATS:
        raise ConfigError(f"{path} reads whole numbers; give a file that reads latents or pictures")
    if not sizes or not all(size > 0 for size in sizes):
        raise ConfigError(
            f"{path} leaves the size of its input open; export it with fixed sizes, at most the batch open"
        )
    translation = _Translation(path, inputs[0].name, torch.Size([BATCH, *sizes]))
    for one in graph.initializer:
        translation.constant(one.name, onnx.numpy_helper.to_array(one))
    for node in graph.node:
        translation.translate(node, onnx.helper, onnx.numpy_helper)
    network = translation.finish(graph.output[0].name)
    _check(path, content, network, (1, *sizes))
    return network, (1, *sizes)


def _check(path: Path, content: bytes, network: nn.Module, shape: tuple[int, ...]) -> None:
    """Hold the network against ONNX Runtime on one input."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        given = session.get_inputs()[0]
        x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        number_type = np.float16 if given.type == "tensor(float16)" else np.float32
        wanted = session.run(None, {given.name: x.numpy().astype(number_type)})[0].astype(np.float32)
    except Exception as error:
        raise CheckpointError(f"{path} is no ONNX file that ONNX Runtime can run ({shown(error, 160)})") from None
    with torch.no_grad():
        found = network(x).numpy()
    scale = float(np.abs(wanted).max()) or 1.0
    if found.shape != wanted.shape or float(np.abs(found - wanted).max()) > RELATIVE_TOLERANCE * scale:
        raise ConfigError(
            f"{path}: what was made of it does not compute what ONNX Runtime does, so it is not used; give the module "
            "that it was exported from"
        )


class _Translation:
    """The network that is written, operator by operator."""

    def __init__(self, path: Path, name: str, shape: torch.Size) -> None:
        self._path, self._built = path, GraphBuilder()
        self._input = self._built.input("x")
        self._values: dict[str, Value] = {name: Value(torch.zeros(shape, device="meta"), self._input)}
        self._constants: dict[str, fx.Node] = {}
        self._operator = ""

    def constant(self, name: str, array: Any) -> None:
        """A tensor of the file; half precision becomes single."""
        value = torch.from_numpy(np.array(array))
        self._values[name] = Value(value.float() if value.is_floating_point() else value, None, name)

    @torch.no_grad()
    def translate(self, node: Any, helper: Any, numbers: Any) -> None:
        """Translate one operator.

        Raises:
            ConfigError: naming it, if it has no counterpart or is used in a way that has none.
        """
        self._operator = f"{node.op_type} '{node.name or node.output[0]}'"
        attributes: dict[str, Any] = {}
        for one in node.attribute:
            value = helper.get_attribute_value(one)
            attributes[one.name] = value.decode() if isinstance(value, bytes) else value
            if one.name == "value" and node.op_type in ("Constant", "ConstantOfShape"):
                attributes["value"] = torch.from_numpy(np.array(numbers.to_array(value)))
        if node.op_type not in OPERATORS or node.domain not in ("", "ai.onnx", "ganpress"):
            raise ConfigError(f"{self._path}: the operator {self._operator} has no counterpart here")
        try:
            inputs = [self._values[name] if name else None for name in node.input]
            results = OPERATORS[node.op_type](self, inputs, attributes)
        except ConfigError:
            raise
        except Exception as error:
            raise ConfigError(
                f"{self._path}: the operator {self._operator} cannot be translated: {shown(error, 160)}"
            ) from None
        made = results if isinstance(results, list) else [results]
        for name, value in zip(node.output, made, strict=False):
            if name:
                self._values[name] = value

    def finish(self, name: str) -> nn.Module:
        """The network whose result has a name."""
        result = self._values[name]
        if result.node is None:
            raise ConfigError(f"{self._path}: its output does not depend on its input")
        return self._built.finish(result.node)

    def refused(self, words: str) -> ConfigError:
        """An operator that is used in a way without a counterpart."""
        return ConfigError(f"{self._path}: the operator {self._operator} {words}, which has no counterpart here")

    def call(self, function: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Value:
        """A function of values and plain arguments; of constants alone it is computed now."""
        with torch.device("meta"):
            example = function(*map(_shape_alone, args), **{name: _shape_alone(one) for name, one in kwargs.items()})
        self._check_size(example)
        if not any(isinstance(one, Value) and not one.is_constant for one in _flat([*args, *kwargs.values()])):
            return Value(function(*map(_example, args), **{name: _example(one) for name, one in kwargs.items()}))
        nodes = [self._node(one) for one in args]
        return Value(
            example, self._built.call(function, *nodes, **{name: self._node(one) for name, one in kwargs.items()})
        )

    def layer(self, name: str, made: nn.Module, x: Value) -> Value:
        """A layer that reads a value."""
        assert x.node is not None
        stem = name.rpartition(".")[0] or name or type(made).__name__.lower()
        tensors = {key: one.to("meta") for key, one in (*made.named_parameters(), *made.named_buffers())}
        example = functional_call(made, tensors, (x.example,))
        self._check_size(example)
        return Value(example, self._built.layer(stem, made, x.node))

    def _check_size(self, example: Tensor) -> None:
        """Refuse a result that would not fit into memory."""
        samples = BATCH if example.dim() and example.shape[0] == BATCH else 1
        if example.numel() // samples > MOST_VALUES:
            raise self.refused(f"makes {example.numel() // samples:,} numbers, of which {MOST_VALUES:,} are allowed")

    def shape(self, numbers: list[int], static: bool = True) -> list[Any]:
        """Numbers of a shape, the batch read from the input; with `static` a first 1 counts as the batch, too."""
        if numbers and (numbers[0] == BATCH or (static and numbers[0] == 1)):
            return [self._batch(), *numbers[1:]]
        return numbers

    def _batch(self) -> Any:
        return Value(torch.tensor(BATCH), self._built.method("size", self._input, 0), is_size=True)

    def _node(self, value: Any) -> Any:
        if isinstance(value, list | tuple):
            return [self._node(one) for one in value]
        if not isinstance(value, Value):
            return value
        if value.node is not None:
            return value.node
        key = value.name or str(id(value))
        if key not in self._constants:
            self._constants[key] = self._built.constant(value.name or "constant", value.example)
        return self._constants[key]


def _flat(values: list[Any]) -> list[Any]:
    return [one for value in values for one in (_flat(list(value)) if isinstance(value, list | tuple) else [value])]


def _shape_alone(value: Any) -> Any:
    """What a function is told where only shapes are computed."""
    if isinstance(value, list | tuple):
        return [_shape_alone(one) for one in value]
    made = _example(value)
    return made.to("meta") if isinstance(made, Tensor) else made


def _example(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_example(one) for one in value]
    if not isinstance(value, Value):
        return value
    return int(value.example) if value.is_size else value.example


Operator = Callable[[_Translation, list[Any], dict[str, Any]], Any]


def _numbers(value: Any) -> list[int]:
    """Whole numbers that a constant or an attribute holds."""
    if isinstance(value, Value):
        if not value.is_constant:
            raise ValueError("it is told a shape that depends on the input's numbers")
        return [int(one) for one in value.example.flatten()]
    return [int(one) for one in value]


def _given(inputs: list[Any], place: int) -> Any:
    return inputs[place] if len(inputs) > place else None


def _simple(function: Callable[..., Tensor], *names: str, **defaults: Any) -> Operator:
    """An operator of the same arguments, with attributes by name."""

    def made(of: _Translation, inputs: list[Any], attributes: dict[str, Any]) -> Value:
        return of.call(function, *inputs, *(attributes.get(name, defaults.get(name)) for name in names))

    return made


def _conv(of: _Translation, inputs: list[Any], attributes: dict[str, Any]) -> Value:
    x, weight, bias = inputs[0], inputs[1], _given(inputs, 2)
    if not weight.is_constant or (bias is not None and not bias.is_constant):
        raise of.refused("computes its weights")
    axes = weight.example.dim() - 2
    stride, dilation = (tuple(attributes.get(name, [1] * axes)) for name in ("strides", "dilations"))
    pads = _pads(attributes, axes, x.example.shape[2:], tuple(weight.example.shape[2:]), stride, dilation)
    begin, end = pads[:axes], pads[axes:]
    if begin != end:
        x, begin = of.call(functional.pad, x, _torch_pads(pads)), [0] * axes
    made = convolution(
        weight.example,
        None if bias is None else bias.example,
        stride,
        tuple(begin),
        dilation,
        attributes.get("group", 1),
    )
    return of.layer(weight.name, made, x)


def _conv_transpose(of: _Translation, inputs: list[Any], attributes: dict[str, Any]) -> Value:
    x, weight, bias = inputs[0], inputs[1], _given(inputs, 2)
    if not weight.is_constant or "output_shape" in attributes or attributes.get("auto_pad", "NOTSET") != "NOTSET":
        raise of.refused("computes its weights, or is told the size of its output")
    axes = weight.example.dim() - 2
    stride, dilation = (tuple(attributes.get(name, [1] * axes)) for name in ("strides", "dilations"))
    pads, more = list(attributes.get("pads", [0] * 2 * axes)), tuple(attributes.get("output_padding", [0] * axes))
    begin, end = pads[:axes], pads[axes:]
    common = tuple(map(min, begin, end))
    made = convolution(
        weight.example,
        None if bias is None else bias.example,
        stride,
        common,
        dilation,
        attributes.get("group", 1),
        more,
    )
    result = of.layer(weight.name, made, x)
    rest = [common[place % axes] - pad for place, pad in enumerate(pads)]
    return result if not any(rest) else of.call(functional.pad, result, _torch_pads(rest))


def _pads(
    attributes: dict[str, Any],
    axes: int,
    size: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
) -> list[int]:
    """Pads before all axes, then behind them."""
    how = attributes.get("auto_pad", "NOTSET")
    if how in ("NOTSET", "VALID"):
        return list(attributes.get("pads", [0] * 2 * axes)) if how == "NOTSET" else [0] * 2 * axes
    total = [
        max(0, (math.ceil(one / step) - 1) * step + (width - 1) * spread + 1 - one)
        for one, width, step, spread in zip(size, kernel, stride, dilation, strict=True)
    ]
    small, large = [one // 2 for one in total], [one - one // 2 for one in total]
    return [*small, *large] if how == "SAME_UPPER" else [*large, *small]


def _torch_pads(pads: list[int]) -> list[int]:
    """ONNX's pads of trailing axes in the order of `functional.pad`: from the last axis on, before and behind."""
    axes = len(pads) // 2
    return [pads[place + side * axes] for place in reversed(range(axes)) for side in (0, 1)]


def _gemm(of: _Translation, inputs: list[Any], attributes: dict[str, Any]) -> Value:
    x, weight, bias = inputs[0], inputs[1], _given(inputs, 2)
    alpha, beta = attributes.get("alpha", 1.0), attributes.get("beta", 1.0)
    if attributes.get("transA", 0) or not weight.is_constant or (bias is not None and not bias.is_constant):
        raise of.refused("computes its weights, or transposes what it reads")
    matrix = weight.example if attributes.get("transB", 0) else weight.example.T
    added = None if bias is None else (bias.example * beta).expand(len(matrix))
    return of.layer(weight.name, dense(matrix * alpha, added), x)


def _matmul(of: _Translation, inputs: list[Any], _: dict[str, Any]) -> Value:
    x, weight = inputs
    if weight.is_constant and not x.is_constant and weight.example.dim() == 2:
        return of.layer(weight.name, dense(weight.example.T, None), x)
    return of.call(torch.matmul, x, weight)


def _batch_normalization(of: _Translation, inputs: list[Any], attributes: dict[str, Any]) -> Value:
    x, *rest = inputs
    if attributes.get("training_mode", 0) or not all(one.is_constant for one in rest):
        raise of.refused("is in training mode, or computes its weights")
    weight, bias, mean, variance = (one.example for one in rest)
    eps, axes = attributes.get("epsilon", 1e-5), x.example.dim() - 2
    return of.layer(rest[0].name, batch_norm(weight, bias, mean, variance, eps, axes), x)


def _instance_normalization(of: _Translation, inputs: list[Any], attributes: dict[str, Any]) -> Value:
    x, weight, bias = inputs
    if not (weight.is_constant and bias.is_constant):
        raise of.refused("computes its weights")
    plain = bool((weight.example == 1).all() and (bias.example == 0).all())
    scale, shift = (None, None) if plain else (weight.example, bias.example)
    made = instance_norm(x.example.shape[1], scale, shift, attributes.get("epsilon", 1e-5), x.example.dim() - 2)
    return of.layer(weight.name, made, x)


def _group_normalization(of: _Translation, inputs: list[Any], attributes: dict[str, Any]) -> Value:
    x, weight, bias = inputs
    channels = x.example.shape[1]
    each = channels // weight.example.numel()
    scale, shift = (one.example.repeat_interleave(each) for one in (weight, bias))
    made = group_norm(attributes["num_groups"], channels, scale, shift, attributes.get("epsilon", 1e-5))
    return of.layer(weight.name, made, x)


def _layer_normalization(of: _Translation, inputs: list[Any], attributes: dict[str, Any]) -> Value:
    x, weight, bias = inputs[0], inputs[1], _given(inputs, 2)
    axis = attributes.get("axis", -1) % x.example.dim()
    shape = list(x.example.shape[axis:])
    return of.call(functional.layer_norm, x, shape, weight, bias, attributes.get("epsilon", 1e-5))


def _prelu(of: _Translation, inputs: list[Any], _: dict[str, Any]) -> Value:
    x, slopes = inputs
    if slopes.is_constant and slopes.example.numel() in (1, x.example.shape[1]):
        return of.layer(slopes.name, prelu(slopes.example), x)
    return of.call(torch.where, of.call(torch.ge, x, 0), x, of.call(torch.mul, x, slopes))


def _constant(_of: _Translation, _inputs: list[Any], attributes: dict[str, Any]) -> Value:
    name, value = next(iter(attributes.items()))
    if name == "value":
        return Value(value.float() if value.is_floating_point() else value)
    kinds = {"value_float": torch.float32, "value_floats": torch.float32, "value_int": torch.int64}
    return Value(torch.tensor(value, dtype=kinds.get(name, torch.int64)))


def _constant_of_shape(of: _Translation, inputs: list[Any], attributes: dict[str, Any]) -> Value:
    value = attributes.get("value", torch.zeros(1))
    numbers = _numbers(inputs[0])
    return of.call(_filled_like, of.shape(numbers, static=False), Value(value.reshape(1)))


def _filled_like(shape: list[int], one: Tensor) -> Tensor:
    return one.expand(shape).clone()


def _shape(_of: _Translation, inputs: list[Any], attributes: dict[str, Any]) -> Value:
    sizes = list(inputs[0].example.shape)[attributes.get("start", 0) : attributes.get("end")]
    return Value(torch.tensor(sizes, dtype=torch.int64))


def _reshape(of: _Translation, inputs: list[Any], attributes: dict[str, Any]) -> Value:
    x, numbers = inputs[0], _numbers(inputs[1])
    if not attributes.get("allowzero", 0):
        numbers = [x.example.shape[place] if one == 0 else one for place, one in enumerate(numbers)]
    return of.call(_reshaped, x, of.shape(numbers) if not x.is_constant else numbers)


def _reshaped(x: Tensor, shape: list[int]) -> Tensor:
    return x.reshape(shape)


def _flatten(of: _Translation, inputs: list[Any], attributes: dict[str, Any]) -> Value:
    axis, shape = attributes.get("axis", 1), inputs[0].example.shape
    first = math.prod(shape[:axis])
    return of.call(_reshaped, inputs[0], of.shape([first, -1], static=False))


def _expand(of: _Translation, inputs: list[Any], _: dict[str, Any]) -> Value:
    numbers = _numbers(inputs[1])
    common = list(np.broadcast_shapes(tuple(inputs[0].example.shape), tuple(numbers)))
    return of.call(_expanded, inputs[0], of.shape(common, static=False))


def _expanded(x: Tensor, shape: list[int]) -> Tensor:
    return x.expand(shape)


def _gather(of: _Translation, inputs: list[Any], attributes: dict[str, Any]) -> Value:
    x, places = inputs
    if not places.is_constant:
        if x.example.dim() != 2 or attributes.get("axis", 0) != 0:
            raise of.refused("reads places that depend on the input")
        return of.call(functional.embedding, places, x)
    return of.call(_taken, x, attributes.get("axis", 0), places.example.tolist())


def _taken(x: Tensor, axis: int, places: Any) -> Tensor:
    if isinstance(places, int):
        return x.select(axis, places)
    index = torch.tensor(places, device=x.device)
    taken = x.index_select(axis, index.flatten() % x.shape[axis])
    return taken.reshape(*x.shape[:axis], *index.shape, *x.shape[axis:][1:])


def _slice(of: _Translation, inputs: list[Any], attributes: dict[str, Any]) -> Value:
    x = inputs[0]
    starts, ends = (_numbers(_given(inputs, place) or attributes[name]) for place, name in ((1, "starts"), (2, "ends")))
    axes = _given(inputs, 3) or attributes.get("axes") or list(range(len(starts)))
    steps = _given(inputs, 4)
    for axis, start, end, step in zip(
        _numbers(axes), starts, ends, _numbers(steps) if steps else [1] * len(starts), strict=True
    ):
        if step < 0:
            x = of.call(torch.flip, x, [axis])
            if step != -1 or start not in (-1, x.example.shape[axis] - 1) or end > -x.example.shape[axis]:
                raise of.refused("goes backwards through a part")
            continue
        x = of.call(_cut, x, axis, start, min(end, 2**31), step)
    return x  # type: ignore[no-any-return]


def _cut(x: Tensor, axis: int, start: int, end: int, step: int) -> Tensor:
    places = [slice(None)] * x.dim()
    places[axis] = slice(start, end, step)
    return x[tuple(places)]


def _axes(inputs: list[Any], attributes: dict[str, Any]) -> list[int] | None:
    given = _given(inputs, 1)
    found = given if given is not None else attributes.get("axes")
    return None if found is None else _numbers(found)


def _unsqueeze(of: _Translation, inputs: list[Any], attributes: dict[str, Any]) -> Value:
    x, axes = inputs[0], _axes(inputs, attributes) or []
    whole = x.example.dim() + len(axes)
    for axis in sorted(one % whole for one in axes):
        x = of.call(torch.unsqueeze, x, axis)
    return x  # type: ignore[no-any-return]


def _squeeze(of: _Translation, inputs: list[Any], attributes: dict[str, Any]) -> Value:
    x, axes = inputs[0], _axes(inputs, attributes)
    found = [place for place, size in enumerate(x.example.shape) if size == 1] if axes is None else axes
    for axis in sorted((one % x.example.dim() for one in found), reverse=True):
        x = of.call(torch.squeeze, x, axis)
    return x  # type: ignore[no-any-return]


def _reduce(function: Callable[..., Tensor]) -> Operator:
    def made(of: _Translation, inputs: list[Any], attributes: dict[str, Any]) -> Value:
        axes = _axes(inputs, attributes)
        keep = bool(attributes.get("keepdims", 1))
        return of.call(function, inputs[0], axes or list(range(inputs[0].example.dim())), keepdim=keep)

    return made


def _concat(of: _Translation, inputs: list[Any], attributes: dict[str, Any]) -> Value:
    axis = attributes["axis"]
    batched = any(not one.is_constant for one in inputs)
    parts = []
    for one in inputs:  # a constant of one sample beside maps of the whole batch
        shape = list(one.example.shape)
        alone = batched and one.is_constant and axis != 0 and shape[:1] == [1]
        parts.append(of.call(_expanded, one, of.shape([BATCH, *shape[1:]])) if alone else one)
    return of.call(torch.cat, parts, axis)


def _length(x: Tensor, axes: list[int], keepdim: bool) -> Tensor:
    return x.square().sum(axes, keepdim=keepdim).sqrt()


def _grid_sample(of: _Translation, inputs: list[Any], attributes: dict[str, Any]) -> Value:
    modes = {"linear": "bilinear", "cubic": "bicubic"}
    mode = attributes.get("mode", "bilinear")
    padding, corners = attributes.get("padding_mode", "zeros"), bool(attributes.get("align_corners", 0))
    return of.call(functional.grid_sample, *inputs, modes.get(mode, mode), padding, corners)


def _extreme_place(function: Callable[..., Tensor]) -> Operator:
    def made(of: _Translation, inputs: list[Any], attributes: dict[str, Any]) -> Value:
        return of.call(function, inputs[0], attributes.get("axis", 0), bool(attributes.get("keepdims", 1)))

    return made


def _split(of: _Translation, inputs: list[Any], attributes: dict[str, Any]) -> list[Value]:
    x, axis = inputs[0], attributes.get("axis", 0)
    given = _given(inputs, 1) or attributes.get("split")
    count = attributes.get("num_outputs", 2)
    size = x.example.shape[axis]
    each = math.ceil(size / count)
    sizes = [each] * (count - 1) + [size - each * (count - 1)] if given is None else _numbers(given)
    starts = np.cumsum([0, *sizes]).tolist()
    return [of.call(_cut, x, axis, start, start + one, 1) for start, one in zip(starts, sizes, strict=False)]


def _pad(of: _Translation, inputs: list[Any], attributes: dict[str, Any]) -> Value:
    x = inputs[0]
    pads = _numbers(_given(inputs, 1) or attributes["pads"])
    value = _given(inputs, 2)
    fill = attributes.get("value", 0.0) if value is None else float(value.example)
    axes = _given(inputs, 3)
    count = x.example.dim()
    if axes is not None:
        whole = [0] * 2 * count
        for place, axis in enumerate(_numbers(axes)):
            whole[axis % count], whole[axis % count + count] = pads[place], pads[place + len(pads) // 2]
        pads = whole
    mode = {"constant": "constant", "reflect": "reflect", "edge": "replicate"}.get(attributes.get("mode", "constant"))
    if mode is None:
        raise of.refused(f"pads by '{attributes['mode']}'")
    if mode == "constant":
        return of.call(functional.pad, x, _torch_pads(pads), mode, fill)
    if any(pads[axis] or pads[axis + count] for axis in (0, 1)):
        raise of.refused("reflects over channels")
    return of.call(functional.pad, x, _torch_pads([*pads[2:count], *pads[count + 2 :]]), mode)


def _resize(of: _Translation, inputs: list[Any], attributes: dict[str, Any]) -> Value:
    x, before = inputs[0], inputs[0].example.shape
    sizes, scales = _given(inputs, 3), _given(inputs, 2) or (_given(inputs, 1) if len(inputs) == 2 else None)
    if sizes is not None:
        after = _numbers(sizes)
    else:
        factors = attributes["scales"] if scales is None else scales.example.tolist()
        after = [math.floor(size * factor) for size, factor in zip(before, factors, strict=True)]
    after = [size if place > 1 else before[place] for place, size in enumerate(after)]
    where = attributes.get("coordinate_transformation_mode", "half_pixel")
    mode, size = attributes.get("mode", "nearest"), list(after[2:])
    if mode == "nearest":
        whole = all(one % other == 0 for one, other in zip(after[2:], before[2:], strict=True))
        if not whole and (where != "asymmetric" or attributes.get("nearest_mode", "round_prefer_floor") != "floor"):
            raise of.refused("resizes by a fraction in another way than torch")
        return of.call(functional.interpolate, x, size, None, "nearest")
    if where not in ("half_pixel", "pytorch_half_pixel", "align_corners") or len(size) != 2:
        raise of.refused(f"resizes with coordinates '{where}'")
    kind = {"linear": "bilinear", "cubic": "bicubic"}[mode]
    return of.call(functional.interpolate, x, size, None, kind, where == "align_corners")


def _depth_to_space(of: _Translation, inputs: list[Any], attributes: dict[str, Any]) -> Value:
    x, block = inputs[0], attributes["blocksize"]
    if attributes.get("mode", "DCR") == "DCR":
        channels = x.example.shape[1] // block**2
        order = torch.arange(channels * block**2).reshape(block**2, channels).T.flatten().tolist()
        x = of.call(_taken, x, 1, order)
    return of.call(functional.pixel_shuffle, x, block)


def _pool(function: Callable[..., Tensor]) -> Operator:
    def made(of: _Translation, inputs: list[Any], attributes: dict[str, Any]) -> Value:
        kernel = tuple(attributes["kernel_shape"])
        stride = tuple(attributes.get("strides", [1] * len(kernel)))
        pads = list(attributes.get("pads", [0] * 2 * len(kernel)))
        if pads[: len(kernel)] != pads[len(kernel) :] or attributes.get("auto_pad", "NOTSET") not in (
            "NOTSET",
            "VALID",
        ):
            raise of.refused("pads unequally")
        if any(pads) and function is functional.avg_pool2d and not attributes.get("count_include_pad", 0):
            raise of.refused("leaves its padding out of the mean")
        return of.call(function, inputs[0], kernel, stride, pads[: len(kernel)])

    return made


def _clip(of: _Translation, inputs: list[Any], attributes: dict[str, Any]) -> Value:
    bounds = []
    for place, name in ((1, "min"), (2, "max")):
        given = _given(inputs, place)
        bounds.append(attributes.get(name) if given is None else float(given.example))
    return of.call(torch.clamp, inputs[0], *bounds)


def _cast(of: _Translation, inputs: list[Any], attributes: dict[str, Any]) -> Value:
    wanted = attributes["to"]
    if wanted not in TYPES:
        raise of.refused("makes numbers of a type")
    return of.call(_as_type, inputs[0], torch.float32 if wanted in FLOATS else TYPES[wanted])


def _as_type(x: Tensor, kind: torch.dtype) -> Tensor:
    return x.to(kind)


def _identity(_of: _Translation, inputs: list[Any], _: dict[str, Any]) -> Value:
    return inputs[0]  # type: ignore[no-any-return]


def _transpose(of: _Translation, inputs: list[Any], attributes: dict[str, Any]) -> Value:
    order = attributes.get("perm") or list(reversed(range(inputs[0].example.dim())))
    return of.call(torch.permute, inputs[0], list(order))


def _many(function: Callable[..., Tensor]) -> Operator:
    def made(of: _Translation, inputs: list[Any], _: dict[str, Any]) -> Value:
        result = inputs[0]
        for one in inputs[1:]:
            result = of.call(function, result, one)
        return result  # type: ignore[no-any-return]

    return made


def _tile(of: _Translation, inputs: list[Any], _: dict[str, Any]) -> Value:
    return of.call(torch.tile, inputs[0], _numbers(inputs[1]))


def _global_mean(x: Tensor) -> Tensor:
    return x.mean(list(range(2, x.dim())), keepdim=True)


def _gelu(of: _Translation, inputs: list[Any], attributes: dict[str, Any]) -> Value:
    return of.call(functional.gelu, inputs[0], approximate=attributes.get("approximate", "none"))


def _hard_sigmoid(x: Tensor, alpha: float, beta: float) -> Tensor:
    return (x * alpha + beta).clamp(0, 1)


def _divided(x: Tensor, y: Tensor) -> Tensor:
    whole = not x.is_floating_point() and not y.is_floating_point()
    return torch.div(x, y, rounding_mode="trunc" if whole else None)


SAME: dict[str, Callable[..., Tensor]] = {
    "Abs": torch.abs, "Ceil": torch.ceil, "Cos": torch.cos, "Erf": torch.erf, "Exp": torch.exp, "Floor": torch.floor,
    "Log": torch.log, "Neg": torch.neg, "Reciprocal": torch.reciprocal, "Relu": torch.relu, "Round": torch.round,
    "Sigmoid": torch.sigmoid, "Sign": torch.sign, "Sin": torch.sin, "Sqrt": torch.sqrt, "Tanh": torch.tanh,
    "Softplus": functional.softplus, "Mish": functional.mish, "HardSwish": functional.hardswish,
    "Add": torch.add, "Sub": torch.sub, "Mul": torch.mul, "Div": _divided, "Pow": torch.pow, "Equal": torch.eq,
    "Greater": torch.gt, "Less": torch.lt, "GreaterOrEqual": torch.ge, "LessOrEqual": torch.le, "Where": torch.where,
    "Not": torch.logical_not, "GlobalAveragePool": _global_mean,
}  # fmt: skip
"""Operators that take what torch's function takes."""
OPERATORS: dict[str, Operator] = {name: _simple(function) for name, function in SAME.items()} | {
    "ArgMax": _extreme_place(torch.argmax),
    "ArgMin": _extreme_place(torch.argmin),
    "AveragePool": _pool(functional.avg_pool2d),
    "BatchNormalization": _batch_normalization,
    "Cast": _cast,
    "Clip": _clip,
    "Concat": _concat,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "DepthToSpace": _depth_to_space,
    "Dropout": _identity,
    "Elu": _simple(functional.elu, "alpha", alpha=1.0),
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "Gelu": _gelu,
    "Gemm": _gemm,
    "GroupNormalization": _group_normalization,
    "GridSample": _grid_sample,
    "HardSigmoid": _simple(_hard_sigmoid, "alpha", "beta", alpha=0.2, beta=0.5),
    "Identity": _identity,
    "InstanceNormalization": _instance_normalization,
    "LayerNormalization": _layer_normalization,
    "LeakyRelu": _simple(functional.leaky_relu, "alpha", alpha=0.01),
    "MatMul": _matmul,
    "Max": _many(torch.maximum),
    "MaxPool": _pool(functional.max_pool2d),
    "Min": _many(torch.minimum),
    "Mod": _simple(torch.remainder),
    "PRelu": _prelu,
    "Pad": _pad,
    "ReduceL2": _reduce(_length),
    "ReduceMax": _reduce(torch.amax),
    "ReduceMean": _reduce(torch.mean),
    "ReduceMin": _reduce(torch.amin),
    "ReduceSum": _reduce(torch.sum),
    "Reshape": _reshape,
    "Resize": _resize,
    "Shape": _shape,
    "Slice": _slice,
    "Softmax": _simple(torch.softmax, "axis", axis=-1),
    "Split": _split,
    "Squeeze": _squeeze,
    "Sum": _many(torch.add),
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Upsample": _resize,
}
