"""OpenVINO on the CPU: float32, bfloat16 if the processor has it, and integers by NNCF."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ganpress.edge.targets.target import Target

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

    from ganpress.edge.forms.float_forms import Form
    from ganpress.edge.proof.kernels import KernelProfile
    from ganpress.metrics.scoring import Generate


class OpenVinoTarget(Target):
    """Files `.xml` with their weights in `.bin`.

    Transposed convolutions are kept, because OpenVINO computes them in integers faster than their sub-pixel form. In
    bfloat16 it does not, so the sub-pixel form is the default there. A generator that ganpress quantized layer by layer
    is written in its own integers, see `ganpress.edge.forms.openvino_form`.
    """

    name = "openvino"
    title = "OpenVINO"
    devices = "Intel CPUs"
    suffix = ".xml"
    beside = (".bin",)
    number_types = ("float32", "bfloat16", "int8")
    int8_scheme = "NNCF, static: weights symmetric per channel, activations by histogram, preset performance"
    packages = ("openvino", "nncf")
    install = "uv sync --extra openvino"
    reads_onnx = True
    mismatch_advice = (
        "OpenVINO's sums of 8-bit products overflow on x86 processors without VNNI: use weight_bits 7 there"
    )

    def default_form(self, number_type: str) -> Form:
        """See `Target.default_form`."""
        return "subpixel" if number_type == "bfloat16" else "native"

    def can_keep(self, model: nn.Module) -> bool:
        """See `Target.can_keep`."""
        from models.quantized_network import QuantizedNetwork

        return isinstance(model, QuantizedNetwork)

    def _write(
        self, model: nn.Module, path: Path, example: Tensor, number_type: str, calibration: Tensor | None
    ) -> tuple[Path, ...]:
        from ganpress.edge.targets.openvino_conversion import write_openvino

        return write_openvino(model, path, example, number_type, calibration)

    def _open(self, path: Path, threads: int) -> Generate:
        from ganpress.edge.targets.openvino_runtime import OpenVinoGenerator

        return OpenVinoGenerator(path, threads)

    def _kernels(self, path: Path, example: Tensor) -> KernelProfile:
        from ganpress.edge.targets.openvino_runtime import profile_openvino

        return profile_openvino(path, example)


TARGET = OpenVinoTarget()
