"""Converts float graphs to other number types: float16 storage, and integers by ONNX Runtime's static quantization."""

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from ganpress.basics.telemetry import switch_off
from ganpress.edge.graphs.graph_editing import array_of, constant, graph_bytes, insert, read_graph, replace
from ganpress.edge.graphs.graph_writer import input_name
from ganpress.edge.graphs.onnx_export import graph_content
from ganpress.edge.graphs.onnx_format import INSIDE_PERCENT
from ganpress.edge.quiet import quiet


def half_content(model: nn.Module, example: Tensor) -> bytes:
    """Store the weights of a float graph as float16 and cast them to float32 where they are used.

    The runtime's CPU kernels compute in float32 either way. Casting only the constants halves the file, loses no
    precision in between and costs nothing at run time, because the casts are folded when the file is loaded.
    (`onnxruntime.transformers.float16` also casts activations, and produces an invalid graph for SPADE.)

    Raises:
        ConfigError: if the model cannot be written as ONNX.
    """
    from onnx import TensorProto

    graph_model = read_graph(graph_content(model, example))
    graph, limit = graph_model.graph, float(np.finfo(np.float16).max)
    for value in list(graph.initializers.values()):
        array = array_of(value)
        if array is not None and array.dtype == np.float32 and array.size > 1:
            half = constant(graph, array.clip(-limit, limit).astype(np.float16))
            replace(value, insert(graph[0], "Cast", half, attributes={"to": int(TensorProto.FLOAT)}))
    return graph_bytes(graph_model)


def integer_content(model: nn.Module, example: Tensor, calibration: Tensor) -> bytes:
    """Quantize a float graph with ONNX Runtime: unsigned activations by percentile, signed weights per channel.

    The graph has pairs of quantize and dequantize (QDQ) around each operator. Other formats and number types lose
    operators or have no kernels on x86 (signed activations run at a tenth of the speed).

    Args:
        model: a generator without transposed convolutions, because these would stay in floats.
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
        return _with_norms_in_floats(result.read_bytes())


def _with_norms_in_floats(content: bytes) -> bytes:
    """Store scales and biases of instance normalisations as floats, with the values of their codes.

    No kernel reads these codes. And if two of them are equal, ONNX Runtime refuses the file: it rewrites signed codes
    to unsigned ones, which exact sums need, and uses the same name twice.
    """
    model = read_graph(content)
    for node in [one for one in model.graph if one.op_type == "DequantizeLinear"]:
        given = [array_of(value) for value in node.inputs]
        readers = {reader.op_type for reader in node.outputs[0].consumers()}
        if readers == {"InstanceNormalization"} and all(one is not None for one in given):
            codes, scale, zero = (np.asarray(one, np.float32) for one in given)
            replace(node.outputs[0], constant(model.graph, (codes - zero) * scale))
    return graph_bytes(model)


class CalibrationInputs:
    """Gives inputs to ONNX Runtime's calibration, one at a time."""

    def __init__(self, name: str, inputs: Tensor) -> None:
        self._feeds: Iterator[dict[str, Any]] = ({name: one[None].numpy()} for one in inputs)

    def get_next(self) -> dict[str, Any] | None:
        return next(self._feeds, None)
