"""Runs a `.mnn` file as a generator."""

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganpress.edge.graphs.graph_writer import INPUT, OUTPUT, SOURCE
from ganpress.edge.onnx_runtime import as_float32, fixed_sizes
from ganpress.edge.proof.kernels import KernelProfile, profile_of
from ganpress.edge.quiet import quiet_descriptors
from ganpress.edge.targets.first_trial import is_sound, require_trial
from ganpress.errors import CheckpointError
from ganpress.files.frames import is_frame, read_content

MULTIPLYING = ("Convolution", "Deconvolution", "MatMul", "InnerProduct")
"""Parts of the names of convolutions and matrix products."""
INTEGERS = "[ DT_INT8 ]"
"""MNN's mark after the type of an operator that runs on integers."""
WARM_UP_CALLS = 2


class MnnGenerator:
    """Latents (N, Z) or pictures (N, C, H, W) -> images (N, C, H, W), float32, computed by MNN on the CPU."""

    def __init__(self, path: Path, threads: int = 1) -> None:
        """Load the file.

        Args:
            path: a `.mnn` file, plain or packed.
            threads: number of threads.

        Raises:
            CheckpointError: if the file is missing, damaged, or not a generator.
        """
        if not path.exists():
            raise CheckpointError(f"{path} does not exist; export the generator first")
        require_trial(path, "MNN", __name__)
        content = read_content(path) if is_frame(path) else None
        with quiet_descriptors():  # it prints the processor's features, and errors of a file
            import MNN

            self._mnn: Any = MNN
            try:
                self._interpreter, self._session = _load(MNN, path, content, threads)
                inputs = self._interpreter.getSessionInputAll(self._session)
                outputs = self._interpreter.getSessionOutputAll(self._session)
                shapes = {name: tuple(map(int, one.getShape())) for name, one in inputs.items()}
            except Exception:  # the runtime raises errors without a message for damaged files
                raise CheckpointError(f"{path} cannot be loaded by MNN: it is damaged; export it again") from None
        found = [*inputs, *outputs]
        if found not in ([INPUT, OUTPUT], [SOURCE, OUTPUT]):
            raise CheckpointError(
                f"{path} is no generator: it needs '{INPUT}' or '{SOURCE}' -> '{OUTPUT}', found {found}"
            )
        self.path, self._input = path, found[0]
        self._batch = 0
        self.input_shape = fixed_sizes(shapes[found[0]], path)
        """Shape of one input: (Z,) or (C, H, W)."""

    def __call__(self, inputs: Tensor) -> Tensor:
        """Run a batch of any size; if the size differs from the last one, memory is planned again.

        Raises:
            ConfigError: if `inputs` is not (N, *input_shape) with N >= 1.
            CheckpointError: if MNN cannot compute the graph.
        """
        values = self._take(inputs)
        return self._images(self._interpreter.runSession(self._session), values)

    def timed(self, inputs: Tensor) -> list[tuple[str, str, bool, float]]:
        """Run once and return each operator's type, its number type, whether it multiplies, and its time in seconds."""
        runs: list[tuple[str, str, bool, float]] = []
        began = 0.0

        def before(_: Any, __: Any) -> bool:
            nonlocal began
            began = time.perf_counter()
            return True

        def after(_: Any, operator: Any) -> bool:
            seconds = time.perf_counter() - began
            name, integers, _ = operator.getType().partition(INTEGERS)
            multiplies = any(part in name for part in MULTIPLYING)
            runs.append((name.strip(), "int8" if integers else "float32", multiplies, seconds))
            return True

        values = self._take(inputs)
        self._images(self._interpreter.runSessionWithCallBackInfo(self._session, before, after), values)
        return runs

    def _take(self, inputs: Tensor) -> NDArray[np.float32]:
        """Set a batch as MNN's input, and return it, because MNN may read its memory until the call ends."""
        values = as_float32(inputs, self.input_shape, f"{self.path.name} takes {self._input}")
        given = self._interpreter.getSessionInput(self._session, self._input)
        if len(values) != self._batch:
            self._interpreter.resizeTensor(given, values.shape)
            self._interpreter.resizeSession(self._session)
            self._batch = len(values)
        given.copyFrom(self._host(values))
        return values

    def _images(self, code: int, values: NDArray[np.float32]) -> Tensor:
        """Check MNN's return code and return a copy of the call's result."""
        result = self._interpreter.getSessionOutput(self._session, OUTPUT)
        shape = tuple(map(int, result.getShape()))
        if code not in (0, None) or min(shape, default=0) < 1 or shape[0] != len(values):
            raise CheckpointError(
                f"{self.path} cannot be run by MNN: {len(values)} inputs gave code {code} and images of shape {shape}; "
                "export it again"
            )
        images = np.empty(shape, np.float32)
        host = self._host(images)
        result.copyToHostTensor(host)
        return torch.from_numpy(np.array(host.getNumpyData(), np.float32, copy=True).reshape(shape))

    def _host(self, values: NDArray[np.float32]) -> Any:
        mnn = self._mnn
        return mnn.Tensor(values.shape, mnn.Halide_Type_Float, values, mnn.Tensor_DimensionType_Caffe)


def attempt() -> None:
    """Open and run the file that the command line names, in the child process of a trial; exit code 1 if it fails."""
    path = Path(sys.argv[1])
    is_sound(read_content(path))
    try:
        generator = MnnGenerator(path)
        generator(torch.zeros(1, *generator.input_shape))
    except CheckpointError:
        raise SystemExit(1) from None  # the parent process reports it in one line


def _load(mnn: Any, path: Path, content: bytes | None, threads: int) -> tuple[Any, Any]:
    """Return interpreter and session of a file, or of a packed file's content; MNN reads only from files."""
    if content is not None:
        with tempfile.TemporaryDirectory(prefix="ganpress-mnn-") as folder:
            plain = Path(folder) / "generator.mnn"
            plain.write_bytes(content)
            interpreter = mnn.Interpreter(str(plain))
    else:
        interpreter = mnn.Interpreter(str(path))
    # `high` keeps float32 on processors that can compute in float16.
    return interpreter, interpreter.createSession({"backend": "CPU", "numThread": threads, "precision": "high"})


def profile_mnn(path: Path, example: Tensor) -> KernelProfile:
    """Run a file on one thread and return the kernels that ran, from MNN's callbacks around each operator."""
    generator = MnnGenerator(path, threads=1)
    for _ in range(WARM_UP_CALLS):
        generator(example)
    return profile_of(generator.timed(example))
