"""TensorRT, the runtime of NVIDIA's GPUs and Jetson boards: ONNX files that it builds engines of, in floats or int8."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ganpress.edge.targets.onnx_files_target import OnnxFilesTarget

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

    from ganpress.edge.proof.kernels import KernelProfile


class TensorRtTarget(OnnxFilesTarget):
    """Files `.trt.onnx`; `trtexec` builds an engine of one on the machine that is to run it.

    `int8` has a pair of quantize and dequantize, symmetric, in front of each convolution and matrix product, at bounds
    that ganpress's clipping chose, as TensorRT wants explicit quantization.
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
        number_type: str,  # noqa: ARG002 - float32 or int8, which the calibration tells
        calibration: Tensor | None,
    ) -> tuple[Path, ...]:
        from ganpress.edge.graphs.onnx_export import write_content
        from ganpress.edge.targets.tensorrt_graphs import tensorrt_content

        write_content(path, tensorrt_content(model, example, calibration))
        return (path,)

    def _kernels(self, path: Path, example: Tensor) -> KernelProfile:  # noqa: ARG002 - the graph says it all
        from ganpress.edge.targets.tensorrt_graphs import layers_of

        return layers_of(path)


TARGET = TensorRtTarget()
