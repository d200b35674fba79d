"""Converts ONNX graphs to OpenVINO's, in floats or quantized by NNCF."""

import logging
import re
import tempfile
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ganpress.basics.telemetry import switch_off
from ganpress.basics.whole_files import whole_files
from ganpress.edge.forms.openvino_form import unrounded_outputs
from ganpress.edge.forms.pixel_blocks import widen_outputs
from ganpress.edge.graphs.graph_writer import DrawnModule
from ganpress.edge.graphs.onnx_export import export_onnx
from ganpress.edge.layer_names import blame
from ganpress.edge.quiet import quiet
from ganpress.edge.targets.openvino_runtime import PRECISION_KEY
from ganpress.edge.targets.target import UnsupportedGenerator
from models.quantized_network import QuantizedNetwork

PRECISION_HINTS = {"float32": "f32", "bfloat16": "bf16", "int8": "f32"}
UNCONVERTED = re.compile(r"No conversion rule found for operations: (.*)")
ONNX_OPERATOR = re.compile(r"([A-Z]\w*)-\d+")
"""Pattern of an ONNX operator with the version of its definition, e.g. `Det-20`."""


def write_openvino(
    model: nn.Module, path: Path, example: Tensor, number_type: str, calibration: Tensor | None
) -> tuple[Path, ...]:
    """Write a generator in its form as `path` and the `.bin` beside it, quantized if there are calibration inputs.

    Raises:
        UnsupportedGenerator: if OpenVINO has no form for an operator.
    """
    import openvino

    if isinstance(model, QuantizedNetwork):
        model = unrounded_outputs(model)
    graph = _convert(widen_outputs(model, example), example)
    if calibration is not None:
        graph = _quantize(graph, calibration)
    graph.set_rt_info(PRECISION_HINTS[number_type], PRECISION_KEY)
    with whole_files(path, ".bin") as place:
        openvino.save_model(graph, place, compress_to_fp16=False)
    return (path, path.with_suffix(".bin"))


def _convert(model: nn.Module, example: Tensor) -> Any:
    """Read the generator's ONNX graph.

    Raises:
        UnsupportedGenerator: if OpenVINO has no form for an operator.
    """
    import openvino

    if isinstance(model, DrawnModule):  # the converter takes ten times as long for a single layer
        return openvino.Core().read_model(model.onnx_graph())
    with tempfile.TemporaryDirectory(prefix="ganpress-openvino-") as folder:
        path = Path(folder) / "generator.onnx"
        export_onnx(model, path, example)
        try:
            return openvino.convert_model(path)
        except Exception as error:  # the converter raises many types
            reason = _unconverted(model, example, str(error)) or " ".join(str(error).split())[:300]
            raise UnsupportedGenerator(f"OpenVINO cannot run {type(model).__name__}: {reason}") from None


def _unconverted(model: nn.Module, example: Tensor, message: str) -> str | None:
    """Return the first operator that cannot be converted, and its layer; None if the message names none."""
    listed = UNCONVERTED.search(message)
    operators = ONNX_OPERATOR.findall(listed[1]) if listed else []
    if not operators:
        return None
    torchs = " ".join("aten::" + re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower() for name in operators)
    return blame(model, example, torchs) or f"the operator {operators[0]}"


def _quantize(graph: Any, calibration: Tensor) -> Any:
    """Quantize weights and activations to 8 bits with NNCF, activations symmetric where possible.

    Ranges are estimated by histogram; the mean and max-min estimators cost 3 dB on generators with instance
    normalisation.
    """
    switch_off()
    import nncf
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    nncf.set_log_level(logging.ERROR)
    inputs = [calibration[place : place + 1].numpy() for place in range(len(calibration))]

    def quantized(corrected: bool) -> Any:
        advanced = nncf.AdvancedQuantizationParameters(
            activations_range_estimator_params=RangeEstimatorParametersSet.HISTOGRAM,
            disable_bias_correction=not corrected,
        )
        with quiet():
            return nncf.quantize(
                graph.clone(),
                nncf.Dataset(inputs),
                preset=nncf.QuantizationPreset.PERFORMANCE,
                subset_size=len(inputs),
                advanced_parameters=advanced,
            )

    try:
        return quantized(corrected=True)
    except ValueError:  # NNCF 3.4 treats the 1 in SPADE's x (1 + gamma) as a bias with one value per channel
        return quantized(corrected=False)
