"""Reads an ML Program of Core ML from its package and computes it on the CPU.

A package (`.mlpackage`) contains a protocol buffer, `Data/com.apple.CoreML/model.mlmodel`, with operations in MIL, and
`weights/weight.bin` with the weights, which operations name by their offset. Both are read from the written file, so
that the file is verified and not the converter's state. Formats: `mlmodel/format/MIL.proto` and
`mlmodel/src/MILBlob/Blob/StorageFormat.hpp` of coremltools.
"""

import contextlib
import io
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganpress.edge.quiet import quiet
from ganpress.edge.targets.mil_operators import OPERATORS, NoOperator

BLOB = struct.Struct("<IIQQ")
"""Layout of a weight's metadata: marker, number type, size in bytes, and offset in the file."""
BLOB_MARK = 0xDEADBEEF
NUMBERS: Mapping[str, Any] = {
    "FLOAT16": np.float16,
    "FLOAT32": np.float32,
    "INT8": np.int8,
    "UINT8": np.uint8,
    "INT16": np.int16,
    "UINT16": np.uint16,
    "INT32": np.int32,
    "UINT32": np.uint32,
    "INT64": np.int64,
    "BOOL": np.bool_,
}
"""Number types of MIL that ganpress's programs may contain."""
CONSTANT, STORED = "const", "constexpr_"
"""Name of the operation for a constant, and prefix of the operations that decode compressed weights."""
MULTIPLYING = ("conv", "conv_transpose", "linear", "matmul", "einsum")


class BadProgram(Exception):
    """A package is damaged, or its program is not supported; the message gives the reason."""


@dataclass(frozen=True)
class Operation:
    """One call of an operator."""

    kind: str
    name: str
    inputs: Mapping[str, tuple[Any, ...]]
    """Inputs by MIL's names: a computed value as its `Name`, a constant as a tensor or a text."""
    results: tuple[tuple[str, str], ...]
    """Name and number type of each result."""


class Name(str):
    """Name of a value that another operation, or the caller, provides."""


@dataclass(frozen=True)
class MilProgram:
    """The only function of a program, with one input and one output."""

    operations: tuple[Operation, ...]
    values: Mapping[str, Any]
    """Constants by name; weights are decoded."""
    source: str
    shape: tuple[int, ...]
    """Shape of the input without the batch; 0 stands for any size."""
    output: str

    def run(self, inputs: Tensor) -> Tensor:
        """Compute one input (1, …) float32.

        Raises:
            NoOperator: if an operator is not supported here.
            RuntimeError: if the program does not accept such an input.
        """
        known: dict[str, Any] = dict(self.values)
        known[self.source] = inputs
        for one in self.operations:
            known.update(computed(one, known))
        image: Tensor = known[self.output]
        return image.float()

    def unknown(self) -> list[Operation]:
        """Return the operations whose operator is not supported here."""
        return [one for one in self.operations if one.kind not in OPERATORS]


def computed(operation: Operation, known: Mapping[str, Any]) -> dict[str, Any]:
    """Compute the results of one operation by name, each rounded to its number type.

    Raises:
        NoOperator: if its operator is not supported here.
    """
    if operation.kind not in OPERATORS:
        raise NoOperator(operation.kind)
    given = {key: _argument(key, values, known) for key, values in operation.inputs.items()}
    found = OPERATORS[operation.kind](**given)
    results = found if isinstance(found, tuple) else (found,)
    pairs = zip(operation.results, results, strict=True)
    return {name: value.half().float() if kind == "FLOAT16" else value for (name, kind), value in pairs}


def _argument(key: str, values: tuple[Any, ...], known: Mapping[str, Any]) -> Any:
    found = [known[one] if isinstance(one, Name) else one for one in values]
    return found if key == "values" or len(found) > 1 else found[0]


@contextlib.contextmanager
def quiet_coremltools() -> Iterator[None]:
    """Discard coremltools' messages about missing Apple libraries, and its progress bars."""
    with quiet(), contextlib.redirect_stderr(io.StringIO()):
        yield


