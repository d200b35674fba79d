"""LiteRT (formerly TensorFlow Lite) on the CPU, the runtime of Android: floats, and integers by its own quantizer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ganpress.edge.targets.target import Target

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

    from ganpress.edge.forms.float_forms import Form
    from ganpress.edge.proof.kernels import KernelProfile
    from ganpress.metrics.scoring import Generate


class LiteRtTarget(Target):
    """Files `.tflite`, which take one input per call.

    LiteRT does not support some transposed convolutions, and none in integers with one scale per channel, so all are
    written in their sub-pixel form. The runtime is a package in ganpress's environment; the converter gets
    its own, see `ganpress.edge.targets.litert_environment`.
    """

    name = "litert"
    title = "LiteRT"
    devices = "Android, and boards with Linux on the CPU (XNNPACK)"
    suffix = ".tflite"
    number_types = ("float32", "int8_dynamic", "int8")
    widens = False
    int8_scheme = "AI Edge Quantizer, static: weights symmetric per channel, activations asymmetric per tensor, min-max"
    packages = ("ai-edge-litert",)
    install = "uv sync --extra litert"

    def default_form(self, number_type: str) -> Form:  # noqa: ARG002 - the same for all
        """See `Target.default_form`."""
        return "subpixel"

    def _write(
        self, model: nn.Module, path: Path, example: Tensor, number_type: str, calibration: Tensor | None
    ) -> tuple[Path, ...]:
        from ganpress.edge.targets.litert_conversion import write_litert

        return write_litert(model, path, example, number_type, calibration)

    def _open(self, path: Path, threads: int) -> Generate:
        from ganpress.edge.targets.litert_runtime import LiteRtGenerator

        return LiteRtGenerator(path, threads)

    def _kernels(self, path: Path, example: Tensor) -> KernelProfile:  # noqa: ARG002 - the file tells the operators
        from ganpress.edge.targets.litert_runtime import profile_litert

        return profile_litert(path)


TARGET = LiteRtTarget()
