"""Weights of QDQ files: ganpress rounds each so that it compensates the errors of those before, and they are kept
unchanged.

Where 16 bits hold the activations, the rounding of the weights is all that is lost: the published horse2zebra generator
gains 3 to 7 dB by it (`python -m benchmarks.wide_activations`).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from ganpress.compression.quantization import QuantizationConfig, quantize
from ganpress.edge.graphs.graph_editing import array_of, constant, graph_bytes, read_graph, replace
from ganpress.errors import ConfigError

CAREFUL = QuantizationConfig(8, None, compensated=True)


def with_careful_weights(model: nn.Module, calibration: Tensor) -> nn.Module:
    """The generator with weights of 8 bits that are rounded one after another; itself where it has no such layer.

    Args:
        model: a float generator.
        calibration: inputs (n, …).
    """
    try:
        return quantize(model, calibration, CAREFUL)
    except ConfigError:  # it cannot be traced, or no layer has a form: the runtime's own rounding remains
        return model


def decoded_constants(content: bytes) -> tuple[bytes, dict[str, NDArray[np.float32]]]:
    """Store decoded constants of a serialised graph as the floats that their codes stand for, and repeated ones whole.

    Returns:
        The graph, and the scale of each output channel of decoded weights, by the name of the floats.
    """
    model = read_graph(content)
    scales: dict[str, NDArray[np.float32]] = {}
    for node in [one for one in model.graph if one.op_type in ("DequantizeLinear", "Tile")]:
        found = [array_of(value) for value in node.inputs]
        given = [one for one in found if one is not None]
        if len(given) < len(found):
            continue
        if node.op_type == "Tile":
            value = constant(model.graph, np.tile(given[0], given[1]))
        else:
            by_channel = given[1].reshape(-1, *(1,) * (given[0].ndim - 1))
            value = constant(model.graph, given[0].astype(np.float32) * by_channel)
            scales[str(value.name)] = given[1].astype(np.float32)
        replace(node.outputs[0], value)
    return graph_bytes(model), scales


def weight_overrides(scales: dict[str, NDArray[np.float32]]) -> dict[str, list[dict[str, Any]]]:
    """What ONNX Runtime's quantizer is told of weights whose codes are known."""
    return {
        name: [{"axis": 0, "scale": scale, "zero_point": np.array(0, np.int8)} for scale in channels]
        for name, channels in scales.items()
    }
