"""Runs a `.pte` file as a generator."""

import importlib.metadata
import re
import sys
from pathlib import Path

import torch
from torch import Tensor

from ganpress.edge.onnx_runtime import as_float32, fixed_sizes
from ganpress.edge.proof.kernels import KernelProfile
from ganpress.edge.quiet import quiet
from ganpress.edge.targets.executorch_profile import read_profile
from ganpress.edge.targets.first_trial import is_sound, require_trial
from ganpress.errors import CheckpointError, shown
from ganpress.files.frames import is_frame, read_content

NO_KERNEL = "error: 0x:14"
"""ExecuTorch's error code for a program with an operator that this version does not have (`OperatorMissing`)."""
OPERATOR = re.compile(rb"\b\w+::\w+")
"""Pattern of an operator's name in a program's bytes, e.g. `aten::cumsum`."""


class ExecuTorchGenerator:
    """Latents (N, Z) or pictures (N, C, H, W) -> images (N, C, H, W), float32, computed by ExecuTorch on the CPU."""

    def __init__(self, path: Path, threads: int = 1, profile: bool = False) -> None:
        """Load the file.

        Args:
            path: a `.pte` file, plain or packed.
            threads: number of threads. ExecuTorch has one pool for the whole process; the file opened last decides.
            profile: whether the time of each kernel is recorded.

        Raises:
            CheckpointError: if the file is missing, damaged, or not a generator.
        """
        if not path.exists():
            raise CheckpointError(f"{path} does not exist; export the generator first")
        require_trial(path, "ExecuTorch", __name__)
        source = read_content(path) if is_frame(path) else path
        with quiet():
            from executorch.extension.pybindings.portable_lib import _unsafe_reset_threadpool
            from executorch.runtime import Runtime

            _unsafe_reset_threadpool(threads)
            try:
                self._program = Runtime.get().load_program(source, enable_etdump=profile)
                self._method = self._program.load_method("forward")
                sizes = list(self._method.metadata.input_tensor_meta(0).sizes())
            except Exception as error:  # the runtime raises many types for damaged files
                raise _refusal(path, shown(" ".join(str(error).split()), 200)) from None
        self.path = path
        self.input_shape = fixed_sizes(sizes, path)
        self.largest_batch = max(1, sizes[0])
        """Largest batch of one call; larger batches are split."""

    def __call__(self, inputs: Tensor) -> Tensor:
        """Run a batch of any size, in parts if the program takes smaller ones.

        Raises:
            ConfigError: if `inputs` is not (N, *input_shape) with N >= 1.
        """
        values = torch.from_numpy(as_float32(inputs, self.input_shape, f"{self.path.name} takes"))
        starts = range(0, len(values), self.largest_batch)
        try:
            parts = [self._method.execute([values[start : start + self.largest_batch]])[0].clone() for start in starts]
        except Exception as error:  # the runtime raises many types for programs that it cannot compute
            reason = shown(" ".join(str(error).split()), 200)
            raise CheckpointError(f"{self.path} cannot be run by ExecuTorch: {reason}; export it again") from None
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def profile(self) -> KernelProfile:
        """Return the kernels of all calls so far."""
        return read_profile(self._program)


def known_operators() -> set[str]:
    """Return the names of the operators for which the installed runtime has a kernel, e.g. `aten::add.out`."""
    from executorch.runtime import Runtime

    with quiet():
        return set(Runtime.get().operator_registry.operator_names)


def attempt() -> None:
    """Open and run the program that the command line names, in the child process of a trial; exit code 1 if it
    fails.
    """
    path = Path(sys.argv[1])
    is_sound(read_content(path))
    try:
        generator = ExecuTorchGenerator(path)
        generator(torch.zeros(1, *generator.input_shape))
    except CheckpointError:
        raise SystemExit(1) from None  # the parent process reports it in one line


def _refusal(path: Path, reason: str) -> CheckpointError:
    if NO_KERNEL not in reason:
        return CheckpointError(f"{path} cannot be loaded by ExecuTorch: {reason}; export it again")
    known = {name.partition(".")[0] for name in known_operators()}
    unknown = sorted({name.decode() for name in OPERATOR.findall(read_content(path))} - known)
    return CheckpointError(
        f"{path} needs a kernel that executorch {importlib.metadata.version('executorch')} does not have: "
        f"{', '.join(unknown)}; `uv sync --upgrade-package executorch`, or export it again"
    )
