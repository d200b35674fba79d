"""ONNX in QDQ form for neural processing units: 16-bit activations, 8-bit weights; run here by ONNX Runtime's CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ganpress.edge.graphs.onnx_format import INSIDE_PERCENT
from ganpress.edge.targets.onnx_files_target import OnnxFilesTarget

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn


ACTIVATION_BITS = {"a16w8": 16, "a8w8": 8}


class QnnTarget(OnnxFilesTarget):
    """Files `.qdq.onnx`, which a processor's toolchain compiles.

    The CPU decodes the quantized values and multiplies floats, which gives the same results. This verifies what the
    file computes, but says nothing about the speed of a processor. No such processor has run one of these files for
    this project.
    """

    name = "qnn"
    title = "QDQ for NPUs"
    devices = "NPUs whose toolchain takes QDQ graphs, such as Qualcomm Hexagon"
    suffix = ".qdq.onnx"
    number_types = ("float32", "a16w8", "a8w8")
    calibrated = tuple(ACTIVATION_BITS)
    opset = 21
    any_size_types = ("float32",)

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


TARGET = QnnTarget()
