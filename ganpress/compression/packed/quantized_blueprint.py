"""What rebuilds a quantized generator."""

from dataclasses import asdict

from models.builders import Blueprint
from models.family import Argument
from models.quantized_network import Quantized, QuantizedNetwork


def quantized_blueprint(generator: Quantized, base: Blueprint) -> Blueprint:
    """What rebuilds `generator`, its calibration record included.

    Args:
        generator: a quantized generator.
        base: what rebuilds the float generator that it was made of.
    """
    record = asdict(generator.calibration) if generator.calibration else None
    bits: dict[str, Argument] = {"weight_bits": generator.weight_bits, "activation_bits": generator.activation_bits}
    if isinstance(generator, QuantizedNetwork):
        return Blueprint("quantized", {**_network(generator, base), **bits, "calibration": record})
    shape: dict[str, Argument] = {
        "latent": generator.latent,
        "widths": [*generator.widths],
        "channels": generator.channels,
    }
    return Blueprint("quantized_wdcgan", {**shape, **bits, "calibration": record})


def _network(generator: QuantizedNetwork, base: Blueprint) -> dict[str, Argument]:
    own: dict[str, Argument] = {
        "base": {"builder": base.builder, "arguments": base.arguments},
        "layers": [*generator.layers],
        "folded": [*generator.folded],
    }
    if generator.channel_inputs:
        own["channel_inputs"] = True
    for name in ("layer_bits", "repeated"):
        if getattr(generator, name):
            own[name] = {**getattr(generator, name)}
    return own
