"""ncnn on the CPU, a runtime for phones: float32, and float16 on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ganpress.edge.targets.target import Target

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

    from ganpress.edge.forms.float_forms import Form
    from ganpress.edge.proof.kernels import KernelProfile
    from ganpress.metrics.scoring import Generate


class NcnnTarget(Target):
    """Files `.param`, which are text, with their weights in `.bin`.

    ncnn's arrays have no batch axis, so inputs are run one at a time. There is no `int8`, because its quantizer is not
    part of its Python packages.
    """

    name = "ncnn"
    title = "ncnn"
    devices = "Android and iOS, boards with ARM CPUs, without further libraries"
    suffix = ".param"
    beside = (".bin",)
    number_types = ("float32", "float16")
    widens = False
    int8_scheme = ""
    packages = ("ncnn", "pnnx")
    install = "uv sync --extra ncnn"

    def default_form(self, number_type: str) -> Form:  # noqa: ARG002 - halves are decoded when the file is loaded
        """See `Target.default_form`."""
        return "native"

    def _write(
        self,
        model: nn.Module,
        path: Path,
        example: Tensor,
        number_type: str,
        calibration: Tensor | None,  # noqa: ARG002 - only for int8
    ) -> tuple[Path, ...]:
        from ganpress.edge.targets.ncnn_conversion import write_ncnn

        return write_ncnn(model, path, example, halves=number_type == "float16")

    def _open(self, path: Path, threads: int) -> Generate:
        from ganpress.edge.targets.ncnn_runtime import NcnnGenerator

        return NcnnGenerator(path, threads)

    def _kernels(self, path: Path, example: Tensor) -> KernelProfile:
        from ganpress.edge.targets.ncnn_runtime import NcnnGenerator

        generator = NcnnGenerator(path, threads=1)
        generator(example)
        return generator.profile()


TARGET = NcnnTarget()
