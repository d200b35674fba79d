"""Writes the text of a C program: one source file and one header."""

import re
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from ganpress.basics.pixel_values import images_to_uint8
from ganpress.edge.c_code.arena_plan import plan_arena
from ganpress.edge.c_code.c_lowering import lower
from ganpress.edge.c_code.c_program import ALIGNMENT, UNITS_DIGEST, Program
from ganpress.edge.c_code.c_values import Values, per_channel

MATHEMATICS = ("tanhf(", "expf(", "sqrtf(")
"""Calls that need libm; programs of integers alone do not need it."""


@dataclass(frozen=True)
class CFiles:
    """The texts of the two files."""

    source: str
    header: str


def c_files(model: nn.Module, example: Tensor, name: str) -> CFiles:
    """Write a generator as C99.

    Args:
        model: a generator in eval mode; it is left as it is.
        example: inputs (N, …).
        name: prefix of all public names, an identifier; the header is `<name>.h`.

    Raises:
        ganpress.edge.c_code.c_lowering.UnwrittenLayer: if a function cannot be written in C.
        ganpress.structure.function_graph.Untraceable: if the functions may depend on the input.
    """
    program, source, result = lower(model, example)
    arena = plan_arena(program.steps)
    program.write_structures()
    texts = _Texts(name, program, source, result, arena)
    return CFiles(texts.source(), texts.header())


def identifier(path: Path) -> str:
    """Turn the name of a file into a C identifier."""
    stem = re.sub(r"\W", "_", path.name.partition(".")[0], flags=re.ASCII).lower()
    return stem if re.match(r"[a-z]", stem) else f"generator_{stem}"


