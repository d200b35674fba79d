"""An exact simulation of any convolution or linear layer in a runtime's integer kernels.

A layer reads and returns reals, so that it can replace the float layer. Inside, its weights are codes with one scale
for each output channel, and its output, and possibly its input, has a scale and a zero point for *each channel*.
Integer kernels have one scale for a whole tensor, but more scales cost them nothing: a channel's output scale and zero
point are moved into its weight scale and bias, so that the kernel's own result is the code (Krishnamoorthi 2018,
section 2, describes the affine form; `models.quantized` explains the arithmetic). A channel's input scale is moved into
the weights that read it before these are rounded, its zero point into the bias.

A layer may read some input channels twice, each time with a part of the weights, so that outliers among these do not
determine the step of all (Zhao et al. 2019, see `ganpress.compression.preparation.outlier_splitting`).

Shapes: N batch, I and O channels, J >= I channels after repetition, r sub-pixel factor, rro = r r O channels of the
convolution, j_group = J / groups; see `models.quantized_geometry`.
"""

import torch
from jaxtyping import Float, Real
from torch import Tensor, nn

from models.quantized import FLOAT32_EXACT, ActivationQuantizer
from models.quantized_channels import ChannelQuantizer, InputQuantizer
from models.quantized_geometry import Geometry, geometry_of
from models.quantized_symbols import emit

__all__ = ["ChannelQuantizer", "InputQuantizer", "QuantizedConv", "empty_layer"]


