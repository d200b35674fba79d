"""Converts float graphs to the QDQ form that compilers for neural processing units take, with ONNX Runtime's QNN
settings.

Pairs of quantize and dequantize surround every operator, instance normalisations included, because such a processor
computes all of them on quantized values. 16-bit activations need operator set 21.
"""

import logging
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from ganpress.basics.telemetry import switch_off
from ganpress.edge.graphs.graph_editing import array_of, constant, graph_bytes, read_graph
from ganpress.edge.graphs.graph_writer import input_name
from ganpress.edge.graphs.onnx_export import graph_content
from ganpress.edge.graphs.onnx_format import INSIDE_PERCENT
from ganpress.edge.graphs.onnx_numbers import CalibrationInputs
from ganpress.edge.graphs.qdq_weights import decoded_constants, weight_overrides, with_careful_weights
from ganpress.edge.quiet import quiet

OPSET = 21
"""The first operator set whose QuantizeLinear and DequantizeLinear support 16 bits."""

HEADROOM = 2.0
"""Factor from the range that calibration saw to the range of 16-bit activations."""
BOUNDED = ("Tanh", "Sigmoid")


def float_content(model: nn.Module, example: Tensor) -> bytes:
    """Return the float graph in `OPSET`, whose operators compute the same as those of the previous set.

    Raises:
        ConfigError: if the model cannot be written as ONNX.
    """
    import onnx

    proto = onnx.load_from_string(graph_content(model, example))
    for one in proto.opset_import:
        if one.domain in ("", "ai.onnx"):
            one.version = OPSET
    onnx.checker.check_model(proto)
    content: bytes = proto.SerializeToString(deterministic=True)
    return content


def qdq_content(model: nn.Module, example: Tensor, calibration: Tensor, activation_bits: int) -> bytes:
    """Quantize a generator: signed 8-bit weights per channel, unsigned activations per tensor.

    Ranges of 16-bit activations are `HEADROOM` times as wide as the values in calibration: this costs one bit of
    sixteen, and other inputs are not clipped. Ranges of 8-bit activations exclude the outermost values, as `int8` of
    ONNX Runtime does, because 8 bits have few codes.

    Args:
        model: a generator.
        example: inputs (N, …).
        calibration: inputs (n, …).
        activation_bits: 8 or 16.

    Raises:
        ConfigError: if the model cannot be written as ONNX.
    """
    switch_off()
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantType, quantize
    from onnxruntime.quantization.execution_providers.qnn import get_qnn_qdq_config

    content, scales = decoded_constants(float_content(with_careful_weights(model, calibration), example))
    proto, overrides = onnx.load_from_string(content), weight_overrides(scales)
    wide, name = activation_bits == 16, input_name(example)
    with tempfile.TemporaryDirectory(prefix="ganpress-quantize-") as folder, quiet(logging.ERROR):
        result = Path(folder) / "generator.onnx"
        ranges = _wide_ranges(proto, CalibrationInputs(name, calibration), Path(folder)) if wide else {}
        config = get_qnn_qdq_config(
            proto,
            CalibrationInputs(name, calibration[:1] if wide else calibration),
            calibrate_method=CalibrationMethod.MinMax if wide else CalibrationMethod.Percentile,
            activation_type=QuantType.QUInt16 if wide else QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            init_overrides={**overrides, **{one: [{"rmin": low, "rmax": high}] for one, (low, high) in ranges.items()}},
        )
        config.extra_options["CalibPercentile"] = INSIDE_PERCENT
        quantize(proto, str(result), config)
        return _with_unsigned_scales(result.read_bytes())


def _wide_ranges(proto: Any, inputs: CalibrationInputs, folder: Path) -> dict[str, tuple[Any, Any]]:
    """Return the smallest and largest value of each activation over all inputs, multiplied by `HEADROOM`.

    The results of tanh and sigmoid are left out, because their bounds are known.
    """
    from onnxruntime.quantization import CalibrationMethod
    from onnxruntime.quantization.calibrate import create_calibrator

    plain, place = folder / "plain.onnx", str(folder / "calibrated.onnx")
    plain.write_bytes(proto.SerializeToString())
    calibrator = create_calibrator(plain, augmented_model_path=place, calibrate_method=CalibrationMethod.MinMax)
    calibrator.collect_data(inputs)
    bounded = {name for node in proto.graph.node if node.op_type in BOUNDED for name in node.output}
    found = {name: one.range_value for name, one in calibrator.compute_data().data.items() if name not in bounded}
    wide = {name: [np.float32(HEADROOM * np.asarray(end).item()) for end in ends] for name, ends in found.items()}
    return {name: (low, high) for name, (low, high) in wide.items()}


def _with_unsigned_scales(content: bytes) -> bytes:
    """Store scales of instance normalisations as unsigned codes with the same values.

    Processors accept both. ONNX Runtime with exact sums rewrites signed codes to unsigned ones by itself; if two
    normalisations have equal codes, it uses the same name twice and refuses the file.
    """
    model = read_graph(content)
    for node in [one for one in model.graph if one.op_type == "InstanceNormalization"]:
        scale = node.inputs[1]
        decoder = None if scale is None else scale.producer()
        for place in (0, 2) if decoder is not None else ():
            assert decoder is not None  # there are no places without a decoder
            codes = array_of(decoder.inputs[place])
            if codes is not None and codes.dtype == np.int8:
                unsigned = (codes.astype(np.int16) + 128).astype(np.uint8)
                decoder.replace_input_with(place, constant(model.graph, unsigned))
    return graph_bytes(model)
