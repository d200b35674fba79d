"""Computes the operators of MIL, the language of Core ML's ML Programs, with torch on the CPU.

Each function takes an operation's inputs by MIL's names and returns its result, or a tuple of results. The operators
are documented in coremltools (`converters/mil/mil/ops/defs`, operator sets iOS 15 and 16). Floats are computed in
float32, whatever their type in the program; the caller rounds the result to that type.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

Operator = Callable[..., Any]


class NoOperator(Exception):
    """An operator, or a way to call one, is not supported here."""


def _ints(values: Any) -> list[int]:
    return [int(one) for one in torch.as_tensor(values).flatten()]


def _pads(axes: int, pad_type: str, pad: Any) -> list[int]:
    """Return the pixels before and after each spatial axis, in MIL's order of axes."""
    if pad_type == "valid":
        return [0] * (2 * axes)
    if pad_type == "custom":
        return _ints(pad)
    raise NoOperator(f"padding '{pad_type}'")


def _same_pads(x: Tensor, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]) -> list[int]:
    """Pixels before and after each axis by which a convolution's result has its input's size over the stride."""
    pads = []
    for size, length, stride, step in zip(x.shape[2:], kernel, strides, dilations, strict=True):
        both = max(0, (-(-size // stride) - 1) * stride + step * (length - 1) + 1 - size)
        pads += [both // 2, both - both // 2]
    return pads


def _as_torch_pads(pads: Sequence[int]) -> list[int]:
    """Reorder padding for torch, which starts with the last axis."""
    pairs = [pads[place : place + 2] for place in range(0, len(pads), 2)]
    return [one for pair in reversed(pairs) for one in pair]


def conv(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, strides: Any = None, pad_type: str = "valid",
    pad: Any = None, dilations: Any = None, groups: Any = 1,
) -> Tensor:  # fmt: skip
    """Convolution of 1, 2 or 3 spatial axes; weight (O, I / groups, …)."""
    axes = weight.dim() - 2
    steps = [1] * axes if dilations is None else _ints(dilations)
    strided = [1] * axes if strides is None else _ints(strides)
    pads = _same_pads(x, weight.shape[2:], strided, steps) if pad_type == "same" else _pads(axes, pad_type, pad)
    convolve = (functional.conv1d, functional.conv2d, functional.conv3d)[axes - 1]
    even = pads[::2] == pads[1::2]
    padded = x if even else functional.pad(x, _as_torch_pads(pads))
    result: Tensor = convolve(padded, weight, bias, strided, pads[::2] if even else 0, steps, int(groups))
    return result


def conv_transpose(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, strides: Any = None, pad_type: str = "valid",
    pad: Any = None, dilations: Any = None, groups: Any = 1, output_shape: Any = None,
) -> Tensor:  # fmt: skip
    """Transposed convolution; weight (I, O / groups, …). `pad` and `output_shape` crop the result, the latter at the
    end.
    """
    axes = weight.dim() - 2
    steps, strided = ([1] * axes if one is None else _ints(one) for one in (dilations, strides))
    pads = _pads(axes, pad_type, pad)
    transpose = (functional.conv_transpose1d, functional.conv_transpose2d, functional.conv_transpose3d)[axes - 1]
    whole: Tensor = transpose(x, weight, bias, strided, 0, 0, int(groups), steps)
    for axis in range(axes):
        size, first, last = whole.shape[axis + 2], pads[2 * axis], pads[2 * axis + 1]
        wanted = size - first - last if output_shape is None else _ints(output_shape)[axis + 2]
        if first + wanted > size:
            raise NoOperator("a transposed convolution with an output larger than its input gives")
        whole = whole.narrow(axis + 2, first, wanted)
    return whole


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`x` (…, I) times weight (O, I)."""
    return functional.linear(x, weight, bias)


def matmul(x: Tensor, y: Tensor, transpose_x: Any = False, transpose_y: Any = False) -> Tensor:
    """Product of the last two axes."""
    left, right = (one.mT if flag else one for one, flag in ((x, bool(transpose_x)), (y, bool(transpose_y))))
    return left @ right


def einsum(values: Sequence[Tensor], equation: str) -> Tensor:
    """Einstein summation of two tensors."""
    result: Tensor = torch.einsum(equation, *values)
    return result


def batch_norm(
    x: Tensor, mean: Tensor, variance: Tensor, gamma: Tensor | None = None, beta: Tensor | None = None,
    epsilon: Any = 1e-5,
) -> Tensor:  # fmt: skip
    """Normalisation by given statistics."""
    return functional.batch_norm(x, mean, variance, gamma, beta, eps=float(epsilon))


def instance_norm(x: Tensor, gamma: Tensor | None = None, beta: Tensor | None = None, epsilon: Any = 1e-5) -> Tensor:
    """Normalisation of each channel of each picture."""
    return functional.instance_norm(x, weight=gamma, bias=beta, eps=float(epsilon))


def layer_norm(
    x: Tensor, axes: Any = None, gamma: Tensor | None = None, beta: Tensor | None = None, epsilon: Any = 1e-5
) -> Tensor:
    """Normalisation over the given axes."""
    over = list(range(x.dim())) if axes is None else [one % x.dim() for one in _ints(axes)]
    variance, mean = torch.var_mean(x, over, correction=0, keepdim=True)
    normal = (x - mean) / (variance + float(epsilon)).sqrt()
    shape = [x.shape[axis] if axis in over else 1 for axis in range(x.dim())]
    normal = normal if gamma is None else normal * gamma.reshape(shape)
    return normal if beta is None else normal + beta.reshape(shape)


def pad(x: Tensor, pad: Any, mode: str = "constant", constant_val: Any = 0.0) -> Tensor:
    """Padding of the last axes; `pad` (2 n,) holds the widths before and after each of them, in their order."""
    amounts = _as_torch_pads(_ints(pad))
    if mode == "constant":
        return functional.pad(x, amounts, value=float(constant_val))
    while len(amounts) > 2 and not any(amounts[-2:]):  # torch reflects only the last axes
        amounts = amounts[:-2]
    if 2 * (x.dim() - 1) < len(amounts) or len(amounts) > 6:
        raise NoOperator(f"padding '{mode}' of {len(amounts) // 2} axes")
    lead = max(0, x.dim() - 2 - len(amounts) // 2)
    flat = x if lead == 0 else x.flatten(0, lead)
    bordered = functional.pad(flat, amounts, mode=mode)
    return bordered if lead == 0 else bordered.reshape([*x.shape[: lead + 1], *bordered.shape[1:]])


def _resized(x: Tensor, size: Sequence[int], mode: str, align_corners: bool | None = None) -> Tensor:
    return functional.interpolate(x, size=list(size), mode=mode, align_corners=align_corners)


def _scaled_size(x: Tensor, height: Any, width: Any) -> list[int]:
    return [int(x.shape[-2] * float(height)), int(x.shape[-1] * float(width))]


def upsample_nearest_neighbor(x: Tensor, scale_factor_height: Any = 1, scale_factor_width: Any = 1) -> Tensor:
    """Repeat each pixel by the factors."""
    return _resized(x, _scaled_size(x, scale_factor_height, scale_factor_width), "nearest")


def resize_nearest_neighbor(x: Tensor, target_size_height: Any, target_size_width: Any) -> Tensor:
    """The nearest pixel at floor(place * old / new)."""
    return _resized(x, [int(target_size_height), int(target_size_width)], "nearest")


def upsample_bilinear(
    x: Tensor, scale_factor_height: Any = 1, scale_factor_width: Any = 1, align_corners: Any = True,
    half_pixel_centers: Any = None,
) -> Tensor:  # fmt: skip
    """Bilinear upsampling; without aligned corners it interpolates between pixel centres."""
    if half_pixel_centers is not None and bool(half_pixel_centers) == bool(align_corners):
        raise NoOperator("bilinear upsampling from the corners of pixels")
    size = _scaled_size(x, scale_factor_height, scale_factor_width)
    return _resized(x, size, "bilinear", bool(align_corners))


SAMPLINGS: Mapping[str, bool] = {"STRICT_ALIGN_CORNERS": True, "UNALIGN_CORNERS": False}


def resize_bilinear(
    x: Tensor, target_size_height: Any = 1, target_size_width: Any = 1, sampling_mode: str = "DEFAULT"
) -> Tensor:
    """Bilinear resizing to a size."""
    if sampling_mode not in SAMPLINGS:
        raise NoOperator(f"bilinear resizing by '{sampling_mode}'")
    return _resized(x, [int(target_size_height), int(target_size_width)], "bilinear", SAMPLINGS[sampling_mode])


def _pooled(pool: Operator) -> Operator:
    def form(x: Tensor, kernel_sizes: Any, pad_type: str, strides: Any = None, pad: Any = None,
             ceil_mode: Any = False, exclude_padding_from_average: Any = True) -> Tensor:  # fmt: skip
        kernel = _ints(kernel_sizes)
        pads = _pads(len(kernel), pad_type, pad)
        if pads[::2] != pads[1::2]:
            raise NoOperator("pooling with uneven borders")
        more = {} if pool is functional.max_pool2d else {"count_include_pad": not exclude_padding_from_average}
        steps = kernel if strides is None else _ints(strides)
        result: Tensor = pool(x, kernel, steps, pads[::2], ceil_mode=bool(ceil_mode), **more)
        return result

    return form


def _reduced(reduce: Callable[[Tensor, list[int], bool], Tensor]) -> Operator:
    def form(x: Tensor, axes: Any = None, keep_dims: Any = False) -> Tensor:
        over = list(range(x.dim())) if axes is None else _ints(axes)
        return reduce(x, over, bool(keep_dims))

    return form


def _pointwise(function: Callable[[Tensor], Tensor]) -> Operator:
    return lambda x: function(x)


def _of_two(function: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    return lambda x, y: function(torch.as_tensor(x), torch.as_tensor(y))


def prelu(x: Tensor, alpha: Tensor) -> Tensor:
    """One slope for each channel below 0."""
    return functional.prelu(x, alpha)


def rsqrt(x: Tensor, epsilon: Any = 1e-12) -> Tensor:
    """1 / sqrt(x + epsilon)."""
    return (x + float(epsilon)).rsqrt()


def inverse(x: Tensor, epsilon: Any = 1e-4) -> Tensor:
    """1 / (x + epsilon)."""
    return 1 / (x + float(epsilon))


GELUS: Mapping[str, str] = {"EXACT": "none", "TANH_APPROXIMATION": "tanh"}


def gelu(x: Tensor, mode: str = "EXACT") -> Tensor:
    """GELU, exact or by tanh."""
    if mode not in GELUS:
        raise NoOperator(f"gelu by '{mode}'")
    return functional.gelu(x, approximate=GELUS[mode])


def cast(x: Tensor, dtype: str) -> Tensor:
    """Conversion to another number type; the caller rounds floats."""
    if dtype in ("fp16", "fp32"):
        return x.float()
    return x.bool() if dtype == "bool" else x.trunc().long() if x.is_floating_point() else x.long()


def reshape(x: Tensor, shape: Any) -> Tensor:
    """Reshaping; -1 stands for the remaining size, 0 for the size of the input."""
    sizes = _ints(shape)
    return x.reshape([x.shape[place] if size == 0 else size for place, size in enumerate(sizes)])


def expand_dims(x: Tensor, axes: Any) -> Tensor:
    """Add axes of length one; `axes` are positions in the result."""
    wanted = _ints(axes)
    rank = x.dim() + len(wanted)
    for axis in sorted(axis % rank for axis in wanted):
        x = x.unsqueeze(axis)
    return x


def squeeze(x: Tensor, axes: Any = None) -> Tensor:
    """Remove axes of length one."""
    return x.squeeze() if axes is None else x.squeeze(tuple(_ints(axes)))


def slice_by_index(
    x: Tensor, begin: Any, end: Any, stride: Any = None, begin_mask: Any = None, end_mask: Any = None,
    squeeze_mask: Any = None,
) -> Tensor:  # fmt: skip
    """A slice along each axis, with NumPy's rules; masks mark open bounds and axes to remove."""
    rank = x.dim()
    first, last, steps = (_ints(one) if one is not None else [1] * rank for one in (begin, end, stride))
    opened, ended, taken = (
        [bool(one) for one in mask] if mask is not None else [False] * rank
        for mask in (begin_mask, end_mask, squeeze_mask)
    )
    if min(steps) < 1:
        raise NoOperator("slices that run backwards")
    parts: list[Any] = [
        first[axis]
        if taken[axis]
        else slice(None if opened[axis] else first[axis], None if ended[axis] else last[axis], steps[axis])
        for axis in range(rank)
    ]
    return x[tuple(parts)]


def slice_by_size(x: Tensor, begin: Any, size: Any) -> Tensor:
    """A slice of a given size along each axis; -1 takes the rest."""
    for axis, (first, count) in enumerate(zip(_ints(begin), _ints(size), strict=True)):
        x = x.narrow(axis, first, x.shape[axis] - first if count < 0 else count)
    return x


def concat(values: Sequence[Tensor], axis: Any, interleave: Any = False) -> Tensor:
    """Concatenate tensors along an axis."""
    if bool(interleave):
        raise NoOperator("interleaved concatenation")
    return torch.cat([torch.as_tensor(one).reshape(-1) if one.dim() == 0 else one for one in values], int(axis))


def split(x: Tensor, axis: Any, num_splits: Any = None, split_sizes: Any = None) -> tuple[Tensor, ...]:
    """Split a tensor along an axis."""
    sizes = x.shape[int(axis)] // int(num_splits) if split_sizes is None else _ints(split_sizes)
    return tuple(torch.split(x, sizes, int(axis)))


def gather(x: Tensor, indices: Any, axis: Any = 0, batch_dims: Any = 0, validate_indices: Any = False) -> Tensor:  # noqa: ARG001
    """Entries along an axis, one for each index."""
    if int(batch_dims):
        raise NoOperator("gathering with batch axes")
    places, along = torch.as_tensor(indices), int(axis) % x.dim()
    taken = x.index_select(along, places.flatten().long() % x.shape[along])
    return taken.reshape([*x.shape[:along], *places.shape, *x.shape[along + 1 :]])


def depth_to_space(x: Tensor, block_size: Any) -> Tensor:
    """Blocks of pixels from channels in the order (row * block + column) * C' + c."""
    block = int(block_size)
    count, channels, height, width = x.shape
    parts = x.reshape(count, block, block, channels // block**2, height, width)
    return parts.permute(0, 3, 4, 1, 5, 2).reshape(count, channels // block**2, height * block, width * block)


def crop(x: Tensor, crop_height: Any, crop_width: Any) -> Tensor:
    """Cut rows and columns off at the beginning and the end."""
    top, bottom = _ints(crop_height)
    left, right = _ints(crop_width)
    return x[..., top : x.shape[-2] - bottom, left : x.shape[-1] - right]


def constexpr_affine_dequantize(quantized_data: Tensor, zero_point: Tensor, scale: Tensor, axis: Any) -> Tensor:
    """Weights from quantized values: scale * (code - zero point), with one scale, or one for each index of an axis."""
    rank, along = quantized_data.dim(), int(axis) % quantized_data.dim()
    shape = [-1 if place == along else 1 for place in range(rank)]
    by_axis = [one.float().reshape(shape) if one.dim() else one.float() for one in (zero_point, scale)]
    return (quantized_data.float() - by_axis[0]) * by_axis[1]


def constexpr_lut_to_dense(indices: Tensor, lut: Tensor, shape: Any) -> Tensor:
    """Weights from a palette: `indices` into `lut`, in as few bits as they need, the lowest bit of each byte first."""
    bits, sizes = int(np.log2(len(lut))), _ints(shape)
    packed: NDArray[np.uint8] = indices.numpy().astype(np.uint8)
    single = np.unpackbits(packed, bitorder="little")[: bits * int(np.prod(sizes))].reshape(-1, bits)
    places = (single.astype(np.int64) << np.arange(bits)).sum(1)
    return lut[torch.from_numpy(places)].reshape(sizes)


OPERATORS: Mapping[str, Operator] = {
    **{
        one.__name__: one
        for one in (
            conv, conv_transpose, linear, matmul, einsum, batch_norm, instance_norm, layer_norm, pad,
            upsample_nearest_neighbor, resize_nearest_neighbor, upsample_bilinear, resize_bilinear, prelu, rsqrt,
            inverse, gelu, cast, reshape, expand_dims, squeeze, slice_by_index, slice_by_size, concat, split, gather,
            depth_to_space, crop, constexpr_affine_dequantize, constexpr_lut_to_dense,
        )
    },
    "max_pool": _pooled(functional.max_pool2d),
    "avg_pool": _pooled(functional.avg_pool2d),
    "reduce_mean": _reduced(lambda x, axes, keep: x.mean(axes, keepdim=keep)),
    "reduce_sum": _reduced(lambda x, axes, keep: x.sum(axes, keepdim=keep)),
    "reduce_max": _reduced(lambda x, axes, keep: x.amax(axes, keepdim=keep)),
    "reduce_min": _reduced(lambda x, axes, keep: x.amin(axes, keepdim=keep)),
    "reduce_sum_square": _reduced(lambda x, axes, keep: x.square().sum(axes, keepdim=keep)),
    "reduce_l2_norm": _reduced(lambda x, axes, keep: x.square().sum(axes, keepdim=keep).sqrt()),
    "add": _of_two(torch.add),
    "sub": _of_two(torch.sub),
    "mul": _of_two(torch.mul),
    "real_div": _of_two(torch.div),
    "floor_div": _of_two(torch.floor_divide),
    "mod": _of_two(torch.remainder),
    "pow": _of_two(torch.pow),
    "maximum": _of_two(torch.maximum),
    "minimum": _of_two(torch.minimum),
    "relu": _pointwise(torch.relu),
    "relu6": _pointwise(functional.relu6),
    "tanh": _pointwise(torch.tanh),
    "sigmoid": _pointwise(torch.sigmoid),
    "silu": _pointwise(functional.silu),
    "softsign": _pointwise(functional.softsign),
    "softplus": _pointwise(functional.softplus),
    "exp": _pointwise(torch.exp),
    "sqrt": _pointwise(torch.sqrt),
    "square": _pointwise(torch.square),
    "abs": _pointwise(torch.abs),
    "sin": _pointwise(torch.sin),
    "cos": _pointwise(torch.cos),
    "erf": _pointwise(torch.erf),
    "floor": _pointwise(torch.floor),
    "sign": _pointwise(torch.sign),
    "identity": _pointwise(lambda x: x),
    "shape": lambda x: torch.tensor(x.shape),
    "log": lambda x, epsilon=1e-45: torch.log(x + float(epsilon)),
    "leaky_relu": lambda x, alpha: functional.leaky_relu(x, float(alpha)),
    "elu": lambda x, alpha: functional.elu(x, float(alpha)),
    "sigmoid_hard": lambda x, alpha=0.2, beta=0.5: (float(alpha) * x + float(beta)).clamp(0, 1),
    "clip": lambda x, alpha, beta: x.clamp(float(alpha), float(beta)),
    "threshold": lambda x, alpha: x.clamp(min=float(alpha)),
    "softmax": lambda x, axis: x.softmax(int(axis)),
    "transpose": lambda x, perm: x.permute(_ints(perm)),
    "stack": lambda values, axis: torch.stack(list(values), int(axis)),
    "tile": lambda x, reps: x.tile(_ints(reps)),
    "fill": lambda shape, value: torch.full(_ints(shape), value.item()),
    "reverse": lambda x, axes=None: x.flip(list(range(x.dim())) if axes is None else _ints(axes)),
    "pixel_shuffle": lambda x, upscale_factor: functional.pixel_shuffle(x, int(upscale_factor)),
}  # fmt: skip
"""The function of each operator, by the operator's name in a program."""
