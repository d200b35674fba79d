"""Prepares ONNX graphs for TensorRT: checks them against its list of operators, and quantizes them explicitly.

TensorRT's rules for explicit quantization: int8, zero points of 0, one scale per tensor for activations and one per
channel for weights. Its list of operators: `docs/operators.md` of github.com/onnx/onnx-tensorrt, for TensorRT 10.15,
operator sets 9 to 24.
"""

import re
import struct
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ganpress.basics.telemetry import switch_off
from ganpress.compression.ranges.clipping import clip
from ganpress.compression.ranges.histograms import Histogram, Ranges, ranges_of
from ganpress.edge.graphs.graph_editing import array_of, constant, graph_bytes, insert, read_graph
from ganpress.edge.graphs.graph_writer import input_name
from ganpress.edge.graphs.onnx_export import graph_content
from ganpress.edge.layer_names import blame
from ganpress.edge.onnx_runtime import session_options
from ganpress.edge.proof.kernels import KernelProfile, profile_of
from ganpress.edge.targets.target import UnsupportedGenerator
from ganpress.files.onnx_files import read_onnx

KNOWN = frozenset(
    """
    Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh Attention AveragePool BatchNormalization BlackmanWindow
    Cast CastLike Ceil Celu Clip Concat Constant ConstantOfShape Conv ConvTranspose Cos Cosh CumSum DeformConv
    DepthToSpace DequantizeLinear Div Dropout Einsum Elu Equal Erf Exp Expand EyeLike Flatten Floor Gather
    GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool Greater GreaterOrEqual GridSample
    GroupNormalization GRU HammingWindow HannWindow HardSigmoid HardSwish Hardmax Identity If InstanceNormalization
    IsInf IsNaN LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax Loop LRN LSTM LpNormalization LpPool MatMul
    Max MaxPool Mean MeanVarianceNormalization Min Mish Mod Mul Neg NonMaxSuppression NonZero Not OneHot Or Pad Pow
    PRelu QuantizeLinear RandomNormal RandomNormalLike RandomUniform RandomUniformLike Range Reciprocal ReduceL1
    ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu
    Reshape Resize ReverseSequence RMSNormalization RNN RoiAlign RotaryEmbedding Round STFT Scan ScatterElements
    ScatterND Selu Shape Shrink Sigmoid Sign Sin Sinh Size Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt
    Squeeze Sub Sum Tan Tanh TensorScatter ThresholdedRelu Tile TopK Transpose Trilu Unsqueeze Upsample Where Xor
    """.split()  # noqa: SIM905 - a list would take a line for each
)
"""Operators that TensorRT 10.15 has."""
WAYS: Mapping[tuple[str, str], frozenset[str]] = {
    ("Resize", "mode"): frozenset({"nearest", "linear"}),
    ("Resize", "coordinate_transformation_mode"): frozenset(
        {"half_pixel", "pytorch_half_pixel", "tf_half_pixel_for_nn", "asymmetric", "align_corners"}
    ),
    ("Resize", "nearest_mode"): frozenset({"floor", "ceil", "round_prefer_floor", "round_prefer_ceil"}),
}
"""Values of an operator's attribute that TensorRT supports, if it does not support all of the standard's."""
CHANNEL_AXES: Mapping[str, int] = {"Conv": 0, "ConvTranspose": 1, "Gemm": 0, "MatMul": 1}
"""Operators that are quantized -> the channel axis of their weights."""
BITS, HIGHEST = 8, 127
CALIBRATION_BATCH = 8


def tensorrt_content(model: nn.Module, example: Tensor, calibration: Tensor | None) -> bytes:
    """Write a generator in its form, quantized if there are calibration inputs.

    Args:
        model: a generator in floats.
        example: inputs (N, …).
        calibration: inputs (n, …); None writes floats.

    Raises:
        UnsupportedGenerator: if TensorRT does not support an operator.
        ConfigError: if the generator cannot be written as ONNX.
    """
    import onnx

    content = graph_content(model, example)
    lacking = next(_lacking(onnx.load_from_string(content)), None)
    if lacking is not None:
        torchs = "aten::" + re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", lacking.partition(" ")[0]).lower()
        reason = blame(model, example, torchs) or f"the operator {lacking}"
        raise UnsupportedGenerator(f"TensorRT cannot run {type(model).__name__}: it does not support {reason}")
    if calibration is not None:
        content = _quantized(content, calibration, input_name(example))
    return content


def _lacking(proto: Any) -> Iterator[str]:
    """Yield the operators, or ways to call one, that TensorRT does not support."""
    for node in proto.graph.node:
        if node.op_type not in KNOWN or node.domain not in ("", "ai.onnx"):
            yield node.op_type
        for one in node.attribute:
            allowed = WAYS.get((node.op_type, one.name))
            if allowed is not None and one.s.decode() not in allowed:
                yield f"{node.op_type} with {one.name} '{one.s.decode()}'"


