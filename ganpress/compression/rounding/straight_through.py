"""Integer layers whose weights, biases and step sizes are trained through the rounding.

Each computes exactly the same as its `models.quantized_layers.QuantizedConv`: the same codes, the same integer sums,
the same rounding. In the backward pass a rounding is the identity (Bengio et al. 2013) and a clamp is itself, so that a
step size learns both the resolution and the range (Esser et al. 2020, "Learned step size quantization", equation 3,
comes out of this by the product rule). Zero points stay.

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
    """Rounding half to even with the gradient of the identity; the result is exact, unlike that of `x + (round(x) -
    x)`.
    """

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
    """A quantization step size, trained as its logarithm; layers that share quantized values share it."""

    def __init__(self, of: Quantizer) -> None:
        super().__init__()
        shared = of.scale.dim() > 0 and bool((of.scale == of.scale[0]).all())
        self.logarithm = nn.Parameter((of.scale[:1] if shared else of.scale).detach().log())

    def forward(self) -> Float[Tensor, "..."]:
        """Return the step size: one, or one for each channel."""
        return self.logarithm.exp()


class TrainedConv(nn.Module):
    """Takes the place of a `QuantizedConv` while its parameters are trained.

    Args:
        layer: the layer from which the parameters come, and to which `write_back` writes them.
        weight: (r r O, I / groups, kh, kw) real weights before rounding.
        steps: step sizes of the layer's input and output; empty for float activations.
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
        self.weight = nn.Parameter(weight.detach() / spread)  # of spread 1, so that one learning rate fits all layers
        self.bias = nn.Parameter(layer.bias.detach().clone())
        self.weight_step = nn.Parameter(layer.weight_scale.detach().log())
        self.source: Step | None = steps[0] if steps else None
        self.target: Step | None = steps[1] if steps else None

    def codes(self) -> Float[Tensor, "rro i_group kh kw"]:
        """Return the quantized weights as whole numbers."""
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
        """Return the integer layer with the trained parameters."""
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
    """Replace every quantized layer by a `TrainedConv`, in place.

    Args:
        network: an integer network with one step size for all channels of each layer's input.
        weights: real weights of each layer before rounding.

    Returns:
        The trained layers by name; `restore` puts integer layers back.
    """
    network.requires_grad_(False)  # float layers are not trained
    steps = _Steps()
    found = {}
    for name in network.layers:
        layer = network.quantized_layer(name)
        both = (steps.of(layer.source), steps.of(layer.target)) if layer.source and layer.target else None
        found[name] = TrainedConv(layer, weights[name], both)
        network.put(name, found[name])
    return found


class _Steps:
    """Step sizes by scale and zero point; equal ones are shared, as an integer graph passes values from layer to
    layer.
    """

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
    """Put the integer layers back with the trained parameters, in place."""
    for name, layer in trained.items():
        network.put(name, layer.write_back())
    return network
