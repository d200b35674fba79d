"""The share of a quantized generator's work that is computed in floats."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.quantized_geometry import QUANTIZABLE
from models.quantized_layers import QuantizedConv
from models.quantized_network import QuantizedNetwork

KINDS = (QuantizedConv, *QUANTIZABLE)


@torch.no_grad()
def float_macs_share(generator: QuantizedNetwork, example: Float[Tensor, "1 ..."]) -> float:
    """Return the share of multiplications in float layers, among all layers of a quantizable kind.

    A transposed convolution counts as the plain one that it is rewritten to.

    Args:
        generator: quantized, in eval mode.
        example: an input with one sample.
    """
    counts = {True: 0, False: 0}

    def hook(layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        counts[isinstance(layer, QUANTIZABLE)] += _macs(layer, inputs[0], output)

    handles = [module.register_forward_hook(hook) for module in generator.modules() if isinstance(module, KINDS)]
    try:
        generator(example)
    finally:
        for handle in handles:
            handle.remove()
    return counts[True] / max(1, sum(counts.values()))


def _macs(layer: nn.Module, source: Tensor, output: Tensor) -> int:
    weight = layer.get_parameter("weight") if isinstance(layer, QUANTIZABLE) else layer.get_buffer("weight")
    if isinstance(layer, nn.ConvTranspose2d):
        return weight[0].numel() * source.numel()  # each value of the input is multiplied with one filter
    return weight[0].numel() * output.numel()
