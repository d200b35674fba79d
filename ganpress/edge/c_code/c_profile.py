"""Lists the functions that the C source of a generator calls, and the time of each."""

import re
from pathlib import Path

import numpy as np
from torch import Tensor

from ganpress.edge.c_code.c_runner import CGenerator
from ganpress.edge.proof.kernels import KernelProfile, profile_of

CALL = re.compile(r"^    \w+_STEP\(\d+\);\n    (\w+)\(.*\);$", re.MULTILINE)
MULTIPLYING = {"convolve_codes": "int8", "convolve_floats": "float32"}
"""Functions that multiply -> their number type."""
WARM_UP_CALLS = 2
OF_FLOATS = re.compile(r"float|scale_|shift_|tanh|relu|normalise|decode")
"""Pattern of the names of other functions that compute in floats."""
OF_CODES = ("map_codes",)
MOVED = "bytes"
"""Number type of functions that only move bytes."""


def profile_c(path: Path, example: Tensor) -> KernelProfile:
    """Compile a file with a clock between its steps, run it, and return the steps of its last run.

    Raises:
        CheckpointError: if the file is missing, damaged, or cannot be compiled.
    """
    generator = CGenerator(path, timed=True)
    for _ in range(WARM_UP_CALLS + 1):
        generator(example[:1])
    times = np.diff(generator.marks())
    calls = [found[1] for found in CALL.finditer(generator.texts.source)]
    return profile_of(
        (name, _number_type(name), name in MULTIPLYING, max(float(time), 1.0))
        for name, time in zip(calls, times, strict=True)
    )


def _number_type(function: str) -> str:
    if function in MULTIPLYING:
        return MULTIPLYING[function]
    if function in OF_CODES:
        return "int8"
    return "float32" if OF_FLOATS.search(function) else MOVED
