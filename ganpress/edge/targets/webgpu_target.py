"""ONNX Runtime Web on WebGPU, the browser's interface to the GPU: float32, and float16 on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ganpress.edge.targets.onnx_files_target import OnnxFilesTarget

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn


class WebGpuTarget(OnnxFilesTarget):
    """Files `.web.onnx`, which the page of `ganpress demo` runs on WebGPU, or on WebAssembly if the browser has no
    WebGPU.

    Integers are not offered, because WebGPU has no kernels for them. float16 is decoded when the file is loaded.
    """

    name = "webgpu"
    title = "ONNX Runtime Web on WebGPU"
    devices = "browsers on their GPU"
    suffix = ".web.onnx"
    number_types = ("float32", "float16")
    calibrated = ()
    any_size_types = ("float32", "float16")
    web_providers = ("webgpu", "wasm")
    stand_in = "ONNX Runtime on the CPU"

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


TARGET = WebGpuTarget()
