"""Layers of integers whose weights, biases and steps are trained through their rounding.

Each computes what its `models.quantized_layers.QuantizedConv` computes, to the bit: the same codes, the same integer
sums, the same rounding. Backward, a rounding counts as the identity (Bengio et al. 2013) and a clamp as itself, so that
a step learns both how fine the codes are and where they end (Esser et al. 2020, "Learned step size quantization",
equation 3, comes out of this by the product rule). Zero points stay.

Shapes: O outputs, I inputs, r sub-pixel factor, as in `models.quantized_layers`.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.quantized import ActivationQuantizer
from models.quantized_channels import ChannelQuantizer
from models.quantized_layers import QuantizedConv
from models.quantized_network import QuantizedNetwork

Quantizer = ActivationQuantizer | ChannelQuantizer


class _Round(torch.autograd.Function):
    """Half to even; the gradient passes as if nothing was rounded. An exact result, unlike `x + (round(x) - x)`."""

    @staticmethod
    def forward(_ctx: Any, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return torch.round(x)

    @staticmethod
    def backward(_ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


def _round(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    rounded: Tensor = _Round.apply(x)
    return rounded


class Step(nn.Module):
    """The step of one set of codes, trained as its logarithm; layers that share codes share it."""

    def __init__(self, of: Quantizer) -> None:
        super().__init__()
        shared = of.scale.dim() > 0 and bool((of.scale == of.scale[0]).all())
        self.logarithm = nn.Parameter((of.scale[:1] if shared else of.scale).detach().log())

    def forward(self) -> Float[Tensor, "..."]:
        """The step: one, or one for each channel."""
        return self.logarithm.exp()


class TrainedConv(nn.Module):
    """Stands where a `QuantizedConv` was while its numbers are trained.

    Args:
        layer: where the numbers come from and, by `write_back`, go to.
        weight: (r r O, I / groups, kh, kw) real weights before rounding.
        steps: of the layer's input and output; empty where activations are floats.
    """

    def __init__(
        self, layer: QuantizedConv, weight: Float[Tensor, "rro i_group kh kw"], steps: tuple[Step, Step] | None
    ) -> None:
        super().__init__()
        assert layer.weight_scale is not None
        assert layer.weight_bits is not None
        self.layer, self.highest = layer, 2 ** (layer.weight_bits - 1) - 1
        spread = float(weight.square().mean().sqrt().clamp(min=1e-12))
        self.register_buffer("spread", torch.tensor(spread))
        self.weight = nn.Parameter(weight.detach() / spread)  # of spread 1, so that one rate serves all layers
        self.bias = nn.Parameter(layer.bias.detach().clone())
        self.weight_step = nn.Parameter(layer.weight_scale.detach().log())
        self.source: Step | None = steps[0] if steps else None
        self.target: Step | None = steps[1] if steps else None

    def codes(self) -> Float[Tensor, "rro i_group kh kw"]:
        """The weights as codes, whole numbers."""
        steps = self.weight * self.get_buffer("spread") / self.weight_step.exp()[:, None, None, None]
        return _round(steps.clamp(-self.highest, self.highest))

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """As `QuantizedConv.forward`."""
        if not self.layer.linear:
            return self._run(self.layer.geometry.extend(x))
        maps = x.reshape(-1, x.shape[-1], 1, 1)
        return self._run(maps).reshape(*x.shape[:-1], self.weight.shape[0])

    def _run(self, x: Float[Tensor, "n i h w"]) -> Float[Tensor, "n o h_out w_out"]:
        layer, source, target = self.layer, self.layer.source, self.layer.target
        weight_scale, geometry = self.weight_step.exp(), self.layer.geometry
        if self.source is None or self.target is None or target is None:
            return geometry.rearrange(geometry.convolve(x, self.codes() * weight_scale[:, None, None, None], self.bias))
        assert isinstance(source, ActivationQuantizer)
        read, made = self.source().reshape(()), self.target().expand(len(target.scale))
        zero = source.zero_point.float()
        steps = (_round(x / read) + zero).clamp(0, source.highest_code) - zero
        multiplier = read * (weight_scale / layer.phases(made))
        bias = _round((self.bias / layer.phases(made) + layer.phases(target.zero_point)) / multiplier)
        total: Tensor = geometry.convolve(steps, self.codes(), bias)
        codes = _round(total * multiplier[:, None, None]).clamp(0, target.highest_code)
        images: Tensor = (geometry.rearrange(codes) - target.zero_point[:, None, None]) * made[:, None, None]
        return images

    @torch.no_grad()
    def write_back(self) -> QuantizedConv:
        """Return the layer of integers with the trained numbers in it."""
        layer = self.layer
        assert layer.weight_scale is not None
        layer.weight.copy_(self.codes())
        layer.weight_scale.copy_(self.weight_step.exp())
        layer.bias.copy_(self.bias)
        if layer.source is not None and self.source is not None:
            layer.source.scale.copy_(self.source().reshape(()))
        if layer.target is not None and self.target is not None:
            layer.target.scale.copy_(self.target().expand(len(layer.target.scale)))
        return layer


def make_trainable(network: QuantizedNetwork, weights: dict[str, Tensor]) -> dict[str, TrainedConv]:
    """Put a `TrainedConv` in the place of every quantized layer, in place.

    Args:
        network: a network of integers, each layer's input with one step for all channels.
        weights: real weights of each layer before rounding.

    Returns:
        The trained layers by name; `restore` puts the integers back.
    """
    network.requires_grad_(False)  # what stayed in floats is part of what the integers are held to
    steps = _Steps()
    found = {}
    for name in network.layers:
        layer = network.quantized_layer(name)
        both = (steps.of(layer.source), steps.of(layer.target)) if layer.source and layer.target else None
        found[name] = TrainedConv(layer, weights[name], both)
        network.put(name, found[name])
    return found


class _Steps:
    """Steps by what they are of: equal codes are shared, as an integer graph passes them from layer to layer."""

    def __init__(self) -> None:
        self._shared: dict[tuple[float, int], Step] = {}

    def of(self, quantizer: nn.Module) -> Step:
        assert isinstance(quantizer, ActivationQuantizer | ChannelQuantizer)
        scales, zeros = quantizer.scale.reshape(-1), quantizer.zero_point.reshape(-1)
        if not (bool((scales == scales[0]).all()) and bool((zeros == zeros[0]).all())):
            return Step(quantizer)
        return self._shared.setdefault((float(scales[0]), int(zeros[0])), Step(quantizer))


def parameters_of(trained: dict[str, TrainedConv]) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Return weights and biases, and the logarithms of all steps, each once."""
    values = [parameter for layer in trained.values() for parameter in (layer.weight, layer.bias)]
    steps = {id(layer.weight_step): layer.weight_step for layer in trained.values()}
    for layer in trained.values():
        steps |= {id(one.logarithm): one.logarithm for one in (layer.source, layer.target) if one is not None}
    return values, list(steps.values())


def restore(network: QuantizedNetwork, trained: dict[str, TrainedConv]) -> QuantizedNetwork:
    """Put the integers back, with what was learnt, in place."""
    for name, layer in trained.items():
        network.put(name, layer.write_back())
    return network
