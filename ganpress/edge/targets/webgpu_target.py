"""ONNX Runtime Web on WebGPU, the browser's way to the graphics processor: floats, and halves on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ganpress.edge.graphs.onnx_format import OPSET
from ganpress.edge.targets.target import Target

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

    from ganpress.edge.forms.float_forms import Form
    from ganpress.edge.proof.kernels import KernelProfile
    from ganpress.metrics.scoring import Generate


class WebGpuTarget(Target):
    """Files `.web.onnx`, which the page of `ganpress demo` runs on WebGPU, or on WebAssembly where there is none.

    Integers are left out: WebGPU has no kernels for them. Halves are decoded when the file is loaded.
    """

    name = "webgpu"
    title = "ONNX Runtime Web on WebGPU"
    suffix = ".web.onnx"
    number_types = ("float32", "float16")
    calibrated = ()
    packages = ("onnxruntime", "onnx", "onnxscript")
    install = "uv sync"
    is_onnx = True
    opset = OPSET
    any_size_types = ("float32", "float16")
    web_providers = ("webgpu", "wasm")
    stand_in = "ONNX Runtime on the CPU"

    def default_form(self, number_type: str) -> Form:  # noqa: ARG002 - nothing was measured on a graphics processor
        """See `Target.default_form`."""
        return "native"

    def _write(
        self,
        model: nn.Module,
        path: Path,
        example: Tensor,
        number_type: str,
        calibration: Tensor | None,  # noqa: ARG002 - nothing is rounded to integers
    ) -> tuple[Path, ...]:
        from ganpress.edge.graphs.onnx_export import graph_content, write_content
        from ganpress.edge.graphs.onnx_numbers import half_content

        write_content(path, (half_content if number_type == "float16" else graph_content)(model, example))
        return (path,)

    def _open(self, path: Path, threads: int) -> Generate:
        from ganpress.edge.onnx_runtime import OnnxGenerator

        return OnnxGenerator(path, threads)

    def _kernels(self, path: Path, example: Tensor) -> KernelProfile:
        from ganpress.edge.proof.onnx_profile import profile_onnx

        return profile_onnx(path, example)


TARGET = WebGpuTarget()
