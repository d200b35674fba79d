"""Checks foreign ONNX files: a file whose weights are in other files is refused before a runtime reads it.

A tensor of an ONNX file may name any other file from which its numbers are read, and its images could then reveal that
file. Files that ganpress writes contain all weights. The bytes are parsed here directly, without a copy and without
onnx, which takes longer to import than most files take to load.

Wire format: https://protobuf.dev/programming-guides/encoding; numbers of fields: onnx.proto of ONNX 1.19.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from ganpress.errors import CheckpointError
from ganpress.files.frames import read_content

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
EXTERNAL_DATA, DATA_LOCATION = 13, 14
"""Fields of a tensor: the location of its numbers, and whether that is external."""
TENSOR = "tensor"
INSIDE: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "graph": {1: "node", 5: TENSOR, 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: TENSOR, 6: "graph", 10: TENSOR, 11: "graph", 22: "sparse", 23: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "training": {1: "graph", 2: "graph"},
    "sparse": {1: TENSOR, 2: TENSOR},
    TENSOR: {},
}
"""Kind of message -> number of a field -> kind of the message in it, as far as tensors lie below."""
DEEPEST_GRAPH = 64
"""Largest nesting depth of messages; protobuf's own limit is 100."""
MOST_FIELDS = 5_000_000
ORT_MAGIC = b"ORTM"
"""At byte 4 of ONNX Runtime's own format, which the runtime would take as well."""


class _Malformed(Exception):
    """The bytes are not valid protobuf."""


def read_onnx(path: Path) -> bytes:
    """Read an ONNX file, plain or packed, that contains all of its weights.

    Raises:
        CheckpointError: as `read_content` and `check_self_contained`.
    """
    content = read_content(path)
    check_self_contained(content, path)
    return content


def check_self_contained(content: bytes, path: Path) -> None:
    """Refuse an ONNX file that reads other files, wherever in it.

    Args:
        content: decoded content of the file.
        path: name of the file in messages.

    Raises:
        CheckpointError: if a tensor's data is external, or the bytes are not an ONNX file.
    """
    if content[4:8] == ORT_MAGIC:
        raise CheckpointError(
            f"{path} is a file in ONNX Runtime's own format; give the ONNX file from which it was made"
        )
    try:
        external = _has_external_data(memoryview(content))
    except _Malformed:
        raise CheckpointError(
            f"{path} cannot be loaded by ONNX Runtime: it is not a complete ONNX file; export it again"
        ) from None
    if external:
        raise CheckpointError(
            f"{path} reads its weights from other files, which is refused: a file may name any other; export the "
            "generator again, or save the weights inside"
        )


def _has_external_data(content: memoryview) -> bool:
    waiting = [("model", content, 0)]
    left = MOST_FIELDS
    while waiting:
        kind, message, depth = waiting.pop()
        if depth > DEEPEST_GRAPH:
            raise _Malformed
        for number, value in _fields(message):
            left -= 1
            if left < 0:
                raise _Malformed
            if kind == TENSOR and (number == EXTERNAL_DATA or (number == DATA_LOCATION and value != 0)):
                return True
            below = INSIDE[kind].get(number)
            if below is not None and isinstance(value, memoryview):
                waiting.append((below, value, depth + 1))
    return False


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Numbers and values of a message's fields: whole numbers and byte strings; others come as 0."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        number, kind = key >> 3, key & 7
        value: int | memoryview = 0
        if kind == VARINT:
            value, place = _varint(message, place)
        elif kind == LENGTH:
            length, place = _varint(message, place)
            value, place = message[place : place + length], place + length
        elif kind in (FIXED32, FIXED64):
            place += 4 if kind == FIXED32 else 8
        else:
            raise _Malformed
        if number == 0 or place > len(message):
            raise _Malformed
        yield number, value


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(message):
            raise _Malformed
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise _Malformed