class QuantizedConv(nn.Module):
    """A convolution, transposed convolution or linear layer whose weights are codes, or floats.

    With quantized weights and activations it multiplies and adds integers and rounds once. With only weights quantized
    it is a float layer with the decoded weights; with only activations it rounds its input.
    """

    weight: Tensor
    weight_scale: Tensor | None
    bias: Tensor
    channels: Tensor | None
    """Input channel that each channel of the weights reads, int64 (J,); None if each reads its own."""

    def __init__(
        self,
        geometry: Geometry,
        weight_shape: tuple[int, ...],
        weight_bits: int | None,
        activation_bits: int | None,
        linear: bool = False,
        channel_inputs: bool = False,
        repeated: int = 0,
    ) -> None:
        """Make a layer of zeros.

        Args:
            geometry: the plain convolution that equals the layer.
            weight_shape: (r r O, I / groups, kh, kw), without repeated channels.
            weight_bits: 2 to 8, or None for floats.
            activation_bits: 2 to 8, or None for floats.
            linear: whether it stands for a linear layer, (…, I) -> (…, O).
            channel_inputs: whether each channel of its input has its own scale; only if weights and activations are
                quantized.
            repeated: J - I, input channels that are read once more; only without groups.
        """
        super().__init__()
        self.geometry, self.weight_bits, self.linear = geometry, weight_bits, linear
        self.drawn = False
        """Whether running it writes operators instead of computing, see `models.quantized_symbols`."""
        outputs, inputs, *kernel = weight_shape
        kind = torch.float32 if weight_bits is None else torch.int8
        self.register_buffer("weight", torch.zeros((outputs, inputs + repeated, *kernel), dtype=kind))
        self.register_buffer("weight_scale", None if weight_bits is None else torch.ones(outputs))
        self.register_buffer("bias", torch.zeros(outputs))
        self.register_buffer("channels", torch.zeros(inputs + repeated, dtype=torch.int64) if repeated else None)
        both = weight_bits is not None and activation_bits is not None
        self.source: ActivationQuantizer | InputQuantizer | None = None
        if activation_bits is not None and both and channel_inputs:
            self.source = InputQuantizer(activation_bits, inputs * geometry.groups)
        elif activation_bits is not None:
            self.source = ActivationQuantizer(activation_bits)
        self.target = ChannelQuantizer(activation_bits or 0, outputs // geometry.factor**2) if both else None

    @property
    def repeated(self) -> int:
        """Number of input channels that are read twice."""
        return 0 if self.channels is None else len(self.channels) - len(set(self.channels.tolist()))

    def real_weight(self) -> Float[Tensor, "rro j_group kh kw"]:
        """Return the decoded weights."""
        if self.weight_scale is None:
            return self.weight
        weight = self.weight * self.weight_scale[:, None, None, None]
        return weight / self.of_inputs(self.source.scale) if isinstance(self.source, InputQuantizer) else weight

    def of_inputs(self, channels: Float[Tensor, " i"]) -> Float[Tensor, "rro j_group 1 1"]:
        """Spread a value of each input channel over the weights that read it."""
        groups = self.geometry.groups
        read = channels if self.channels is None else channels[self.channels]
        return read.reshape(groups, -1).repeat_interleave(self.weight.shape[0] // groups, 0)[:, :, None, None]

    def repeat(self, x: Float[Tensor, "n i h w"]) -> Float[Tensor, "n j h w"]:
        """Repeat the channels of a layer's input as the weights read them."""
        return x if self.channels is None else x.index_select(1, self.channels)

    def phases(self, channels: Real[Tensor, " o"]) -> Real[Tensor, " rro"]:
        """Repeat a value of each channel for those of the convolution."""
        return channels.repeat_interleave(self.geometry.factor**2)

    def code_scale(self, target: ChannelQuantizer) -> Float[Tensor, " rro"]:
        """Return the weight scale of a convolution whose result is the code itself."""
        assert self.weight_scale is not None  # a target needs quantized weights
        return self.weight_scale / self.phases(target.scale)

    def code_bias(self, target: ChannelQuantizer) -> Float[Tensor, " rro"]:
        """Bias of a convolution whose result is the code itself, zero point included."""
        return self.bias / self.phases(target.scale) + self.phases(target.zero_point)

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Run the layer on reals: (N, I, H, W) -> (N, O, h, w), or (…, I) -> (…, O) for a linear layer."""
        if not self.linear:
            return self.run_maps(x)
        return self.run_maps(x.reshape(-1, x.shape[-1], 1, 1)).reshape(*x.shape[:-1], self.weight.shape[0])

    def run_maps(self, x: Float[Tensor, "n i h w"]) -> Float[Tensor, "n o h_out w_out"]:
        """Run the layer on maps; those of a linear layer have one pixel."""
        x = self.geometry.extend(x)
        if self.drawn or torch.onnx.is_in_onnx_export():
            return emit(self, x)
        if self.source is not None and self.target is not None:
            return self._run_integers(x, self.source, self.target)
        if isinstance(self.source, ActivationQuantizer):
            x = self.source.decode(self.source.encode(x))
        return self.geometry.rearrange(self.geometry.convolve(self.repeat(x), self.real_weight(), self.bias))

    def _run_integers(
        self, x: Float[Tensor, "n i h w"], source: ActivationQuantizer | InputQuantizer, target: ChannelQuantizer
    ) -> Float[Tensor, "n o h_out w_out"]:
        multiplier = source.kernel_scale * self.code_scale(target)
        bias = torch.round(self.code_bias(target) / multiplier)  # in steps of the accumulator, as int32 in the runtime
        exact = self._exact_dtype(bias, source.highest_code)
        steps = (self.repeat(source.encode(x)) - source.kernel_zero).to(exact)
        total = self.geometry.convolve(steps, self.weight.to(exact), bias.to(exact))  # (N, r r O, h, w), whole numbers
        codes = torch.round(total.float() * multiplier[:, None, None]).clamp(0, target.highest_code)
        return target.decode(self.geometry.rearrange(codes))

    def _exact_dtype(self, bias: Float[Tensor, " rro"], highest_code: int) -> torch.dtype:
        """Return float32 if all sums of this layer are exact in it, else float64."""
        magnitudes = self.weight.to(torch.int64).abs()  # -128 has no magnitude in int8
        largest = magnitudes.sum((1, 2, 3)) * highest_code + bias.abs()
        return torch.float32 if float(largest.max()) < FLOAT32_EXACT else torch.float64


def empty_layer(
    layer: nn.Module,
    weight_bits: int | None,
    activation_bits: int | None,
    channel_inputs: bool = False,
    repeated: int = 0,
    pixel: bool = False,
) -> QuantizedConv:
    """Make the quantized layer of zeros that takes the place of a float one.

    See `QuantizedConv` for the arguments, and `models.quantized_geometry.geometry_of` for `pixel`.

    Raises:
        ValueError: if the layer has no form as a plain convolution.
    """
    geometry, weight = geometry_of(layer, pixel), layer.get_parameter("weight")
    if isinstance(layer, nn.Linear):
        shape: tuple[int, ...] = (*weight.shape, 1, 1)
    elif isinstance(layer, nn.ConvTranspose2d):
        inputs = layer.in_channels // layer.groups
        shape = (layer.out_channels * geometry.factor**2, inputs, *geometry.kernel)
    else:
        shape = tuple(weight.shape)
    return QuantizedConv(
        geometry, shape, weight_bits, activation_bits, isinstance(layer, nn.Linear), channel_inputs, repeated
    )