class _Texts:
    def __init__(self, name: str, program: Program, source: Values, result: Values, arena: int) -> None:
        self.name, self.program, self.source_values, self.result, self.arena = name, program, source, result, arena
        self.big = name.upper()
        self.codes_in, self.codes_out = program.encoding is not None, result.reals is not None
        self.signature = (
            f"int {name}_run(const {_kind(self.codes_in)} *input, {_kind(self.codes_out)} *output, void *arena)"
        )

    def header(self) -> str:
        """Return the header: sizes and declarations."""
        sizes = {
            **_sizes("INPUT", self.source_values, self.codes_in),
            "INPUT_AXES": 1 if self.source_values.rank == 2 else 3,
            **_sizes("OUTPUT", self.result, self.codes_out),
            "ARENA_BYTES": self.arena,
            "ARENA_ALIGNMENT": ALIGNMENT,
        }
        macros = "\n".join(f"#define {self.big}_{key} {value}" for key, value in sizes.items())
        parts = [
            f"/* A generator of pictures, written by ganpress; its weights are in {self.name}.c.\n"
            "   Maps lie in memory row by row, each pixel with its channels together. An int has at least 32 bits. */",
            f"#ifndef {self.big}_H\n#define {self.big}_H\n\n#include <stdint.h>",
            macros,
            f"/* Draw one picture. `input` has {self.big}_INPUT_SIZE {_noun(self.codes_in)}, `output` takes "
            f"{self.big}_OUTPUT_SIZE {_noun(self.codes_out)},\n   `arena` is memory of {self.big}_ARENA_BYTES bytes, "
            f"aligned to {self.big}_ARENA_ALIGNMENT; it keeps nothing between calls.\n"
            f"   Returns 0, or 1 where a pointer is NULL. */\n{self.signature};",
        ]
        if self.codes_in:
            parts.append(
                "/* The codes of reals, which `run` takes: standard normal latents, or pixels in [-1, 1]. */\n"
                f"{self._encode()};"
            )
        if self.codes_out:
            parts.append(f"/* The reals in [-1, 1] that codes of `run` stand for. */\n{self._decode()};")
            parts.append(f"/* Pixels 0 to 255 of codes; both may be the same memory. */\n{self._pixels()};")
        return "\n\n".join([*parts, "#endif"]) + "\n"

    def source(self) -> str:
        """Return the source: functions, constants, and the calls in order."""
        bodies = [self._run()]
        functions = [step.function for step in self.program.steps]
        if self.program.encoding is not None:
            bodies.append(self._encode_body())
            functions.append("encode_floats")
        if self.codes_out:
            bodies += [self._decode_body(), self._pixels_body()]
            functions += ["decode_codes", "map_codes"]
        units = self.program.units(functions)
        constants = _used(self.program.declarations, "\n".join(bodies))
        includes = [f'#include "{self.name}.h"', "#include <stddef.h>", "#include <string.h>"]
        if any(call in unit for unit in units for call in MATHEMATICS):
            includes.append("#include <math.h>")
        hook = (
            f"/* Called before each step and after the last one: define it to read a clock. */\n"
            f"#ifndef {self.big}_STEP\n#define {self.big}_STEP(number) ((void)0)\n#endif"
        )
        made = f"written by ganpress of the functions {UNITS_DIGEST}"
        head = f"/* A generator of pictures as C99 source, {made}; see {self.name}.h. */"
        return "\n\n".join([head, "\n".join(includes), hook, *units, *constants, *bodies]) + "\n"

    def _run(self) -> str:
        steps = self.program.steps
        lines = [f"    {self.big}_STEP({number});\n    {step.call()}" for number, step in enumerate(steps)]
        lines.append(f"    {self.big}_STEP({len(steps)});")
        memory = "    uint8_t *const memory = arena;\n\n" if self.arena else "    (void)arena;\n"
        needed = "input == NULL || output == NULL" + (" || arena == NULL" if self.arena else "")
        check = f"    if ({needed}) {{\n        return 1;\n    }}\n"
        return f"{self.signature}\n{{\n{memory}{check}" + "\n".join(lines) + "\n    return 0;\n}"

    def _encode(self) -> str:
        return f"void {self.name}_encode(const float *reals, uint8_t *codes)"

    def _decode(self) -> str:
        return f"void {self.name}_decode(const uint8_t *codes, float *reals)"

    def _pixels(self) -> str:
        return f"void {self.name}_pixels(const uint8_t *codes, uint8_t *pixels)"

    def _encode_body(self) -> str:
        assert self.program.encoding is not None  # the caller has seen it
        coding, _, _, pixels, channels = self.program.encoding.arguments
        assert not isinstance(coding, str)  # a structure
        return f"{self._encode()}\n{{\n    encode_floats({coding.pointer()}, reals, codes, {pixels}, {channels});\n}}"

    def _decode_body(self) -> str:
        reals, steps = self._table(self.result.reals)
        return f"{self._decode()}\n{{\n    decode_codes({reals}, {steps}, codes, reals, {self._count()});\n}}"

    def _pixels_body(self) -> str:
        assert self.result.reals is not None  # the caller has seen it
        table, steps = self._table(images_to_uint8(self.result.reals))
        return f"{self._pixels()}\n{{\n    map_codes({table}, {steps}, codes, pixels, {self._count()});\n}}"

    def _count(self) -> str:
        return f"{self.result.pixels}, {self.result.channels}"

    def _table(self, values: Tensor | None) -> tuple[str, str]:
        """Return a table of all channels and the distance between the channels' parts in it; 0 if all channels share
        one.
        """
        assert values is not None  # of codes
        each = per_channel(values)
        name = self.program.constant((values if each else values[0]).numpy())
        return name, str(values.shape[1]) if each else "0"


def _sizes(role: str, values: Values, codes: bool) -> dict[str, int]:
    channels, height, width = values.shape
    return {
        f"{role}_CHANNELS": channels,
        f"{role}_HEIGHT": height,
        f"{role}_WIDTH": width,
        f"{role}_SIZE": channels * height * width,
        f"{role}_IS_CODES": int(codes),
    }


def _kind(codes: bool) -> str:
    return "uint8_t" if codes else "float"


def _noun(codes: bool) -> str:
    return "codes" if codes else "floats"


def _used(declarations: list[str], text: str) -> list[str]:
    """Keep the declarations that the text uses, directly or through another declaration."""
    kept: list[str] = []
    for one in reversed(declarations):
        found = re.match(r"static const \w+ (\w+)", one)
        assert found is not None  # as `Program` writes them
        if re.search(rf"\b{found[1]}\b", text):
            kept.append(one)
            text += one
    return kept[::-1]
