"""Integers for XNNPACK by torchao's PT2E quantization: ranges of calibration, or of each image.

Static ranges let integers go from layer to layer. Where a normalisation of each image, or one modulated by another
layer, stands behind the convolutions, there is nothing to gain from that, because it needs floats: each output would be
rounded to one scale a tensor only to be made a float again. There the ranges are dynamic: each layer rounds its input
to the values that this image has, multiplies integers and gives floats. Nothing lies beyond such a range, and outputs
are not rounded at all. XNNPACK has no depthwise convolution of dynamic ranges; these stay in floats.
"""

from typing import Any

import torch
from torch import Tensor, fx

from ganpress.edge.targets.executorch_surgery import instance_norm

aten = torch.ops.aten


def quantized(graph: fx.GraphModule, calibration: Tensor) -> fx.GraphModule:
    """Return a traced generator with its layers in integers of 8 bits, weights with a scale for each channel.

    Args:
        graph: as `torch.export` makes it, of one input, and `executorch_surgery` has rewritten it.
        calibration: inputs (n, …) that static ranges are measured on.
    """
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    dynamic = any(_needs_floats(node) for node in graph.graph.nodes)
    if dynamic:
        _hide_activations_(graph)
    config: Any = get_symmetric_quantization_config(is_per_channel=True, is_dynamic=dynamic)
    observed = prepare_pt2e(graph, XNNPACKQuantizer().set_global(config))
    with torch.no_grad():
        for place in range(1 if dynamic else len(calibration)):
            observed(calibration[place : place + 1])
    result: fx.GraphModule = convert_pt2e(observed)
    return result


def _needs_floats(node: fx.Node) -> bool:
    """Whether a node is an instance normalisation, or multiplies one activation by another as SPADE's norms do."""
    if node.target is instance_norm:
        return True
    factors = [one for one in node.all_input_nodes if one.op == "call_function"]
    return node.target is aten.mul.Tensor and len(factors) == 2


def _hide_activations_(graph: fx.GraphModule) -> None:
    """Keep the quantizer from passing over convolutions with a ReLU, which it knows with static ranges alone."""
    for node in graph.graph.nodes:
        if node.target in (aten.relu.default, aten.relu_.default):
            node.target = torch.relu
    graph.recompile()
