"""Quantizes for XNNPACK with torchao's PT2E quantization, with static or dynamic ranges.

With static ranges, which calibration measures, integers pass from layer to layer. That gains nothing if an instance
normalisation, or a normalisation modulated by another layer, follows the convolutions: it needs floats, so each output
would be rounded to one scale per tensor and decoded again at once. Such generators take dynamic ranges: each layer
rounds its input to the range of the current image, multiplies integers and returns floats. Nothing is clipped, and
outputs are not rounded. XNNPACK has no depthwise convolution with dynamic ranges; these stay in floats.
"""

from typing import Any

import torch
from torch import Tensor, fx

from ganpress.edge.targets.executorch_surgery import instance_norm

aten = torch.ops.aten


def quantized(graph: fx.GraphModule, calibration: Tensor) -> fx.GraphModule:
    """Return a traced generator with its layers in 8-bit integers, weights with one scale per channel.

    Args:
        graph: the graph of `torch.export` for one input, rewritten by `executorch_surgery`.
        calibration: inputs (n, …) on which static ranges are measured.
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
    """Make the quantizer see convolutions with a ReLU, which it supports only with static ranges."""
    for node in graph.graph.nodes:
        if node.target in (aten.relu.default, aten.relu_.default):
            node.target = torch.relu
    graph.recompile()
