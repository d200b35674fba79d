"""ONNX Runtime on the CPU: float32, float16 on disk, and integers by its own static quantization."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ganpress.edge.graphs.onnx_format import INSIDE_PERCENT
from ganpress.edge.targets.onnx_files_target import OnnxFilesTarget

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

    from ganpress.edge.forms.float_forms import Form


class OnnxTarget(OnnxFilesTarget):
    """Files `.onnx`; a generator that ganpress quantized is written in its own integers.

    Floats are fastest with native transposed convolutions, integers with sub-pixel convolutions, because the runtime
    has no integer kernel for transposed convolutions.
    """

    name = "onnx"
    title = "ONNX Runtime"
    devices = "servers, desktops, Android and iOS on the CPU, browsers by WebAssembly"
    suffix = ".onnx"
    number_types = ("float32", "float16", "int8")
    int8_scheme = (
        "ONNX Runtime, static: weights symmetric per channel, activations asymmetric per tensor, "
        f"percentile {INSIDE_PERCENT}"
    )
    reads_onnx = True
    any_size_types = ("float32", "float16")

    def default_form(self, number_type: str) -> Form:
        """See `Target.default_form`."""
        return "subpixel" if number_type == "int8" else "native"

    def can_keep(self, model: nn.Module) -> bool:
        """See `Target.can_keep`."""
        from models.quantized_network import QuantizedNetwork

        return isinstance(model, QuantizedNetwork)

    def _write(
        self, model: nn.Module, path: Path, example: Tensor, number_type: str, calibration: Tensor | None
    ) -> tuple[Path, ...]:
        from ganpress.edge.graphs.onnx_export import export_onnx, write_content
        from ganpress.edge.graphs.onnx_numbers import half_content, integer_content

        if calibration is not None:
            write_content(path, integer_content(model, example, calibration))
        elif number_type == "float16":
            write_content(path, half_content(model, example))
        else:
            export_onnx(model, path, example)
        return (path,)


TARGET = OnnxTarget()
