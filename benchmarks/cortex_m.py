"""Builds generators in C for a Cortex-M3, measures their size, and runs them in QEMU, which counts instructions.

It needs `arm-none-eabi-gcc`, `arm-none-eabi-size` and `qemu-system-arm`
(`apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm`).
"""

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ganpress.edge.c_code.c_runner import CTexts
from ganpress.errors import ConfigError

PROGRAMS = ("arm-none-eabi-gcc", "arm-none-eabi-size", "qemu-system-arm")
INSTALL = "apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm"
FLAGS = ("-mcpu=cortex-m3", "-mthumb", "-std=c99", "-ffunction-sections", "-fdata-sections", "-nostartfiles",
         "-Wl,--gc-sections", "--specs=nano.specs")  # fmt: skip
MACHINE = "mps2-an385"
ICOUNT_SHIFT = 4
"""QEMU lets each instruction take 2^4 ns of the machine's time."""
CLOCK_NS = 40
"""Of one tick of the machine's clock, 25 MHz."""
SECONDS = 300

LINKER = """
MEMORY {
    FLASH (rx) : ORIGIN = 0x00000000, LENGTH = 4M
    RAM (rwx) : ORIGIN = 0x20000000, LENGTH = 4M
}
ENTRY(reset)
SECTIONS {
    .text : { KEEP(*(.vectors)) *(.text*) *(.rodata*) } > FLASH
    .data : { *(.data*) } > RAM
    .bss : { bss_start = .; *(.bss*) *(COMMON) . = ALIGN(8); bss_end = .; } > RAM
    .ARM.exidx : { *(.ARM.exidx*) } > FLASH
    stack_top = ORIGIN(RAM) + LENGTH(RAM);
}
"""

START = """
#include "{name}.h"
#include <stddef.h>

extern uint32_t bss_start, bss_end, stack_top;
void reset(void);
static void halt(void) {{ for (;;) {{ }} }}
__attribute__((section(".vectors"), used)) static const void *const vectors[16] = {{
    &stack_top, (const void *)reset, (const void *)halt, (const void *)halt
}};
static uint8_t arena[{big}_ARENA_BYTES + 8] __attribute__((aligned(8)));
static {output} output[{big}_OUTPUT_SIZE];
"""

BARE = """
static {input} input[{big}_INPUT_SIZE];
void reset(void)
{{
    {name}_run(input, output, arena);
    halt();
}}
"""
"""A device that runs the generator and does nothing else: what it takes of flash and RAM is the generator's."""

HARNESS = """
#define SYSTICK ((volatile uint32_t *)0xE000E010u)
#define STACK_WORDS 4096
#define PAINT 0xA5A5A5A5u
static const {input} inputs[{count}][{big}_INPUT_SIZE] = {{ {inputs} }};

static void call(uint32_t operation, const void *argument)
{{
    register uint32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile ("bkpt 0xAB" : "+r" (r0) : "r" (r1) : "memory");
}}

static void say(const char *text) {{ call(4u, text); }}

static void say_hex(uint32_t value)
{{
    static const char digits[] = "0123456789abcdef";
    char text[9];
    int place;
    for (place = 7; place >= 0; place--) {{
        text[place] = digits[value & 15u];
        value >>= 4;
    }}
    text[8] = 0;
    say(text);
}}

static void say_bytes(const uint8_t *bytes, size_t count)
{{
    static const char digits[] = "0123456789abcdef";
    static char text[2 * sizeof output + 1];
    size_t place;
    for (place = 0; place < count; place++) {{
        text[2 * place] = digits[bytes[place] >> 4];
        text[2 * place + 1] = digits[bytes[place] & 15];
    }}
    text[2 * count] = 0;
    say(text);
}}

static uint32_t painted(void)
{{
    const uint32_t *lowest = &stack_top - STACK_WORDS;
    while (*lowest == PAINT) {{
        lowest++;
    }}
    return (uint32_t)((&stack_top - lowest) * 4);
}}

__attribute__((noinline)) static void draw(int number)
{{
    uint32_t start, end;
    SYSTICK[1] = 0xFFFFFFu;
    SYSTICK[2] = 0u;
    SYSTICK[0] = 5u;
    start = SYSTICK[2];
    {name}_run(inputs[number], output, arena);
    end = SYSTICK[2];
    say("ticks ");
    say_hex((start - end) & 0xFFFFFFu);
    say("\\noutput ");
    say_bytes((const uint8_t *)output, sizeof output);
    say("\\n");
}}

void reset(void)
{{
    uint32_t *word;
    int number;
    volatile uint32_t *paint = &stack_top - STACK_WORDS;
    uint32_t before;
    for (word = &bss_start; word < &bss_end; word++) {{
        *word = 0u;
    }}
    for (; (uint32_t)paint < (uint32_t)__builtin_frame_address(0) - 128u; paint++) {{
        *paint = PAINT;
    }}
    before = (uint32_t)&stack_top - (uint32_t)__builtin_frame_address(0);
    for (number = 0; number < {count}; number++) {{
        draw(number);
    }}
    say("stack ");
    say_hex(painted() - before);
    say("\\n");
    call(0x18u, (const void *)0x20026u);
    halt();
}}
"""


