"""A quantized generator as OpenVINO runs it fastest.

OpenVINO's integer convolutions put out floats at no cost, where ONNX Runtime's put out codes. What follows a layer of a
generator is a normalisation in floats, so that rounding the layer's output would take time and give nothing but noise:
on the published horse2zebra generator its absence saves a fifth of the time and brings the images 3 to 6 dB nearer to
those of the float generator. Inputs are still codes, and padded as codes.
"""

import copy

from torch import Tensor, nn

from ganpress.edge.graph_passes_codes import pad_codes_
from ganpress.edge.graph_passes_outputs import widen_outputs
from ganpress.edge.onnx_export import traced_graph
from models.quantized_layers import QuantizedConv
from models.quantized_network import QuantizedNetwork


def openvino_graph(model: QuantizedNetwork, example: Tensor) -> bytes:
    """Write a quantized generator as an ONNX graph for OpenVINO's converter.

    Args:
        model: quantized layer by layer; it is left as it is.
        example: inputs (N, …) of the shape that the graph will take.

    Raises:
        ConfigError: if an operator of the generator cannot be written.
    """
    import onnx

    proto = onnx.load_from_string(traced_graph(widen_outputs(unrounded_outputs(model), example), example))
    pad_codes_(proto)
    content: bytes = proto.SerializeToString(deterministic=True)
    return content


def unrounded_outputs(model: nn.Module) -> nn.Module:
    """Return a quantized generator whose layers round what they read, and not what they put out."""
    rewritten = copy.deepcopy(model)
    for layer in rewritten.modules():
        if isinstance(layer, QuantizedConv):
            layer.target = None
    return rewritten
