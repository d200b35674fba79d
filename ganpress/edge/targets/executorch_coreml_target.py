"""ExecuTorch with its Core ML backend, the accelerators of Apple's phones and computers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ganpress.edge.targets.executorch_target import ExecuTorchTarget

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

    from ganpress.edge.forms.float_forms import Form
    from ganpress.edge.proof.kernels import KernelProfile
    from ganpress.edge.targets.mil_program import MilProgram
    from ganpress.metrics.scoring import Generate


class ExecuTorchCoreMlTarget(ExecuTorchTarget):
    """Files `.coreml.pte`: the whole network is one package of Core ML, for one input a call."""

    name = "executorch_coreml"
    title = "ExecuTorch on Core ML"
    devices = "iOS apps built with ExecuTorch (Core ML)"
    suffix = ".coreml.pte"
    number_types = ("float32", "float16")
    int8_scheme = ""
    packages = ("executorch", "torchao", "coremltools")
    install = "uv sync --extra executorch --extra coreml"
    stand_in = "ganpress's own operators of MIL on the CPU"

    def default_form(self, number_type: str) -> Form:  # noqa: ARG002 - nothing was measured on a device
        """See `Target.default_form`."""
        return "native"

    def _write(
        self,
        model: nn.Module,
        path: Path,
        example: Tensor,
        number_type: str,
        calibration: Tensor | None,  # noqa: ARG002 - nothing is rounded
    ) -> tuple[Path, ...]:
        from ganpress.edge.targets.coreml_delegate import partitioner
        from ganpress.edge.targets.executorch_delegates import write_delegated
        from ganpress.edge.targets.mil_program import quiet_coremltools

        with quiet_coremltools():
            make = partitioner(number_type)
            return write_delegated(model, path, example, make, self.title, rewritten=False)

    def _open(self, path: Path, threads: int) -> Generate:
        from ganpress.edge.targets.executorch_delegates import DelegatedGenerator

        def read(content: bytes) -> tuple[Generate, tuple[int, ...]]:
            program = _program(content)
            return program.run, program.shape

        return DelegatedGenerator(path, threads, read)

    def _kernels(self, path: Path, example: Tensor) -> KernelProfile:  # noqa: ARG002 - the program says it all
        from ganpress.edge.proof.kernels import profile_of
        from ganpress.edge.targets.mil_program import parts
        from ganpress.files.frames import read_content

        return profile_of(parts(_program(read_content(path))))


def _program(content: bytes) -> MilProgram:
    from ganpress.edge.targets.coreml_delegate import BACKEND, read_package
    from ganpress.edge.targets.executorch_delegates import read_delegate

    return read_package(read_delegate(content, BACKEND))


TARGET = ExecuTorchCoreMlTarget()
