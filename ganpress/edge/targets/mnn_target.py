"""MNN on the CPU, a runtime for phones: float32, float16 or 8-bit weights on disk, and integers by its quantizer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ganpress.edge.targets.target import Target

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

    from ganpress.edge.forms.float_forms import Form
    from ganpress.edge.proof.kernels import KernelProfile
    from ganpress.metrics.scoring import Generate


class MnnTarget(Target):
    """Files `.mnn`, converted from ONNX graphs.

    `int8_weights` stores the weights in 8 bits and decodes them when the file is loaded; it needs no calibration
    inputs. `int8` multiplies integers. MNN computes transposed convolutions in floats in any case, so `int8` takes
    their sub-pixel form. That form is also more exact, because MNN rounds its weights per output channel, and those of
    a transposed convolution per input channel.
    """

    name = "mnn"
    title = "MNN"
    devices = "Android and iOS, ARM and x86 CPUs"
    suffix = ".mnn"
    number_types = ("float32", "float16", "int8_weights", "int8")
    int8_scheme = "MNN, static: weights symmetric per channel by MAX_ABS, activations symmetric per tensor by KL"
    packages = ("mnn",)
    install = "uv sync --extra mnn"
    reads_onnx = True

    def default_form(self, number_type: str) -> Form:
        """See `Target.default_form`."""
        return "subpixel" if number_type == "int8" else "native"

    def _write(
        self, model: nn.Module, path: Path, example: Tensor, number_type: str, calibration: Tensor | None
    ) -> tuple[Path, ...]:
        from ganpress.edge.targets.mnn_conversion import write_mnn

        return write_mnn(model, path, example, number_type, calibration)

    def _open(self, path: Path, threads: int) -> Generate:
        from ganpress.edge.targets.mnn_runtime import MnnGenerator

        return MnnGenerator(path, threads)

    def _kernels(self, path: Path, example: Tensor) -> KernelProfile:
        from ganpress.edge.targets.mnn_runtime import profile_mnn

        return profile_mnn(path, example)


TARGET = MnnTarget()
