"""Describes any convolution or linear layer as one plain convolution.

Runtimes compute plain convolutions in integers, but not transposed ones. A transposed convolution of stride s equals a
plain one to s * s times the channels, whose result is shuffled to s times the size (Shi et al. 2016, "Is the
deconvolution layer the same as a convolutional layer?"); a linear layer is a convolution of a single pixel. If a
transposed convolution reads single pixels, like the first layer of a generator from latents, each of its output pixels
is a separate linear map, so it is a convolution of kernel 1 with any stride.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

Pair = tuple[int, int]


@dataclass(frozen=True)
class Axis:
    """A transposed convolution along one axis, as a plain one and a pixel shuffle.

    Tap k of a transposed convolution (stride s, padding p) adds w[k] x[i] to y[o] where o = s i - p + k. Writing
    o + crop = s j + r, with the phase r in 0 … s - 1, leaves the taps k = s d + r + p - crop from i = j - d: a plain
    convolution over d for each phase.
    """

    taps: int
    """Number of taps of the plain convolution."""
    last: int
    """Largest d; the kernel runs from here down to last - taps + 1."""
    shift: int
    """p - crop: phase r of offset d has the tap s d + r + shift."""
    pad: Pair
    """Zeros before and after."""
    crop: Pair
    """Pixels to crop after the shuffle, at the start and at the end."""

    @classmethod
    def of(cls, kernel: int, stride: int, padding: int, output_padding: int) -> "Axis":
        """Return the form with the fewest taps and, among those, the smallest crop."""
        return min((cls._with_crop(kernel, stride, padding, output_padding, crop) for crop in range(stride)), key=_size)

    @classmethod
    def _with_crop(cls, kernel: int, stride: int, padding: int, output_padding: int, crop: int) -> "Axis":
        shift = padding - crop
        first, last = -((shift + stride - 1) // stride), (kernel - 1 - shift) // stride
        extent = kernel - 2 * padding + output_padding + crop  # of the output, less s times (pixels of the input - 1)
        positions = -(-extent // stride)  # values of j, less (pixels of the input - 1)
        pad = (last, positions - 1 - first)
        return cls(last - first + 1, last, shift, pad, (crop, stride * positions - extent))


def _size(axis: Axis) -> tuple[int, int]:
    return axis.taps, axis.crop[0]


@dataclass(frozen=True)
class Geometry:
    """A layer as padding, convolution, pixel shuffle and crop."""

    kernel: Pair
    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    groups: int = 1
    pad: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Zeros at the top, left, bottom, right: the order of ONNX."""
    border: tuple[str, tuple[int, int, int, int]] | None = None
    """Padding other than zeros, which comes first: mode and widths as in `torch.nn.functional.pad`."""
    factor: int = 1
    """r: the convolution has r * r output channels for each one of the layer."""
    crop: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Pixels at the top, left, bottom, right that are cropped after the shuffle."""

    def extend(self, x: Float[Tensor, "n i h w"]) -> Float[Tensor, "n i h_padded w_padded"]:
        """Apply padding other than zeros, if the layer has any."""
        return x if self.border is None else functional.pad(x, self.border[1], self.border[0])

    def convolve(
        self,
        x: Float[Tensor, "n i h w"],
        weight: Float[Tensor, "rro i_group kh kw"],
        bias: Float[Tensor, " rro"] | None,
    ) -> Float[Tensor, "n rro h_out w_out"]:
        """Convolve with zeros around; `rro` is r r O, the channels before they are rearranged."""
        top, left, bottom, right = self.pad
        if (top, left) == (bottom, right):
            padding: Pair = (top, left)
        else:
            x, padding = functional.pad(x, (left, right, top, bottom)), (0, 0)
        return functional.conv2d(x, weight, bias, self.stride, padding, self.dilation, self.groups)

    def rearrange(self, x: Float[Tensor, "n rro h w"]) -> Float[Tensor, "n o h_out w_out"]:
        """Make r r channels one of r times the size, and crop; channel (o r + y) r + x becomes pixel (y, x)."""
        if self.factor > 1:
            x = functional.pixel_shuffle(x, self.factor)
        top, left, bottom, right = self.crop
        return x[:, :, top : x.shape[2] - bottom, left : x.shape[3] - right] if any(self.crop) else x


QUANTIZABLE = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
"""Layers that can compute in integers; not those derived from them that compute more."""


def geometry_of(layer: nn.Module, pixel: bool = False) -> Geometry:
    """Find the plain convolution that equals a layer.

    Args:
        layer: any module.
        pixel: whether it is a transposed convolution that reads single pixels, see `draws_one_pixel`.

    Raises:
        ValueError: if there is none; the message says why.
    """
    if isinstance(layer, QUANTIZABLE) and type(layer).forward not in [kind.forward for kind in QUANTIZABLE]:
        raise ValueError(f"a {type(layer).__name__} computes more than the layer that it is derived from")
    if isinstance(layer, nn.Linear):
        return Geometry((1, 1))
    if isinstance(layer, nn.ConvTranspose2d):
        return Geometry((1, 1), groups=layer.groups, factor=_drawn(layer)[0]) if pixel else _transposed(layer)
    if isinstance(layer, nn.Conv2d):
        return _plain(layer)
    raise ValueError(f"a {type(layer).__name__} is no two-dimensional convolution or linear layer")


def draws_one_pixel(layer: nn.Module, shape: tuple[int, ...]) -> bool:
    """Whether a layer is a transposed convolution whose input is single pixels.

    Args:
        layer: any module.
        shape: shape of its input, (N, I, H, W).
    """
    if not isinstance(layer, nn.ConvTranspose2d) or shape[2:] != (1, 1):
        return False
    height, width = _drawn(layer)
    return height == width and max(_pair(layer.output_padding)) == 0


def _drawn(layer: nn.ConvTranspose2d) -> Pair:
    """Return height and width of the output for one pixel: the kernel minus its padding."""
    kernel, padding = _pair(layer.kernel_size), _pair(layer.padding)
    return kernel[0] - 2 * padding[0], kernel[1] - 2 * padding[1]


def _plain(layer: nn.Conv2d) -> Geometry:
    left, right, top, bottom = layer._reversed_padding_repeated_twice
    kernel, stride, dilation = _pair(layer.kernel_size), _pair(layer.stride), _pair(layer.dilation)
    if layer.padding_mode == "zeros":
        return Geometry(kernel, stride, dilation, layer.groups, (top, left, bottom, right))
    mode = (layer.padding_mode, (left, right, top, bottom))
    return Geometry(kernel, stride, dilation, layer.groups, border=mode)


def _transposed(layer: nn.ConvTranspose2d) -> Geometry:
    stride, dilation = _pair(layer.stride), _pair(layer.dilation)
    if stride[0] != stride[1] or dilation != (1, 1):
        raise ValueError(f"stride {stride} and dilation {dilation} have no sub-pixel form; equal strides and 1 have")
    rows, columns = axes_of(layer)
    if min(*rows.pad, *columns.pad, *rows.crop, *columns.crop) < 0:
        raise ValueError(f"padding {layer.padding} of kernel {layer.kernel_size} has no sub-pixel form")
    return Geometry(
        kernel=(rows.taps, columns.taps),
        groups=layer.groups,
        pad=(rows.pad[0], columns.pad[0], rows.pad[1], columns.pad[1]),
        factor=stride[0],
        crop=(rows.crop[0], columns.crop[0], rows.crop[1], columns.crop[1]),
    )


def axes_of(layer: nn.ConvTranspose2d) -> tuple[Axis, Axis]:
    """Return the two axes of a transposed convolution: height and width."""
    sizes = (layer.kernel_size, layer.stride, layer.padding, layer.output_padding)
    rows, columns = (tuple(_pair(size)[axis] for size in sizes) for axis in (0, 1))
    return Axis.of(*rows), Axis.of(*columns)


def _pair(value: int | str | tuple[int, ...]) -> Pair:
    if isinstance(value, str):
        raise ValueError(f"padding '{value}' is not spelt out")
    return (value, value) if isinstance(value, int) else (value[0], value[1])
