"""A program: a list of calls of C functions over buffers, and the constants that they read.

Feature maps are stored with channels last: (height, width, channels).
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

UNITS = Path(__file__).parent / "units"
"""Folder of the C functions that programs call, one file for each."""
UNITS_DIGEST = "d88cd13b0560"
"""Beginning of the sha256 of all these files in the order of their names. Stages depend on Python code alone, so a
changed C file makes a stage run again through this constant; a test compares it with the files.
"""
NEEDS: dict[str, tuple[str, ...]] = {
    "convolve_codes": ("layer", "integer_layer", "gather_codes", "sums_codes", "weights", "total", "round_total"),
    "convolve_floats": ("layer", "gather_floats"),
    "encode_floats": ("nearest_code",),
}
"""Functions that each function needs before it in the file. The program's layers decide which variant `weights` and
`total` stand for.
"""
C_TYPES = {"float32": "float", "uint8": "uint8_t", "uint16": "uint16_t", "int16": "int16_t", "int32": "int32_t",
           "uint32": "uint32_t"}  # fmt: skip
ALIGNMENT = 8
"""Alignment in bytes of the arena and of each buffer in it."""

Place = Literal["arena", "input", "output"]


@dataclass(eq=False)
class Buffer:
    """Memory of one feature map."""

    count: int
    """Number of values."""
    size: int
    """Bytes of a value: 1 for a code, 4 for a float."""
    place: Place = "arena"
    offset: int = 0
    """Offset in the arena, set by `ganpress.edge.c_code.arena_plan`."""

    @property
    def bytes(self) -> int:
        """Bytes of all values."""
        return self.count * self.size

    def pointer(self) -> str:
        """The C expression for its address."""
        if self.place != "arena":
            return str(self.place)
        start = f"memory + {self.offset}"
        return start if self.size == 1 else f"(float *)(void *)({start})"


@dataclass(eq=False)
class Structure:
    """A structure of constants that a step reads; it is written when the program is complete."""

    kind: str
    """Its C type."""
    fields: dict[str, str]
    """Values by name, in the order of the type."""
    name: str = ""
    """Name of the C constant, set when it is written."""

    def pointer(self) -> str:
        """The C expression for its address."""
        return f"&{self.name}"


Argument = str | Buffer | Structure


@dataclass(eq=False)
class Step:
    """One call: the buffers that it reads and writes, and its scratch memory."""

    function: str
    arguments: tuple[Argument, ...]
    reads: tuple[Buffer, ...]
    writes: Buffer
    scratch: Buffer | None = None
    in_place: bool = False
    """Whether its output may overwrite its first input."""

    def call(self) -> str:
        """The C statement."""
        given = (one if isinstance(one, str) else one.pointer() for one in self.arguments)
        return f"{self.function}({', '.join(given)});"


@dataclass
class Program:
    """Calls in the order in which they run, with their constants."""

    steps: list[Step] = field(default_factory=list)
    constants: dict[str, str] = field(default_factory=dict)
    """Declarations without the name -> name; equal constants are stored once."""
    declarations: list[str] = field(default_factory=list)
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)
    """Constant arrays by name."""
    encoding: Step | None = None
    """The step that quantizes the input for the first step; None if the program reads floats."""
    packed_weights: bool = False
    """Whether a layer has weights of fewer than 8 bits."""
    large_totals: bool = False
    """Whether a sum in a layer may have more than 24 bits."""

    def add(
        self,
        function: str,
        arguments: Sequence[Argument],
        reads: Sequence[Buffer],
        writes: Buffer,
        scratch: Buffer | None = None,
        in_place: bool = False,
    ) -> None:
        """Append a call of a C function."""
        self.steps.append(Step(function, tuple(arguments), tuple(reads), writes, scratch, in_place))

    def constant(self, array: NDArray[Any]) -> str:
        """Store an array as a constant (in flash) and return its name."""
        kind = C_TYPES[str(array.dtype)]
        values = array.ravel()
        numbers = map(float_literal, values) if array.dtype == np.float32 else map(integer_literal, values)
        name = self._declared(kind, "constants", f"[{values.size}]", "{\n" + _wrapped(numbers) + "}")
        self.arrays[name] = values
        return name

    def write_structures(self) -> None:
        """Store the structures of all steps as constants; call it once, when the program is complete."""
        for step in (*self.steps, *([self.encoding] if self.encoding else [])):
            for one in step.arguments:
                if isinstance(one, Structure):
                    content = "{\n" + _wrapped(one.fields.values()) + "}"
                    one.name = self._declared(one.kind, one.kind.removesuffix("_t"), "", content)

    def _declared(self, kind: str, stem: str, size: str, content: str) -> str:
        key = f"{kind}{size}{content}"
        if key not in self.constants:
            name = self.constants[key] = f"{stem}_{len(self.constants)}"
            self.declarations.append(f"static const {kind} {name}{size} = {content};")
        return self.constants[key]

    def units(self, functions: Iterable[str]) -> list[str]:
        """Return the text of each C function that is called, once, in an order that compiles."""
        chosen = {
            "weights": "unpack_weights" if self.packed_weights else "plain_weights",
            "total": "large_total" if self.large_totals else "small_total",
        }
        names: dict[str, None] = {}
        for function in functions:
            for name in (*NEEDS.get(function, ()), function):
                names.setdefault(chosen.get(name, name))
        files = (UNITS / f"{name}.c" for name in names)
        return [one.read_text(encoding="ascii").strip() for one in files if one.exists()]


def float_literal(value: float) -> str:
    """Return a C literal that has exactly the number's float32 value."""
    if not np.isfinite(value):
        raise ValueError("a constant is not finite")
    text = f"{float(value):.9g}"
    return f"{text}f" if re.search(r"[.e]", text) else f"{text}.0f"


def integer_literal(value: int) -> str:
    """Return a C literal of a whole number that is valid for any integer type of up to 32 bits."""
    number = int(value)
    if number == -(2**31):
        return "(-2147483647 - 1)"
    return f"{number}u" if number >= 2**31 else str(number)


def _wrapped(items: Iterable[str], width: int = 116) -> str:
    lines, line = [], "   "
    for item in items:
        if len(line) + len(item) + 2 > width:
            lines.append(line)
            line = "   "
        line += f" {item},"
    return "\n".join([*lines, line]) + "\n"
