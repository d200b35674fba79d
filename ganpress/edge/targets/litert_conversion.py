"""Converts exported networks to LiteRT files; the converter runs in its own Python environment."""

import json
import re
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ganpress.basics.whole_files import write_whole
from ganpress.edge.layer_names import blame
from ganpress.edge.quiet import quiet
from ganpress.edge.targets import litert_converter
from ganpress.edge.targets.first_trial import is_sound
from ganpress.edge.targets.litert_environment import converter_python
from ganpress.edge.targets.litert_runtime import LiteRtGenerator
from ganpress.edge.targets.target import UnsupportedGenerator
from ganpress.errors import CheckpointError

ILLEGAL = re.compile(r"failed to legalize operation '(?:\w+\.)?(\w+)'")
"""The converter's message about an operation for which LiteRT has no operator."""
UNLOWERED = re.compile(r"target=torch\.ops\.(?:aten|prims)\.(\w+)")
"""The converter's message about a torch operator that it cannot convert."""
CONVERSION_SECONDS = 3600
TORCHS = {"convolution": "conv_transpose2d convolution"}
"""Operations of the converter -> the torch operators from which they may come, if the names differ."""


def write_litert(
    model: nn.Module, path: Path, example: Tensor, number_type: str, calibration: Tensor | None
) -> tuple[Path, ...]:
    """Write a generator in its form as `path`; the file takes one input per call.

    Raises:
        UnsupportedGenerator: if LiteRT has no operator for one of the generator's.
        ConfigError: if the converter cannot be installed.
    """
    python, one = converter_python(), example[:1].contiguous()
    with tempfile.TemporaryDirectory(prefix="ganpress-litert-") as name:
        folder = Path(name)
        try:
            with torch.no_grad(), quiet():
                torch.export.save(torch.export.export(model.eval(), (one,)), folder / "network.pt2")
        except Exception as error:  # the tracer raises many types
            reason = " ".join(str(error).split())[:300]
            raise UnsupportedGenerator(f"LiteRT cannot run {type(model).__name__}: {reason}") from None
        (folder / "request.json").write_text(json.dumps({"number_type": number_type}), encoding="ascii")
        if calibration is not None:
            np.savez(folder / "calibration.npz", inputs=calibration.numpy().astype(np.float32))
        command = [str(python), "-I", litert_converter.__file__, str(folder)]
        done = subprocess.run(command, capture_output=True, check=False, timeout=CONVERSION_SECONDS)
        result = folder / "generator.tflite"
        if not result.exists():
            said = _read(folder / "error.txt") or done.stderr.decode(errors="replace")
            raise UnsupportedGenerator(f"LiteRT cannot run {type(model).__name__}: {_reason(said, model, one)}")
        content = result.read_bytes()
        is_sound(content)
        try:
            LiteRtGenerator(result)(one)
        except CheckpointError as error:
            reason = str(error).partition(": ")[2]
            raise UnsupportedGenerator(f"LiteRT cannot run {type(model).__name__}: {reason}") from None
    write_whole(path, content)
    return (path,)


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _reason(said: str, model: nn.Module, one: Tensor) -> str:
    """Return the operator that the converter names, with its layer if it is known; otherwise its last line."""
    found = ILLEGAL.search(said) or UNLOWERED.search(said)
    if found is None:
        lines = [" ".join(line.split()) for line in said.splitlines() if line.strip()]
        return lines[-1][:300] if lines else "its converter ended without a message"
    names = TORCHS.get(found[1], found[1]).split()
    where = (blame(model, one, f"aten::{name}") for name in names)
    return next((one for one in where if one is not None), f"the operator {found[1]}")