@dataclass(frozen=True)
class DeviceRun:
    """What a generator took on the device."""

    flash_bytes: int
    """Code and constants, with the table of interrupts and what the compiler adds."""
    ram_bytes: int
    """Arena, input and output."""
    stack_bytes: int
    """At most, of what was run."""
    instructions: tuple[int, ...]
    """Of each picture, to within three."""
    outputs: NDArray[np.uint8]
    """What `run` wrote, (pictures, bytes)."""


def missing_programs() -> list[str]:
    """Those of the programs that are not there."""
    return [name for name in PROGRAMS if shutil.which(name) is None]


def run_on_device(texts: CTexts, inputs: NDArray[np.generic], folder: Path, level: str = "O2") -> DeviceRun:
    """Build a generator for a Cortex-M3 and let QEMU draw pictures with it.

    Args:
        texts: the generator's two files.
        inputs: what `run` takes, (pictures, …), channels last: uint8 codes, or float32.
        folder: an empty one for what is built.
        level: of optimisation, as the compiler takes it.

    Raises:
        ConfigError: if a program is missing, or ends with an error.
    """
    absent = missing_programs()
    if absent:
        raise ConfigError(f"a microcontroller needs {', '.join(absent)}; run `{INSTALL}`")
    (folder / f"{texts.name}.c").write_text(texts.source, encoding="ascii")
    (folder / f"{texts.name}.h").write_text(texts.header, encoding="ascii")
    (folder / "device.ld").write_text(LINKER, encoding="ascii")
    literals = ["{" + ", ".join(map(_literal, one.ravel())) + "}" for one in inputs]
    facts = {
        "name": texts.name,
        "big": texts.name.upper(),
        "input": "uint8_t" if texts.sizes["INPUT_IS_CODES"] else "float",
        "output": "uint8_t" if texts.sizes["OUTPUT_IS_CODES"] else "float",
        "count": len(inputs),
        "inputs": ",\n".join(literals),
    }
    bare = _built(folder, "bare", level, (START + BARE).format(**facts))
    flash, ram = _sizes(bare)
    harness = _built(folder, "harness", level, (START + HARNESS).format(**facts))
    said = _ran(["qemu-system-arm", "-M", MACHINE, "-nographic", "-semihosting", "-monitor", "none", "-serial", "none",
                 "-icount", f"shift={ICOUNT_SHIFT}", "-kernel", str(harness)])  # fmt: skip
    ticks = [int(one, 16) for one in re.findall(r"ticks (\w+)", said)]
    outputs = [np.frombuffer(bytes.fromhex(one), np.uint8) for one in re.findall(r"output (\w+)", said)]
    (stack,) = re.findall(r"stack (\w+)", said)
    instructions = tuple(one * CLOCK_NS // 2**ICOUNT_SHIFT for one in ticks)
    return DeviceRun(flash, ram, int(stack, 16), instructions, np.stack(outputs))


def _literal(value: np.generic) -> str:
    return str(int(value)) if isinstance(value, np.integer) else f"{float(value):.9e}f"


def _built(folder: Path, name: str, level: str, main: str) -> Path:
    source, result = folder / f"{name}_main.c", folder / f"{name}.elf"
    source.write_text(main, encoding="ascii")
    sources = [str(one) for one in sorted(folder.glob("*.c")) if one == source or not one.name.endswith("_main.c")]
    _ran(
        ["arm-none-eabi-gcc", *FLAGS, f"-{level}", "-T", str(folder / "device.ld"), "-o", str(result), *sources, "-lm"]
    )
    return result


def _sizes(program: Path) -> tuple[int, int]:
    """Bytes of flash and of RAM."""
    text, data, bss = map(int, _ran(["arm-none-eabi-size", str(program)]).splitlines()[1].split()[:3])
    return text + data, data + bss


def _ran(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise ConfigError(f"{command[0]} took more than {SECONDS} s") from None
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise ConfigError(f"{command[0]} failed: {lines[-1] if lines else f'exit code {done.returncode}'}")
    return done.stdout + done.stderr
