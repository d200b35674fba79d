"""Quantizes the weights of QDQ files: each weight is rounded so that it compensates the errors of the ones before.

With 16-bit activations, only the rounding of the weights loses quality; compensation gains 3 to 7 dB on the published
horse2zebra generator (`python -m benchmarks.wide_activations`).
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
    """Return the generator with compensated 8-bit weights; return the generator itself if it has no such layer.

    Args:
        model: a float generator.
        calibration: inputs (n, …).
    """
    try:
        return quantize(model, calibration, CAREFUL)
    except ConfigError:  # not traceable, or no supported layer: the runtime rounds the weights itself
        return model


def decoded_constants(content: bytes) -> tuple[bytes, dict[str, NDArray[np.float32]]]:
    """Store decoded constants of a serialised graph as floats with the values of their codes, and repeated ones in
    full.

    Returns:
        The graph, and the scale of each output channel of the decoded weights, by their name in the graph.
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
    """Return the settings for ONNX Runtime's quantizer that keep the given scales of weights."""
    return {
        name: [{"axis": 0, "scale": scale, "zero_point": np.array(0, np.int8)} for scale in channels]
        for name, channels in scales.items()
    }
