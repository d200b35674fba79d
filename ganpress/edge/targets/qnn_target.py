"""ONNX in QDQ form for neural processing units: 16-bit activations, 8-bit weights; run here by ONNX Runtime's CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ganpress.edge.graphs.onnx_format import INSIDE_PERCENT
from ganpress.edge.targets.target import Target

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

    from ganpress.edge.forms.float_forms import Form
    from ganpress.edge.proof.kernels import KernelProfile
    from ganpress.metrics.scoring import Generate

ACTIVATION_BITS = {"a16w8": 16, "a8w8": 8}


class QnnTarget(Target):
    """Files `.qdq.onnx`, which the toolchain of a processor compiles.

    The CPU decodes the codes and multiplies floats, which gives the numbers that the codes stand for: proof of what the
    file computes, and none of how fast a processor is. No processor has run one of these files here.
    """

    name = "qnn"
    title = "QDQ for NPUs"
    suffix = ".qdq.onnx"
    number_types = ("float32", "a16w8", "a8w8")
    calibrated = tuple(ACTIVATION_BITS)
    packages = ("onnxruntime", "onnx", "onnxscript")
    install = "uv sync"
    is_onnx = True
    opset = 21
    any_size_types = ("float32",)

    def default_form(self, number_type: str) -> Form:  # noqa: ARG002 - the same for all
        """See `Target.default_form`; rounded, transposed convolutions are sub-pixel ones in either form."""
        return "native"

    def bits(self, number_type: str) -> tuple[int, int]:
        """See `Target.bits`."""
        return 8, ACTIVATION_BITS[number_type]

    def scheme(self, number_type: str) -> str:
        """See `Target.scheme`."""
        inside = "full range" if ACTIVATION_BITS[number_type] == 16 else f"percentile {INSIDE_PERCENT}"
        return (
            "ONNX Runtime's QDQ settings for QNN: weights symmetric per channel, rounded with compensation; "
            f"activations asymmetric per tensor, {inside}; run on the CPU, not on an NPU"
        )

    def _write(
        self, model: nn.Module, path: Path, example: Tensor, number_type: str, calibration: Tensor | None
    ) -> tuple[Path, ...]:
        from ganpress.edge.graphs.onnx_export import write_content
        from ganpress.edge.graphs.qdq_numbers import float_content, qdq_content

        if calibration is None:
            write_content(path, float_content(model, example))
        else:
            write_content(path, qdq_content(model, example, calibration, ACTIVATION_BITS[number_type]))
        return (path,)

    def _open(self, path: Path, threads: int) -> Generate:
        from ganpress.edge.onnx_runtime import OnnxGenerator

        return OnnxGenerator(path, threads)

    def _kernels(self, path: Path, example: Tensor) -> KernelProfile:
        from ganpress.edge.proof.onnx_profile import profile_onnx

        return profile_onnx(path, example)


TARGET = QnnTarget()
