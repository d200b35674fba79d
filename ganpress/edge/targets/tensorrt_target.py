"""TensorRT, the runtime of NVIDIA's GPUs and Jetson boards: ONNX files for its engine builder, in floats or int8."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ganpress.edge.targets.onnx_files_target import OnnxFilesTarget

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

    from ganpress.edge.proof.kernels import KernelProfile


class TensorRtTarget(OnnxFilesTarget):
    """Files `.trt.onnx`; `trtexec` builds an engine from one on the machine that will run it.

    For TensorRT's explicit quantization, `int8` has a symmetric pair of quantize and dequantize before each convolution
    and matrix product, with bounds chosen by ganpress's clipping.
    """

    name = "tensorrt"
    title = "TensorRT"
    devices = "NVIDIA GPUs and Jetson boards"
    suffix = ".trt.onnx"
    number_types = ("float32", "int8")
    int8_scheme = (
        "ganpress, static: weights symmetric per channel, activations symmetric per tensor, both clipped by mse, in "
        "front of convolutions and matrix products; sums, biases and all else in floats"
    )
    any_size_types = ("float32",)
    stand_in = "ONNX Runtime on the CPU"

    def _write(
        self,
        model: nn.Module,
        path: Path,
        example: Tensor,
        number_type: str,  # noqa: ARG002 - int8 if there is calibration, else float32
        calibration: Tensor | None,
    ) -> tuple[Path, ...]:
        from ganpress.edge.graphs.onnx_export import write_content
        from ganpress.edge.targets.tensorrt_graphs import tensorrt_content

        write_content(path, tensorrt_content(model, example, calibration))
        return (path,)

    def _kernels(self, path: Path, example: Tensor) -> KernelProfile:  # noqa: ARG002 - the graph tells the operators
        from ganpress.edge.targets.tensorrt_graphs import layers_of

        return layers_of(path)


TARGET = TensorRtTarget()
