"""Writes functions that move, select, reduce and combine values as nodes of an ONNX graph."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ganpress.edge.graphs.form_operands import END, Form, NoForm, Operand, Value, name_of
from ganpress.edge.graphs.graph_writer import GraphWriter


def _getitem(writer: GraphWriter, input: Value, index: Any) -> str:
    parts = list(index) if isinstance(index, tuple | list) else [index]
    if not all(isinstance(part, slice) and part.step in (None, 1) for part in parts):
        raise NoForm(f"index {parts}")
    axes = [axis for axis, part in enumerate(parts) if part != slice(None)]
    starts = [parts[axis].start or 0 for axis in axes]
    ends = [END if parts[axis].stop is None else parts[axis].stop for axis in axes]
    return writer.add("Slice", input.name, writer.sizes(*starts), writer.sizes(*ends), writer.sizes(*axes))


def _concatenation(writer: GraphWriter, tensors: Sequence[Operand], dim: int = 0, axis: int | None = None) -> str:
    like = next(one for one in tensors if isinstance(one, Value))
    chosen = dim if axis is None else axis
    if chosen % len(like.shape) == 0:
        raise NoForm("concatenation of samples")
    return writer.add("Concat", *(_batched(writer, one, like) for one in tensors), axis=chosen)


def _batched(writer: GraphWriter, operand: Operand, like: Value) -> str:
    """Repeat a constant, which is the same for every sample, along the batch of `like`."""
    if not isinstance(operand, Tensor) or operand.shape[0] != like.shape[0]:
        return name_of(writer, operand)
    once = _once(operand, like)
    batch = writer.add("Shape", like.name, start=0, end=1)
    shape = writer.add("Concat", batch, writer.sizes(*once.shape[1:]), axis=0)
    return writer.add("Expand", name_of(writer, once), shape)


def _once(constant: Tensor, like: Value) -> Tensor:
    """Return a constant for one sample, (1, …), if it has a row for each sample of the trial batch."""
    if constant.dim() != len(like.shape) or constant.shape[0] != like.shape[0] or constant.shape[0] == 1:
        return constant
    if not bool((constant == constant[:1]).all()):
        raise NoForm("a constant that differs between samples")
    return constant[:1]


def _arithmetic(operator: str) -> Form:
    def form(writer: GraphWriter, input: Operand, other: Operand) -> str:
        for one, beside in ((input, other), (other, input)):
            if isinstance(one, Value) and isinstance(beside, Value) and len(one.shape) < len(beside.shape):
                raise NoForm("a broadcast of the batch")
        like = input if isinstance(input, Value) else other
        assert isinstance(like, Value)  # otherwise nothing would be computed
        both = [_once(one, like) if isinstance(one, Tensor) else one for one in (input, other)]
        return writer.add(operator, *(name_of(writer, one) for one in both))

    return form


def _reversed_sub(writer: GraphWriter, input: Value, other: Operand) -> str:
    """Write `other - input`, which torch calls for `1 - x`."""
    return _arithmetic("Sub")(writer, other, input)


def _power(writer: GraphWriter, input: Operand, exponent: Operand) -> str:
    return _arithmetic("Pow")(writer, input, exponent)


def _permuted(writer: GraphWriter, input: Value, *dims: Any) -> str:
    order = list(dims[0]) if len(dims) == 1 and not isinstance(dims[0], int) else list(dims)
    return _transposed(writer, input, [one % len(input.shape) for one in order])


def _swapped(writer: GraphWriter, input: Value, dim0: int, dim1: int) -> str:
    order = list(range(len(input.shape)))
    order[dim0], order[dim1] = order[dim1], order[dim0]
    return _transposed(writer, input, order)


def _transposed(writer: GraphWriter, input: Value, order: list[int]) -> str:
    if order[0] != 0:
        raise NoForm("an exchange of samples")
    return writer.add("Transpose", input.name, perm=order)


def _product(writer: GraphWriter, input: Operand, other: Operand) -> str:
    shapes = [one.shape for one in (input, other) if not isinstance(one, float)]
    if any(isinstance(one, Value) and len(one.shape) < 2 for one in (input, other)) or min(map(len, shapes)) < 2:
        raise NoForm("a product of vectors")
    if isinstance(input, Value) and isinstance(other, Value) and len(input.shape) != len(other.shape):
        raise NoForm("a broadcast of the batch")
    return writer.add("MatMul", name_of(writer, input), name_of(writer, other))


def _softmax(writer: GraphWriter, input: Value, dim: int, *_: Any, **__: Any) -> str:
    if dim % len(input.shape) == 0:
        raise NoForm("softmax over samples")
    return writer.add("Softmax", input.name, axis=dim)


def _reduction(operator: str) -> Form:
    def form(writer: GraphWriter, input: Value, dim: Any = None, keepdim: bool = False) -> str:
        axes = [] if dim is None else _axes(dim, len(input.shape))
        if not axes or 0 in axes:
            raise NoForm("a reduction over samples")
        return writer.add(operator, input.name, writer.sizes(*axes), keepdims=int(keepdim))

    return form


def _axes(dim: Any, count: int) -> list[int]:
    return [one % count for one in ([dim] if isinstance(dim, int) else list(dim))]


def _lookup(writer: GraphWriter, input: Value, weight: Tensor, *_: Any, **__: Any) -> str:
    return writer.add("Gather", name_of(writer, weight), input.name, axis=0)


def _whole_numbers(writer: GraphWriter, input: Value) -> str:
    from onnx import TensorProto

    return writer.add("Cast", input.name, to=int(TensorProto.INT64))


def _distances(writer: GraphWriter, input: Value, other: Tensor, p: float = 2.0, **_: Any) -> str:
    """Write Euclidean distances of rows to constant rows, by |a|^2 - 2 a b + |b|^2."""
    if p != 2 or not isinstance(other, Tensor) or other.dim() != 2:
        raise NoForm("distances that are not Euclidean, or not to constants")
    squares = writer.add("ReduceSumSquare", input.name, writer.sizes(-1))
    products = writer.add("MatMul", input.name, name_of(writer, -2 * other.t()))
    total = writer.add("Add", writer.add("Add", squares, products), name_of(writer, other.square().sum(1)))
    return writer.add("Sqrt", writer.add("Relu", total))


def _place(operator: str) -> Form:
    def form(writer: GraphWriter, input: Value, dim: Any = None, keepdim: bool = False) -> str:
        if dim is None or dim % len(input.shape) == 0:
            raise NoForm("a selection over samples")
        return writer.add(operator, input.name, axis=dim % len(input.shape), keepdims=int(keepdim))

    return form


def _expanded(writer: GraphWriter, input: Value, *sizes: Any) -> str:
    shape = list(sizes[0]) if len(sizes) == 1 and not isinstance(sizes[0], int) else list(sizes)
    if len(shape) != len(input.shape):
        raise NoForm("an expansion to more axes")
    wanted = [1, *(1 if size == -1 else int(size) for size in shape[1:])]  # 1 keeps the size of the input
    return writer.add("Expand", input.name, writer.sizes(*wanted))


def _repeated(writer: GraphWriter, input: Value, *times: Any) -> str:
    counts = list(times[0]) if len(times) == 1 and not isinstance(times[0], int) else list(times)
    if len(counts) != len(input.shape) or counts[0] != 1:
        raise NoForm("a repetition of samples")
    return writer.add("Tile", input.name, writer.sizes(*map(int, counts)))


def _stacked(writer: GraphWriter, tensors: Sequence[Operand], dim: int = 0) -> str:
    like = next(one for one in tensors if isinstance(one, Value))
    axis = dim % (len(like.shape) + 1)
    if axis == 0 or not all(isinstance(one, Value) for one in tensors):
        raise NoForm("a stack of samples or constants")
    parts = (writer.add("Unsqueeze", name_of(writer, one), writer.sizes(axis)) for one in tensors)
    return writer.add("Concat", *parts, axis=axis)


ARRAY_FORMS: dict[str, Form] = {
    "getitem": _getitem, "cat": _concatenation, "concat": _concatenation,
    "add": _arithmetic("Add"), "sub": _arithmetic("Sub"), "mul": _arithmetic("Mul"), "div": _arithmetic("Div"),
    "truediv": _arithmetic("Div"), "rsub": _reversed_sub, "pow": _power,
    "permute": _permuted, "transpose": _swapped, "matmul": _product, "bmm": _product, "softmax": _softmax,
    "mean": _reduction("ReduceMean"), "sum": _reduction("ReduceSum"),
    "embedding": _lookup, "long": _whole_numbers, "cdist": _distances,
    "argmin": _place("ArgMin"), "argmax": _place("ArgMax"),
    "expand": _expanded, "repeat": _repeated, "stack": _stacked,
}  # fmt: skip
"""The writer of each function, by the function's name."""
