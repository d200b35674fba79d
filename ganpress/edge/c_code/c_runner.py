"""Compiles a generator's C source with the system's compiler and calls it in this process."""

import ctypes
import functools
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganpress.edge.onnx_runtime import as_float32
from ganpress.errors import CheckpointError, shown
from ganpress.files.edge_files import parts_of
from ganpress.files.frames import is_frame, read_content

COMPILER = "cc"
FLAGS = ("-std=c99", "-O2", "-shared", "-fPIC")
"""Compiler options. In ISO C mode, compilers do not fuse a product and a sum into one rounding."""
COMPILE_SECONDS = 300
LARGEST_SIZE = 2**31 - 1
MACRO = re.compile(r"^#define (\w+)_ARENA_BYTES \d+$", re.MULTILINE)
SIZES = ("INPUT_CHANNELS", "INPUT_HEIGHT", "INPUT_WIDTH", "INPUT_AXES", "INPUT_IS_CODES", "OUTPUT_CHANNELS",
         "OUTPUT_HEIGHT", "OUTPUT_WIDTH", "OUTPUT_IS_CODES", "ARENA_BYTES")  # fmt: skip
TIMER = """
#define _POSIX_C_SOURCE 199309L
#include <time.h>
static double marks[{steps}];
static void mark(int number)
{{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    marks[number] = (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}}
#define {big}_STEP(number) mark(number)
double *{name}_marks(void);
double *{name}_marks(void) {{ return marks; }}
"""
"""Source that is put before a generator's own; `marks` holds the time in nanoseconds before each step and after the
last.
"""


@dataclass(frozen=True)
class CTexts:
    """The texts of the two files, and the values in the header."""

    name: str
    source: str
    header: str
    sizes: dict[str, int]


class CGenerator:
    """Latents (N, Z) or pictures (N, C, H, W) -> images (N, C, H, W), float32; compiled C computes one image at a time.

    Opening a file compiles and runs its code, so open only files from a source that you trust.
    """

    def __init__(self, path: Path, timed: bool = False) -> None:
        """Compile the file.

        Args:
            path: a source `.c`, plain or packed, with its header beside it.
            timed: whether steps are timed, so that `marks` can be read.

        Raises:
            CheckpointError: if a file is missing or damaged, or cannot be compiled.
        """
        self.path, self.texts = path, read_texts(path)
        sizes, name = self.texts.sizes, self.texts.name
        self._marks = self.texts.source.count(f"    {name.upper()}_STEP(")
        before = TIMER.format(steps=self._marks, big=name.upper(), name=name) if timed else ""
        self._library = _compiled(path, self.texts.header, before + self.texts.source, name)
        spatial = (sizes["INPUT_HEIGHT"], sizes["INPUT_WIDTH"])
        self.input_shape: tuple[int, ...] = (sizes["INPUT_CHANNELS"], *(spatial if sizes["INPUT_AXES"] == 3 else ()))
        """Shape of one input: (Z,) or (C, H, W)."""
        self._shape = (sizes["OUTPUT_HEIGHT"], sizes["OUTPUT_WIDTH"], sizes["OUTPUT_CHANNELS"])
        self._arena = np.zeros(sizes["ARENA_BYTES"] // 8 + 1, np.int64)

    def __call__(self, inputs: Tensor) -> Tensor:
        """Run a batch of any size.

        Raises:
            ConfigError: if `inputs` is not (N, *input_shape) with N >= 1.
        """
        values = as_float32(inputs, self.input_shape, f"{self.path.name} takes")
        images = np.stack([self._drawn(one) for one in values])
        return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))

    def input_codes(self, inputs: Tensor) -> NDArray[np.generic]:
        """Convert float inputs (N, …) to the arguments of `run`: codes, or floats if it reads floats; channels last."""
        return np.stack([self._taken(one) for one in as_float32(inputs, self.input_shape, f"{self.path.name} takes")])

    def output_codes(self, inputs: Tensor) -> NDArray[np.generic]:
        """Return the raw output of `run` for float inputs (N, …): codes, or floats if it ends in floats; channels
        last.
        """
        return np.stack([self._run(self._taken(one)) for one in as_float32(inputs, self.input_shape, "it takes")])

    def marks(self) -> NDArray[np.float64]:
        """Return the time in nanoseconds before each step of the last run and after the last step; needs `timed`."""
        function = self._function("marks")
        function.restype = ctypes.POINTER(ctypes.c_double)
        return np.ctypeslib.as_array(function(), (self._marks,))

    def _drawn(self, value: NDArray[np.float32]) -> NDArray[np.generic]:
        made = self._run(self._taken(value))
        if not self.texts.sizes["OUTPUT_IS_CODES"]:
            return made
        reals = np.empty(self._shape, np.float32)
        self._function("decode")(_address(made), _address(reals))
        return reals

    def _taken(self, value: NDArray[np.float32]) -> NDArray[np.generic]:
        given = np.ascontiguousarray(value.transpose(1, 2, 0) if value.ndim == 3 else value)
        if not self.texts.sizes["INPUT_IS_CODES"]:
            return given
        codes = np.empty(given.shape, np.uint8)
        self._function("encode")(_address(given), _address(codes))
        return codes

    def _run(self, given: NDArray[np.generic]) -> NDArray[np.generic]:
        made = np.empty(self._shape, np.uint8 if self.texts.sizes["OUTPUT_IS_CODES"] else np.float32)
        if self._function("run")(_address(given), _address(made), _address(self._arena)) != 0:
            raise CheckpointError(f"{self.path} refuses its own buffers; export it again")
        return made

    def _function(self, name: str) -> Any:
        try:
            return self._library[f"{self.texts.name}_{name}"]
        except AttributeError:
            raise CheckpointError(
                f"{self.path} is no generator: it has no function {self.texts.name}_{name}; export it again"
            ) from None


