"""A generator with its convolutions and linear layers in integers and everything else in floats."""

from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.quantized import CalibrationRecord
from models.quantized_geometry import QUANTIZABLE
from models.quantized_layers import QuantizedConv, empty_layer


class QuantizedNetwork(nn.Module):
    """A generator whose named layers are quantized ones; same inputs and outputs.

    Args:
        network: the float generator; it is changed and kept.
        layers: dotted names of the layers to replace.
        folded: dotted names of batch normalisations and added parameters that are folded into those layers.
        weight_bits: 2 to 8, or None for floats.
        activation_bits: 2 to 8, or None for floats.
        calibration: record of the inputs on which the activation ranges were measured.
        channel_inputs: whether each channel of a layer's input has a scale of its own.
        layer_bits: weight bits of layers that differ from `weight_bits`.
        repeated: number of input channels that a layer reads twice, by layer; 0 for other layers.
        pixels: those of `layers` that are transposed convolutions of single pixels.

    Raises:
        ValueError: if a name is no layer of the network, or the layer has no form as a plain convolution.
    """

    def __init__(
        self,
        network: nn.Module,
        layers: tuple[str, ...],
        folded: tuple[str, ...],
        weight_bits: int | None,
        activation_bits: int | None,
        calibration: CalibrationRecord | None = None,
        channel_inputs: bool = False,
        layer_bits: dict[str, int] | None = None,
        repeated: dict[str, int] | None = None,
        pixels: tuple[str, ...] = (),
    ) -> None:
        super().__init__()
        self.channel_inputs, self.layer_bits, self.repeated = channel_inputs, layer_bits or {}, repeated or {}
        self.layers, self.folded, self.pixels = layers, folded, pixels
        self.weight_bits, self.activation_bits, self.calibration = weight_bits, activation_bits, calibration
        for name in layers:
            bits = self.layer_bits.get(name, weight_bits)
            more = self.repeated.get(name, 0)
            layer = empty_layer(_layer(network, name), bits, activation_bits, channel_inputs, more, name in pixels)
            network = _replaced(network, name, layer)
        for name in folded:
            take_out_(network, name)
        self.network = network

    @property
    def output_step(self) -> float:
        """Largest change of a pixel if a code of the last layer changes by one; 0 for float activations."""
        target = self.quantized_layer(self.layers[-1]).target
        return 0.0 if target is None else float(target.scale.max())

    @property
    def activation_ranges(self) -> tuple[tuple[float, float], ...]:
        """Ranges of each layer's input and output in the order of execution: the reals of the smallest and largest
        code.
        """
        rounded = [one for layer in self.quantized_layers() for one in (layer.source, layer.target) if one is not None]
        return tuple(one.range for one in rounded)

    def quantized_layer(self, name: str) -> QuantizedConv:
        """Return the quantized layer of this name."""
        layer = self.network.get_submodule(name)
        assert isinstance(layer, QuantizedConv)  # what __init__ put there
        return layer

    def quantized_layers(self) -> list[QuantizedConv]:
        """Return all quantized layers in the order in which they run."""
        return [self.quantized_layer(name) for name in self.layers]

    def put(self, name: str, layer: nn.Module) -> None:
        """Replace the quantized layer of this name by another one, or by its trainable form."""
        self.network = _replaced(self.network, name, layer)

    def forward(self, x: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
        """Run the generator."""
        return cast(Tensor, self.network(x))


def float_layers(network: nn.Module) -> tuple[str, ...]:
    """Return the dotted names of a quantized generator's layers that stayed in floats although their kind can be
    quantized.
    """
    return tuple(name for name, module in network.named_modules() if isinstance(module, QUANTIZABLE))


def take_out_(network: nn.Module, name: str) -> None:
    """Make a batch normalisation, or an added parameter, have no effect, because it is folded into the layer before."""
    owner, _, leaf = name.rpartition(".")
    module = _layer(network, owner)
    if isinstance(getattr(module, leaf, None), nn.Parameter):
        value = torch.zeros_like(module.get_parameter(leaf))
        delattr(module, leaf)
        module.register_buffer(leaf, value, persistent=False)
    else:
        _layer(network, name)
        network.set_submodule(name, nn.Identity())


def _layer(network: nn.Module, name: str) -> nn.Module:
    try:
        return network.get_submodule(name)
    except AttributeError:
        raise ValueError(f"{type(network).__name__} has no layer '{name}'") from None


def _replaced(network: nn.Module, name: str, layer: nn.Module) -> nn.Module:
    """Return `network` with another layer at `name`, or the layer itself if the network is that layer."""
    if not name:
        return layer
    network.set_submodule(name, layer)
    return network