def read_program(model: bytes, weights: bytes) -> MilProgram:
    """Read a program and decode its weights.

    Args:
        model: `model.mlmodel` of a package.
        weights: `weight.bin`; empty if there is none.

    Raises:
        BadProgram: if it is damaged, or is not like the programs that ganpress writes.
    """
    with quiet_coremltools():
        from coremltools.proto import Model_pb2

    spec = Model_pb2.Model()
    try:
        spec.ParseFromString(model)
        function = spec.mlProgram.functions["main"]
        block = function.block_specializations[function.opset]
        (source,), (output,) = function.inputs, block.outputs
        values: dict[str, Any] = {}
        rest: list[Operation] = []
        for one in (_operation(one, weights) for one in block.operations):
            if one.kind == CONSTANT:
                values[one.results[0][0]] = one.inputs["val"][0]
            elif one.kind.startswith(STORED):
                values.update(computed(one, values))
            else:
                rest.append(one)
        return MilProgram(tuple(rest), values, source.name, _shape(spec, source.name), output)
    except (BadProgram, NoOperator):
        raise
    except Exception as error:  # protocol buffers, and operators that get what they do not take, raise many types
        raise BadProgram(f"it is not an ML Program with one input and one output ({type(error).__name__})") from None


def _shape(spec: Any, source: str) -> tuple[int, ...]:
    """Return the sizes of one input from the description, whose ranges tell which sizes are open."""
    described = next(one for one in spec.description.input if one.name == source).type.multiArrayType
    sizes = [int(size) for size in described.shape]
    ranges = described.shapeRange.sizeRanges
    for axis, one in enumerate(ranges):
        if one.lowerBound != one.upperBound:
            sizes[axis] = 0
    return tuple(sizes[1:])


def _operation(spec: Any, weights: bytes) -> Operation:
    inputs: dict[str, tuple[Any, ...]] = {
        key: (_value(value, weights),) for key, value in spec.attributes.items() if key != "name"
    }
    for key, argument in spec.inputs.items():
        inputs[key] = tuple(_binding(one, weights) for one in argument.arguments)
    results = tuple((one.name, _number_type(one.type)) for one in spec.outputs)
    return Operation(spec.type, results[0][0] if results else spec.type, inputs, results)


def _binding(spec: Any, weights: bytes) -> Any:
    return Name(spec.name) if spec.WhichOneof("binding") == "name" else _value(spec.value, weights)


def _number_type(spec: Any) -> str:
    """Return the name of a tensor's number type, e.g. `FLOAT16`."""
    from coremltools.proto import MIL_pb2

    return str(MIL_pb2.DataType.Name(spec.tensorType.dataType))


def _value(spec: Any, weights: bytes) -> Any:
    """Return a constant: a text, or a tensor in its number type, floats as float32.

    Raises:
        BadProgram: if its type is not supported here, or it lies beyond the end of the weights.
    """
    kind = _number_type(spec.type)
    shape = [int(one.constant.size) for one in spec.type.tensorType.dimensions]
    if spec.WhichOneof("value") == "blobFileValue":
        return _tensor(_stored(weights, int(spec.blobFileValue.offset), kind), shape)
    held = spec.immediateValue.tensor
    content = getattr(held, str(held.WhichOneof("value"))).values
    if kind == "STRING":
        return str(content[0])
    if kind not in NUMBERS:
        raise BadProgram(f"it holds numbers of the type {kind}")
    if isinstance(content, bytes):
        return _tensor(np.frombuffer(content, NUMBERS[kind]), shape)
    return _tensor(np.array(list(content), NUMBERS[kind]), shape)


def _stored(weights: bytes, offset: int, kind: str) -> NDArray[Any]:
    if kind not in NUMBERS:
        raise BadProgram(f"it holds numbers of the type {kind}")
    if offset + BLOB.size > len(weights):
        raise BadProgram("its weights are shorter than its program says")
    mark, _, size, begin = BLOB.unpack_from(weights, offset)
    if mark != BLOB_MARK or begin + size > len(weights):
        raise BadProgram("its weights are not where its program says")
    return np.frombuffer(weights[begin : begin + size], NUMBERS[kind])


def _tensor(values: NDArray[Any], shape: list[int]) -> Tensor:
    """Convert to a tensor; unsigned integers of more than 8 bits become int64, because torch supports them poorly."""
    wide = values.astype(np.int64) if values.dtype.kind in "iu" and values.dtype.itemsize > 1 else values
    tensor = torch.from_numpy(np.array(wide).reshape(shape))
    return tensor.float() if tensor.is_floating_point() else tensor


def parts(program: MilProgram) -> Iterator[tuple[str, str, bool, None]]:
    """Yield each operation's operator, number type, and whether it multiplies; times are not known."""
    for one in program.operations:
        number_type = one.results[0][1].lower() if one.results else ""
        yield one.kind, number_type, one.kind in MULTIPLYING, None
