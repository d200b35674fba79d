"""Float graphs in other number types: halves as they are stored, integers by ONNX Runtime's static quantization."""

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from ganpress.basics.telemetry import switch_off
from ganpress.edge.graphs.graph_writer import input_name
from ganpress.edge.graphs.onnx_export import graph_content
from ganpress.edge.graphs.onnx_format import INSIDE_PERCENT
from ganpress.edge.quiet import quiet


def half_content(model: nn.Module, example: Tensor) -> bytes:
    """Store the weights of a float graph as float16, cast to float32 where they are used.

    The runtime's CPU kernels compute in float32 either way; casting the constants alone halves the file, costs no
    precision in between and leaves nothing at run time, because the casts are folded when the file is loaded.
    (`onnxruntime.transformers.float16` casts activations, too, and gives an invalid graph for SPADE.)

    Raises:
        ConfigError: if the model cannot be written as ONNX.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    proto = onnx.load_from_string(graph_content(model, example))
    casts = []
    for one in list(proto.graph.initializer):
        if one.data_type != TensorProto.FLOAT or int(np.prod(one.dims)) < 2:
            continue
        limit = float(np.finfo(np.float16).max)
        half = numpy_helper.to_array(one).clip(-limit, limit).astype(np.float16)
        one.CopyFrom(numpy_helper.from_array(half, f"{one.name}h"))
        casts.append(helper.make_node("Cast", [one.name], [one.name[:-1]], to=TensorProto.FLOAT))
    nodes = [*casts, *proto.graph.node]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    onnx.checker.check_model(proto)
    content: bytes = proto.SerializeToString(deterministic=True)
    return content


def integer_content(model: nn.Module, example: Tensor, calibration: Tensor) -> bytes:
    """Quantize a float graph by ONNX Runtime: unsigned activations by percentile, signed weights per channel.

    Pairs of quantize and dequantize around each operator; other formats and number types lose operators or have no
    kernels on x86 (signed activations run at a tenth of the speed).

    Args:
        model: a generator without transposed convolutions, which would stay in floats.
        example: inputs (N, …).
        calibration: inputs (n, …).

    Raises:
        ConfigError: if the model cannot be written as ONNX.
    """
    switch_off()
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    proto = onnx.load_from_string(graph_content(model, example))
    with tempfile.TemporaryDirectory(prefix="ganpress-quantize-") as folder, quiet(logging.ERROR):
        result = Path(folder) / "generator.onnx"
        quantize_static(
            proto,
            str(result),
            CalibrationInputs(input_name(example), calibration),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.Percentile,
            extra_options={"CalibPercentile": INSIDE_PERCENT},
        )
        quantized = onnx.load(result)
    del quantized.graph.value_info[:]
    _keep_norms_in_floats_(quantized)
    content: bytes = quantized.SerializeToString(deterministic=True)
    return content


def _keep_norms_in_floats_(proto: Any) -> None:
    """Store scales and biases of instance normalisations as the floats that their codes stand for.

    No kernel reads the codes; and where two are equal, ONNX Runtime's rewriting of signed codes to unsigned ones, which
    exact sums need, meets its own name a second time and refuses the file.
    """
    from onnx import numpy_helper

    constants = {one.name: one for one in proto.graph.initializer}
    readers: dict[str, set[str]] = {}
    for node in proto.graph.node:
        for name in node.input:
            readers.setdefault(name, set()).add(node.op_type)
    for node in list(proto.graph.node):
        kept = node.op_type == "DequantizeLinear" and set(node.input) <= set(constants)
        if kept and readers.get(node.output[0]) == {"InstanceNormalization"}:
            codes, scale, zero = (numpy_helper.to_array(constants[name]) for name in node.input)
            values = (codes.astype(np.float32) - zero.astype(np.float32)) * scale
            proto.graph.initializer.append(numpy_helper.from_array(values, node.output[0]))
            proto.graph.node.remove(node)
    used = {name for node in proto.graph.node for name in node.input}
    for one in [one for one in proto.graph.initializer if one.name not in used]:
        proto.graph.initializer.remove(one)


class CalibrationInputs:
    """What ONNX Runtime's calibration reads, one input at a time."""

    def __init__(self, name: str, inputs: Tensor) -> None:
        self._feeds: Iterator[dict[str, Any]] = ({name: one[None].numpy()} for one in inputs)

    def get_next(self) -> dict[str, Any] | None:
        return next(self._feeds, None)
