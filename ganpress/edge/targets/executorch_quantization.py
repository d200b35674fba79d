"""Integers for XNNPACK by torchao's PT2E quantization: ranges of calibration, or of each image.

Static ranges let integers go from layer to layer. Where an instance normalisation stands behind each convolution there
is nothing to gain from that, because it needs floats: each output would be rounded to one scale a tensor only to be
made a float again. There the ranges are dynamic: each layer rounds its input to the values that this image has,
multiplies integers and gives floats. Nothing lies beyond such a range, and outputs are not rounded at all.
"""

from typing import Any

import torch
from torch import Tensor, fx

aten = torch.ops.aten

FLOATING = (aten.instance_norm.default,)
"""Operators that compute in floats in any case, and stand behind most convolutions where they stand at all."""


def quantized(graph: fx.GraphModule, calibration: Tensor) -> fx.GraphModule:
    """Return a traced generator with its layers in integers of 8 bits, weights with a scale for each channel.

    Args:
        graph: as `torch.export` makes it, of one input.
        calibration: inputs (n, …) that static ranges are measured on.
    """
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    dynamic = any(node.target in FLOATING for node in graph.graph.nodes)
    if dynamic:
        _hide_activations_(graph)
    config: Any = get_symmetric_quantization_config(is_per_channel=True, is_dynamic=dynamic)
    observed = prepare_pt2e(graph, XNNPACKQuantizer().set_global(config))
    with torch.no_grad():
        for place in range(1 if dynamic else len(calibration)):
            observed(calibration[place : place + 1])
    result: fx.GraphModule = convert_pt2e(observed)
    return result


def _hide_activations_(graph: fx.GraphModule) -> None:
    """Keep the quantizer from passing over convolutions with a ReLU, which it knows with static ranges alone."""
    for node in graph.graph.nodes:
        if node.target in (aten.relu.default, aten.relu_.default):
            node.target = torch.relu
    graph.recompile()
