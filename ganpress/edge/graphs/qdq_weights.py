"""Weights of QDQ files: rounded by ganpress, where each makes up for the errors of those before, and kept as they are.

Where 16 bits hold the activations, the rounding of the weights is all that is lost: the published horse2zebra generator
gains 3 to 7 dB by it (`python -m benchmarks.wide_activations`).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from ganpress.compression.quantization import QuantizationConfig, quantize
from ganpress.edge.graphs.onnx_surgery import fresh_names
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


def decode_constants_(proto: Any) -> dict[str, NDArray[np.float32]]:
    """Store decoded constants as the floats that their codes stand for, and repeated ones in full.

    Args:
        proto: an ONNX model, changed in place.

    Returns:
        The scale of each output channel of decoded weights, by the name of the floats.
    """
    from onnx import numpy_helper

    graph, names = proto.graph, fresh_names(proto.graph)
    arrays = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    renamed: dict[str, str] = {}
    scales: dict[str, NDArray[np.float32]] = {}
    kept = []
    for node in graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        given = [arrays[name] for name in node.input if name in arrays]
        if node.op_type not in ("DequantizeLinear", "Tile") or len(given) < len(node.input):
            kept.append(node)
            continue
        name = renamed[node.output[0]] = next(names)
        if node.op_type == "Tile":
            arrays[name] = np.tile(given[0], given[1])
        else:
            scales[name] = given[1].astype(np.float32)
            arrays[name] = given[0].astype(np.float32) * given[1].reshape(-1, *(1,) * (given[0].ndim - 1))
        graph.initializer.append(numpy_helper.from_array(arrays[name], name))
    del graph.node[:]
    graph.node.extend(kept)
    read = {name for node in graph.node for name in node.input}
    for one in [one for one in graph.initializer if one.name not in read]:
        graph.initializer.remove(one)
    return scales


def weight_overrides(scales: dict[str, NDArray[np.float32]]) -> dict[str, list[dict[str, Any]]]:
    """What ONNX Runtime's quantizer is told of weights whose codes are known."""
    return {
        name: [{"axis": 0, "scale": scale, "zero_point": np.array(0, np.int8)} for scale in channels]
        for name, channels in scales.items()
    }