def read_texts(path: Path) -> CTexts:
    """Read a source file and the header beside it.

    Raises:
        CheckpointError: if one is missing, or they are not a generator.
    """
    texts = []
    for part in parts_of(path):
        if not part.exists():
            raise CheckpointError(f"{part} does not exist; export the generator first")
        try:
            texts.append((read_content(part) if is_frame(part) else part.read_bytes()).decode("ascii"))
        except UnicodeDecodeError:
            raise CheckpointError(f"{part} is not C source text; export it again") from None
    source, header = texts
    found = MACRO.search(header)
    lines = dict(re.findall(rf"^#define {found[1]}_(\w+) (\d+)$", header, re.MULTILINE)) if found else {}
    sizes = {name: int(lines[name]) for name in SIZES if name in lines}
    if found is None or len(sizes) < len(SIZES) or max(sizes.values()) > LARGEST_SIZE:
        raise CheckpointError(f"{parts_of(path)[1]} does not define the sizes of a generator; export it again")
    return CTexts(found[1].lower(), source, header, sizes)


def _address(array: NDArray[np.generic]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def _compiled(path: Path, header: str, source: str, name: str) -> ctypes.CDLL:
    library, reason = _library(header, source, name)
    if library is None:
        raise CheckpointError(f"{path} cannot be compiled by {COMPILER}: {shown(reason, 200)}; export it again")
    return library


@functools.lru_cache(maxsize=8)
def _library(header: str, source: str, name: str) -> tuple[ctypes.CDLL | None, str]:
    """Compile the texts and load the library; return None and the compiler's message if that fails."""
    compiler = shutil.which(COMPILER) or COMPILER
    with tempfile.TemporaryDirectory(prefix="ganpress-c-") as folder:
        place, result = Path(folder) / f"{name}.c", Path(folder) / "library.so"
        place.write_text(source, encoding="ascii")
        place.with_suffix(".h").write_text(header, encoding="ascii")
        command = [compiler, *FLAGS, "-o", str(result), str(place), "-lm"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=COMPILE_SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            return None, str(error)
        if done.returncode != 0:
            lines = done.stderr.replace(f"{folder}/", "").splitlines()
            return None, next((line for line in lines if "error" in line), f"exit code {done.returncode}")
        try:
            return ctypes.CDLL(str(result)), ""
        except OSError as error:
            return None, str(error)
