"""Runs the program of a Core ML package on the CPU, because Core ML itself runs only on Apple's systems."""

import io
import zipfile
from pathlib import Path

import torch
from torch import Tensor

from ganpress.edge.graphs.graph_writer import INPUT, OUTPUT, SOURCE
from ganpress.edge.onnx_runtime import as_float32
from ganpress.edge.proof.kernels import KernelProfile, profile_of
from ganpress.edge.targets.mil_operators import NoOperator
from ganpress.edge.targets.mil_program import BadProgram, MilProgram, parts, read_program
from ganpress.errors import CheckpointError, shown
from ganpress.files.frames import read_content
from ganpress.performance.latency import torch_threads

PACKAGE = "generator.mlpackage"
"""The folder in the archive, which Xcode takes."""
MODEL = "Data/com.apple.CoreML/model.mlmodel"
WEIGHTS = "Data/com.apple.CoreML/weights/weight.bin"


class CoreMlGenerator:
    """Latents (N, Z) or pictures (N, C, H, W) -> images (N, C, H, W), float32, computed by ganpress on the CPU.

    Each operation's result is rounded to its number type in the program; inside an operation floats are float32. An
    Apple processor may sum differently inside an operation.
    """

    def __init__(self, path: Path, threads: int = 1) -> None:
        """Load the file.

        Args:
            path: an archive with a package, plain or packed.
            threads: number of threads.

        Raises:
            CheckpointError: if the file is missing, damaged, or not a generator.
        """
        try:
            self.program = program_of(read_content(path))
        except (BadProgram, NoOperator) as error:
            raise CheckpointError(f"{path} cannot be loaded: {shown(error, 200)}; export it again") from None
        names = [self.program.source, self.program.output]
        if names not in ([INPUT, OUTPUT], [SOURCE, OUTPUT]):
            raise CheckpointError(
                f"{path} is no generator: it needs '{INPUT}' or '{SOURCE}' -> '{OUTPUT}', found {names}"
            )
        self.path, self._threads = path, threads
        self.input_shape = self.program.shape
        """Shape of one input: (Z,) or (C, H, W), or (C, 0, 0) for a file that accepts pictures of any size."""

    def __call__(self, inputs: Tensor) -> Tensor:
        """Run a batch of any size, one input at a time, because the program takes one.

        Raises:
            ConfigError: if `inputs` is not (N, *input_shape) with N >= 1.
            CheckpointError: if the program cannot be computed.
        """
        values = torch.from_numpy(as_float32(inputs, self.input_shape, f"{self.path.name} takes {self.program.source}"))
        try:
            with torch.no_grad(), torch_threads(self._threads):
                return torch.cat([self.program.run(values[place : place + 1]) for place in range(len(values))])
        except (NoOperator, RuntimeError, IndexError, KeyError, TypeError, ValueError) as error:
            reason = shown(" ".join(str(error).split()), 200)
            raise CheckpointError(f"{self.path} cannot be computed: {reason}; export it again") from None

    def profile(self) -> KernelProfile:
        """Return the program's operations with their declared number types; an Apple processor may run others."""
        return profile_of(parts(self.program))


def program_of(content: bytes) -> MilProgram:
    """Read the program of an archive.

    Raises:
        BadProgram: if it is damaged, or holds no package.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            model, weights = _member(archive, MODEL), _member(archive, WEIGHTS)
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError):
        raise BadProgram("it is not a complete ZIP archive") from None
    if model is None:
        raise BadProgram(f"it holds no {PACKAGE} with a program")
    return read_program(model, weights or b"")


def _member(archive: zipfile.ZipFile, name: str) -> bytes | None:
    """Read a file of the package; files are not compressed, so none may be larger than the archive."""
    try:
        info = archive.getinfo(f"{PACKAGE}/{name}")
    except KeyError:
        return None
    if info.compress_type != zipfile.ZIP_STORED:
        raise ValueError(name)
    return archive.read(info)
