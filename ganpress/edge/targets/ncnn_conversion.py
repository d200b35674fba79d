"""Converts traced networks to ncnn files with its converter pnnx."""

import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ganpress.basics.whole_files import whole_files
from ganpress.edge.graphs.graph_writer import OUTPUT, input_name
from ganpress.edge.layer_names import blame
from ganpress.edge.quiet import quiet
from ganpress.edge.targets.ncnn_runtime import unknown_operators
from ganpress.edge.targets.target import UnsupportedGenerator

LEFT_OUT = re.compile(r"^ignore (?:pnnx\.|nn\.|F\.|torch\.|Tensor\.|aten::)?(\S+) |^(.*not supported.*)$", re.MULTILINE)
"""Message of pnnx about an operator, or an operator's setting, without counterpart in ncnn; pnnx omits it and goes
on.
"""
TRACED_INPUT, TRACED_OUTPUT = "in0", "out0"
"""Names that pnnx gives to input and output."""
NOTHING_COMPUTED = (
    f"1 1\nInput                    {TRACED_INPUT}                      0 1 {TRACED_OUTPUT}\n",
    f"2 2\nInput {TRACED_INPUT} 0 1 {TRACED_INPUT}\nNoop {TRACED_OUTPUT} 1 1 {TRACED_INPUT} {TRACED_OUTPUT}\n",
)
"""For a network that returns its input: the wrong text from pnnx, in which one array has two names, and the right
one.
"""


class OneInput(nn.Module):
    """A generator as a named layer.

    pnnx writes the names of layers as attributes into a Python file; the layers of a bare `nn.Sequential` have numbers
    as names, which are not valid attributes.
    """

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, inputs: Tensor) -> Tensor:
        images: Tensor = self.generator(inputs)
        return images


def write_ncnn(model: nn.Module, path: Path, example: Tensor, halves: bool) -> tuple[Path, ...]:
    """Write a generator in its form as `path` and the `.bin` beside it.

    Args:
        model: a generator in floats.
        path: the `.param` file; its folder is created.
        example: inputs (N, …); the file takes inputs of their shape.
        halves: whether weights are stored as float16.

    Raises:
        UnsupportedGenerator: if pnnx or ncnn does not support an operator.
    """
    with tempfile.TemporaryDirectory(prefix="ganpress-ncnn-") as name:
        folder = Path(name)
        said = _convert(model, folder, example, halves)
        text = _read(folder / "generator.ncnn.param")
        reason = _left_out(said, text, model, example)
        if reason is not None:
            raise UnsupportedGenerator(f"ncnn cannot run {type(model).__name__}: {reason}")
        with whole_files(path, ".bin") as place:
            place.write_text(_with_names(text, example), encoding="ascii")
            place.with_suffix(".bin").write_bytes((folder / "generator.ncnn.bin").read_bytes())
    return (path, path.with_suffix(".bin"))


def _convert(model: nn.Module, folder: Path, example: Tensor, halves: bool) -> str:
    """Trace a generator, let pnnx convert it in a folder, and return the output of pnnx."""
    import pnnx

    one = example[:1].contiguous()
    try:
        with torch.no_grad(), quiet():
            trace: Any = torch.jit.trace
            trace(OneInput(model).eval(), one, check_trace=False).save(str(folder / "generator.pt"))
    except Exception as error:  # the tracer raises many types
        reason = " ".join(str(error).split())[:300]
        raise UnsupportedGenerator(f"ncnn cannot run {type(model).__name__}: {reason}") from None
    shape = ",".join(map(str, one.shape))
    command = [pnnx.EXEC_PATH, "generator.pt", f"inputshape=[{shape}]f32", f"fp16={int(halves)}"]
    done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
    return (done.stdout + done.stderr).decode(errors="replace")


def _read(path: Path) -> str:
    return path.read_text(encoding="ascii") if path.exists() else ""


def _left_out(said: str, text: str, model: nn.Module, example: Tensor) -> str | None:
    """Return the reason why a conversion is not usable; None if it is."""
    unknown = unknown_operators(text)
    found = LEFT_OUT.search(said)
    if text and not unknown and found is None:
        return None
    if unknown:
        operator = unknown[0]
    elif found is not None and found[1]:
        operator = f"aten::{found[1]}"
    else:
        lines = [" ".join(line.split()) for line in said.splitlines() if line.strip()]
        return found[2].strip()[:300] if found else (lines[-1][:300] if lines else "pnnx ended without a message")
    return blame(model, example, operator) or f"the operator {operator.removeprefix('aten::')}"


def _with_names(text: str, example: Tensor) -> str:
    """Return the graph with ganpress's names for input and output, and with the shape of one input in its layer's name.

    ncnn itself needs no shape, but the code that opens the file does. The input layer has parameters for it, but if
    they are set, ncnn chooses its kernels by them, and small generators took a tenth longer.
    """
    names = {TRACED_INPUT: input_name(example), TRACED_OUTPUT: OUTPUT}
    text = text.replace(*NOTHING_COMPUTED)
    lines = [re.sub(r"\S+", lambda word: names.get(word[0], word[0]), line) for line in text.splitlines()]
    shape = "x".join(map(str, example.shape[1:]))
    layer = f"Input {names[TRACED_INPUT]}_{shape} 0 1 {names[TRACED_INPUT]}"
    return "".join(f"{layer if line.startswith('Input ') else line}\n" for line in lines)
