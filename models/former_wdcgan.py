"""Quantized W-DCGAN generators as files of earlier versions hold them, and as the general integers that took over.

The old form had a class of its own; every number in it has its place in `models.quantized_network`.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

from models.builders import Blueprint, quantized_generator
from models.family import LATENT, Argument
from models.quantized_layers import ChannelQuantizer, QuantizedConv


class FormerWdcgan(nn.Module):
    """The tensors of an old file, by their old names; it does not run."""

    def __init__(
        self, latent: int, widths: list[int], channels: int, weight_bits: int | None, activation_bits: int | None
    ) -> None:
        super().__init__()
        self.layers, self.quantizers = nn.ModuleList(), nn.ModuleList()
        for level, (wide, narrow) in enumerate(pairwise([latent, *widths, channels])):
            outputs, kernel = (4 * narrow, 2) if level else (16 * narrow, 1)
            kind = torch.float32 if weight_bits is None else torch.int8
            layer = {"weight": torch.zeros(outputs, wide, kernel, kernel, dtype=kind), "bias": torch.zeros(outputs)}
            scale = {} if weight_bits is None else {"weight_scale": torch.ones(outputs)}
            self.layers.append(_holder(layer | scale))
        for _ in range(0 if activation_bits is None else len(self.layers) + 1):
            zero_point = torch.zeros((), dtype=torch.uint8)
            self.quantizers.append(_holder({"scale": torch.ones(()), "zero_point": zero_point}))


def former_wdcgan(
    latent: int,
    widths: list[int],
    channels: int,
    weight_bits: int | None,
    activation_bits: int | None,
    calibration: dict[str, int | str | None] | None = None,  # noqa: ARG001 - for `converted`
) -> FormerWdcgan:
    """Build the tensors of an old file.

    Raises:
        ValueError: if the generator is none of `models.wdcgan`.
    """
    levels = len(widths)
    fits = all(width % 2 ** (levels - 1 - level) == 0 for level, width in enumerate(widths))
    if latent != LATENT or not widths or not fits:
        raise ValueError("no W-DCGAN generator has these latents and widths; quantize the generator again")
    return FormerWdcgan(latent, widths, channels, weight_bits, activation_bits)


@torch.no_grad()
def converted(model: nn.Module, blueprint: Blueprint) -> tuple[nn.Module, Blueprint]:
    """Give a generator of an old file its general form; any other one is given back as it is."""
    if not isinstance(model, FormerWdcgan):
        return model, blueprint
    general = Blueprint("quantized", _arguments(**blueprint.arguments))  # type: ignore[arg-type]
    network = quantized_generator(**general.arguments)  # type: ignore[arg-type]
    quantizers = [dict(one.named_buffers()) for one in model.quantizers]
    for place, (name, former) in enumerate(zip(network.layers, model.layers, strict=True)):
        layer = network.quantized_layer(name)
        for key, value in former.named_buffers():
            layer.get_buffer(key).copy_(value)
        if quantizers:
            _set_ranges_(layer, *quantizers[place : place + 2])
    return network.eval(), general


def _arguments(
    widths: list[int],
    channels: int,
    weight_bits: int | None,
    activation_bits: int | None,
    latent: int,  # noqa: ARG001 - `former_wdcgan` has checked it
    calibration: dict[str, Argument] | None = None,
) -> dict[str, Argument]:
    levels = len(widths)
    depths = [width // 2 ** (levels - 1 - level) for level, width in enumerate(widths)]
    spec: dict[str, Argument] = {"spec": "_".join(map(str, depths)), "size": 4 * 2**levels, "channels": channels}
    blocks = [f"blocks.{level}" for level in range(levels)]
    return {
        "base": {"builder": "wdcgan_generator", "arguments": spec},
        "layers": [*(f"{block}.conv" for block in blocks), "head"],
        "folded": [f"{block}.{part}" for block in blocks for part in ("norm", "bias")],
        "weight_bits": weight_bits,
        "activation_bits": activation_bits,
        "calibration": calibration,
        "pixels": ["blocks.0.conv"],
    }


def _set_ranges_(layer: QuantizedConv, source: dict[str, Tensor], target: dict[str, Tensor]) -> None:
    assert layer.source is not None  # activations are codes
    layer.source.scale.copy_(source["scale"])
    layer.source.zero_point.copy_(source["zero_point"])
    if isinstance(layer.target, ChannelQuantizer):
        layer.target.scale.fill_(target["scale"])
        layer.target.zero_point.fill_(target["zero_point"])


def _holder(tensors: dict[str, Tensor]) -> nn.Module:
    holder = nn.Module()
    for name, tensor in tensors.items():
        holder.register_buffer(name, tensor)
    return holder
