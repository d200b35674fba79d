"""Makes the blueprint of a quantized generator."""

from dataclasses import asdict

from models.builders import Blueprint
from models.family import Argument
from models.quantized_network import QuantizedNetwork


def quantized_blueprint(generator: QuantizedNetwork, base: Blueprint) -> Blueprint:
    """Return the blueprint of `generator`, including its calibration record.

    Args:
        generator: a quantized generator.
        base: the blueprint of the float generator.
    """
    arguments: dict[str, Argument] = {
        "base": {"builder": base.builder, "arguments": base.arguments},
        "layers": [*generator.layers],
        "folded": [*generator.folded],
        "weight_bits": generator.weight_bits,
        "activation_bits": generator.activation_bits,
        "calibration": asdict(generator.calibration) if generator.calibration else None,
    }
    if generator.channel_inputs:
        arguments["channel_inputs"] = True
    for name in ("layer_bits", "repeated"):
        if getattr(generator, name):
            arguments[name] = {**getattr(generator, name)}
    if generator.pixels:
        arguments["pixels"] = [*generator.pixels]
    return Blueprint("quantized", arguments)