def _quantized(content: bytes, calibration: Tensor, source: str) -> bytes:
    """Quantize the inputs of each convolution and matrix product with constant weights; biases stay floats."""
    model = read_graph(content)
    graph: Any = model.graph
    layers = [node for node in graph if _has_weights(node)]
    scales = _activation_scales(
        content, list(dict.fromkeys(str(one.inputs[0].name) for one in layers)), calibration, source
    )
    decoded: dict[Any, Any] = {}
    for node in layers:
        data, weights = node.inputs[:2]
        if data not in decoded:
            parameters = [constant(graph, one) for one in (scales[data.name], np.array(0, np.int8))]
            codes = insert(node, "QuantizeLinear", data, *parameters)
            decoded[data] = insert(node, "DequantizeLinear", codes, *parameters)
        if weights not in decoded:
            axis = _channel_axis(node)
            codes_of, scale = _weight_codes(np.asarray(array_of(weights)), axis)
            given = [constant(graph, one) for one in (codes_of, scale, np.zeros(len(scale), np.int8))]
            decoded[weights] = insert(node, "DequantizeLinear", *given, attributes={"axis": axis})
        node.replace_input_with(0, decoded[data])
        node.replace_input_with(1, decoded[weights])
    return graph_bytes(model)


def _has_weights(node: Any) -> bool:
    return node.op_type in CHANNEL_AXES and array_of(node.inputs[0]) is None and array_of(node.inputs[1]) is not None


def _channel_axis(node: Any) -> int:
    """Return the channel axis of the constant weights."""
    transposed = node.attributes.get_int("transB", 0)
    axis = CHANNEL_AXES[node.op_type]
    return axis if node.op_type != "Gemm" or transposed else 1  # a matrix that is not transposed


def _weight_codes(weights: NDArray[Any], axis: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Quantize weights with one scale per channel, clipped at the bounds of least squared error."""
    flat = torch.from_numpy(np.moveaxis(weights, axis, 0).reshape(weights.shape[axis], -1).copy())
    found = clip(Histogram.of(flat, ranges_of(flat).balanced()), BITS, "mse", symmetric=True).high
    scale = torch.where(found > 0, found / HIGHEST, 1.0).numpy().astype(np.float32)
    by_axis = scale.reshape([-1 if place == axis else 1 for place in range(weights.ndim)])
    return np.clip(np.rint(weights / by_axis), -HIGHEST, HIGHEST).astype(np.int8), scale


def _activation_scales(
    content: bytes, read: list[str], calibration: Tensor, source: str
) -> dict[str, NDArray[np.float32]]:
    """Return the scale of each tensor that a layer reads, at the bounds of least squared error over all inputs."""
    switch_off()
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper

    watched = onnx.load_from_string(content)
    inner = [name for name in read if name != source]
    watched.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in inner)
    session = onnxruntime.InferenceSession(
        watched.SerializeToString(), session_options(1), providers=["CPUExecutionProvider"]
    )

    def values() -> Iterator[dict[str, Tensor]]:
        for batch in torch.split(calibration, CALIBRATION_BATCH):
            found = session.run(inner, {source: batch.numpy()})
            yield {source: batch, **dict(zip(inner, map(torch.from_numpy, found), strict=True))}

    ranges: dict[str, Ranges] = {}
    for one in values():
        for name in read:
            seen = ranges_of(one[name].reshape(1, -1)).balanced()
            ranges[name] = ranges[name].merged(seen) if name in ranges else seen
    histograms: dict[str, Histogram] = {}
    for one in values():
        for name in read:
            counted = Histogram.of(one[name].reshape(1, -1), ranges[name])
            histograms[name] = histograms[name].merged(counted) if name in histograms else counted
    bounds = {name: float(clip(one, BITS, "mse", symmetric=True).high) for name, one in histograms.items()}
    return {name: np.array(bound / HIGHEST if bound > 0 else 1.0, np.float32) for name, bound in bounds.items()}


def layers_of(path: Path) -> KernelProfile:
    """Return the operators of a file with the requested number types; TensorRT itself chooses the kernels."""
    import onnx

    graph = onnx.load_from_string(read_onnx(path)).graph
    decoded = {node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    return profile_of(
        (
            node.op_type,
            "int8" if set(node.input[:2]) <= decoded else "float32",
            node.op_type in CHANNEL_AXES,
            None,
        )
        for node in graph.node
    )


def calibration_table(path: Path) -> str:
    """Return the activation scales of an int8 file as a TensorRT calibration cache, for builds with implicit
    quantization.

    Each line holds a tensor's name and the bits of its float32 scale in hexadecimal digits. The first line names
    TensorRT's version; other versions refuse the cache.
    """
    import onnx
    from onnx import numpy_helper

    graph = onnx.load_from_string(read_onnx(path)).graph
    constants = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    lines = [
        f"{node.input[0]}: {struct.pack('>f', float(constants[node.input[1]])).hex()}"
        for node in graph.node
        if node.op_type == "QuantizeLinear"
    ]
    return "\n".join(["TRT-8601-EntropyCalibration2", *lines]) + "\n"


if __name__ == "__main__":
    sys.stdout.write(calibration_table(Path(sys.argv[1])))
