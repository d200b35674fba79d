"""ExecuTorch with XNNPACK on the CPU, the runtime of phones: floats, and integers by torchao's PT2E quantization."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ganpress.edge.targets.target import Target

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

    from ganpress.edge.forms.float_forms import Form
    from ganpress.edge.proof.kernels import KernelProfile
    from ganpress.metrics.scoring import Generate


class ExecuTorchTarget(Target):
    """Files `.pte`, one program each."""

    name = "executorch"
    title = "ExecuTorch"
    devices = "Android and iOS apps on the CPU (XNNPACK)"
    suffix = ".pte"
    number_types: tuple[str, ...] = ("float32", "int8")
    widens = False
    int8_scheme = (
        "torchao PT2E: weights symmetric per channel, activations asymmetric per tensor, ranges static, "
        "or dynamic (of each image) if instance normalisations are between the layers"
    )
    packages: tuple[str, ...] = ("executorch", "torchao")
    install = "uv sync --extra executorch"

    def default_form(self, number_type: str) -> Form:
        """See `Target.default_form`."""
        return "native" if number_type == "int8" else "subpixel"

    def _write(
        self,
        model: nn.Module,
        path: Path,
        example: Tensor,
        number_type: str,  # noqa: ARG002 - int8 if there is calibration, else float32
        calibration: Tensor | None,
    ) -> tuple[Path, ...]:
        from ganpress.edge.targets.executorch_lowering import write_executorch

        return write_executorch(model, path, example, calibration)

    def _open(self, path: Path, threads: int) -> Generate:
        from ganpress.edge.targets.executorch_runtime import ExecuTorchGenerator

        return ExecuTorchGenerator(path, threads)

    def _kernels(self, path: Path, example: Tensor) -> KernelProfile:
        from ganpress.edge.targets.executorch_runtime import ExecuTorchGenerator

        generator = ExecuTorchGenerator(path, threads=1, profile=True)
        generator(example)
        return generator.profile()


TARGET = ExecuTorchTarget()
