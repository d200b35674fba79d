"""Convolutions as steps of a C program: in the integers of a quantized layer, or in floats."""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganpress.edge.c_code.c_moves import pad_map, pick_channels
from ganpress.edge.c_code.c_program import Buffer, Program, Structure
from ganpress.edge.c_code.c_values import Shape, Values, as_floats
from ganpress.edge.graphs.form_operands import NoForm
from models.quantized import FLOAT32_EXACT, ActivationQuantizer
from models.quantized_channels import ChannelQuantizer, InputQuantizer
from models.quantized_geometry import Geometry
from models.quantized_layers import QuantizedConv

MANTISSA_BITS = 24
"""Bits of a float32 mantissa."""
SHIFTS = range(17, 64)
"""Shifts that the C function `code_of` supports."""
LAYER_FIELDS = ("layer", "weights", "starts", "mantissas", "shifts", "table", "weight_bits", "zero", "low", "high")
"""Fields of the C type `integer_layer_t`, in order."""
STORED_BITS = (2, 4, 8)
"""Bit widths in which weights are stored; a width between two of them takes the larger one."""


def integer_convolution(program: Program, x: Values, layer: QuantizedConv, rank: int) -> Values:
    """Write an integer layer: quantize its input where needed, call one C function, and return its quantized output.

    Raises:
        NoForm: if the layer has float weights or activations, or its numbers do not fit the C arithmetic.
    """
    source, target = layer.source, layer.target
    if source is None or target is None:
        raise NoForm("a layer with float weights or activations; layers with integers for both are supported")
    if layer.geometry.border is not None:
        mode, widths = layer.geometry.border
        x = pad_map(program, x, widths, mode)
    codes = _codes(program, x, source)
    if layer.channels is not None:
        codes = pick_channels(program, codes, layer.channels.tolist())
    multipliers, starts = _arithmetic(program, layer, source, target)
    out = _out_shape(layer.geometry, codes.shape, layer.weight.shape[0])
    result = _codes_of(target, out, rank)
    fields = _geometry_fields(layer.geometry, codes.shape, out, layer.weight)
    one = _integer_layer(program, fields, layer, source, target, multipliers, starts)
    taps = int(np.prod(layer.weight.shape[1:]))
    scratch = Buffer(5 * taps + 3, 1)
    program.add("convolve_codes", (one, codes.buffer, result.buffer, scratch), [codes.buffer], result.buffer, scratch)
    return result


def _codes_of(target: ChannelQuantizer, shape: Shape, rank: int) -> Values:
    all_codes = torch.arange(target.highest_code + 1, dtype=torch.float32)[:, None].expand(-1, shape[0])
    reals = target.decode(all_codes[:, :, None, None])[:, :, 0, 0].T.contiguous()
    return Values(Buffer(int(np.prod(shape)), 1), shape, rank, reals, target.scale.clone(), target.zero_point.clone())


def float_convolution(
    program: Program, x: Values, weight: Tensor, bias: Tensor | None, geometry: Geometry, rank: int
) -> Values:
    """Write a float convolution; `weight` is (r r O, I / groups, kh, kw)."""
    if geometry.border is not None:
        mode, widths = geometry.border
        x = pad_map(program, x, widths, mode)
    x = as_floats(program, x)
    out = _out_shape(geometry, x.shape, weight.shape[0])
    result = Values(Buffer(int(np.prod(out)), 4), out, rank)
    biases = torch.zeros(weight.shape[0]) if bias is None else bias
    rows = weight.permute(0, 2, 3, 1).contiguous()
    names = [program.constant(one.detach().numpy().astype(np.float32)) for one in (rows, biases)]
    fields = {"layer": _geometry_fields(geometry, x.shape, out, weight), "weights": names[0], "biases": names[1]}
    scratch = Buffer(int(np.prod(weight.shape[1:])), 4)
    program.add(
        "convolve_floats",
        (Structure("float_layer_t", fields), x.buffer, result.buffer, scratch),
        [x.buffer],
        result.buffer,
        scratch,
    )
    return result


def _out_shape(geometry: Geometry, shape: Shape, rows: int) -> Shape:
    high, wide = _places(geometry, shape)
    top, left, bottom, right = geometry.crop
    factor = geometry.factor
    return rows // factor**2, factor * high - top - bottom, factor * wide - left - right


def _places(geometry: Geometry, shape: Shape) -> tuple[int, int]:
    top, left, bottom, right = geometry.pad
    sizes = (shape[1] + top + bottom, shape[2] + left + right)
    reach = (dilation * (kernel - 1) + 1 for dilation, kernel in zip(geometry.dilation, geometry.kernel, strict=True))
    high, wide = ((size - one) // step + 1 for size, one, step in zip(sizes, reach, geometry.stride, strict=True))
    return high, wide


def _geometry_fields(geometry: Geometry, shape: Shape, out: Shape, weight: Tensor) -> str:
    """Return the values of the C type `layer_t`."""
    taps = int(np.prod(weight.shape[1:]))
    numbers = [
        *(shape[1], shape[2], shape[0]), geometry.groups, *geometry.kernel, *geometry.stride, *geometry.dilation,
        *geometry.pad[:2], *_places(geometry, shape), *(out[1], out[2], out[0]), geometry.factor,
        *geometry.crop[:2], taps,
    ]  # fmt: skip
    if max(numbers) >= 2**16:
        raise NoForm(f"a layer with a size of {max(numbers):,}; sizes below 65,536 are supported")
    return "{" + ", ".join(map(str, numbers)) + "}"


def _integer_layer(
    program: Program,
    fields: str,
    layer: QuantizedConv,
    source: ActivationQuantizer | InputQuantizer,
    target: ChannelQuantizer,
    multipliers: NDArray[np.float32],
    starts: NDArray[np.int64],
) -> Structure:
    mantissas, shifts = _parted(multipliers)
    rows = layer.weight.permute(0, 2, 3, 1).reshape(layer.weight.shape[0], -1).numpy()
    bits = stored_bits(rows)
    program.packed_weights |= bits < 8
    names = [
        program.constant(one)
        for one in (
            pack_rows(rows, bits),
            starts.astype(np.int32),
            mantissas.astype(np.uint32),
            shifts.astype(np.uint8),
        )
    ]
    values = (fields, *names, "NULL", bits, int(source.kernel_zero), 0, target.highest_code)
    return Structure("integer_layer_t", {name: str(one) for name, one in zip(LAYER_FIELDS, values, strict=True)})


def _arithmetic(
    program: Program, layer: QuantizedConv, source: ActivationQuantizer | InputQuantizer, target: ChannelQuantizer
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the multiplier of each row, as in the simulation, and the initial value of each row's sum."""
    multiplier = source.kernel_scale * layer.code_scale(target)
    bias = torch.round(layer.code_bias(target) / multiplier).to(torch.int64)
    weight = layer.weight.to(torch.int64)
    starts = bias - int(source.kernel_zero) * weight.sum((1, 2, 3))
    largest = weight.abs().sum((1, 2, 3)) * source.highest_code + starts.abs()
    if int(largest.max()) >= 2**31:
        raise NoForm("a layer whose sums may exceed 32 bits")
    program.large_totals |= int(largest.max()) >= FLOAT32_EXACT
    return multiplier.numpy(), starts.numpy()


def _parted(multipliers: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split each float32 into a mantissa and a shift; it equals mantissa / 2^shift exactly."""
    fractions, exponents = np.frexp(multipliers.astype(np.float64))
    mantissas, shifts = np.ldexp(fractions, MANTISSA_BITS).astype(np.int64), MANTISSA_BITS - exponents.astype(np.int64)
    if not (multipliers > 0).all() or shifts.min() < SHIFTS.start or shifts.max() >= SHIFTS.stop:
        raise NoForm(
            f"a layer that multiplies its sums by {float(multipliers.min()):.3g} to {float(multipliers.max()):.3g}; "
            f"2^{MANTISSA_BITS - SHIFTS.stop} to 2^{MANTISSA_BITS - SHIFTS.start} are supported"
        )
    return mantissas, shifts


def stored_bits(rows: NDArray[np.int8]) -> int:
    """Return the smallest of `STORED_BITS` that holds all weights in two's complement."""
    lowest, highest = int(rows.min()), int(rows.max())
    return next(bits for bits in STORED_BITS if -(2 ** (bits - 1)) <= lowest and highest < 2 ** (bits - 1))


def pack_rows(rows: NDArray[np.int8], bits: int) -> NDArray[np.uint8]:
    """Pack weights (rows, taps) in two's complement of `bits` bits, lowest bits first; each row starts a new byte."""
    each = 8 // bits
    padded = np.pad(rows.astype(np.int64), ((0, 0), (0, -rows.shape[1] % each))) & (2**bits - 1)
    parts = padded.reshape(rows.shape[0], -1, each) << (bits * np.arange(each))
    packed: NDArray[np.uint8] = parts.sum(2).astype(np.uint8)
    return packed


def _codes(program: Program, x: Values, source: ActivationQuantizer | InputQuantizer) -> Values:
    """Return the quantized input of a layer: codes of another scale are looked up in a table, floats are rounded."""
    if x.reals is None:
        return _rounded(program, x, source)
    levels = x.reals.shape[1]
    table = source.encode(x.reals.T.contiguous()[:, :, None, None])[:, :, 0, 0].T.to(torch.uint8)  # (C, levels)
    if bool((table == torch.arange(levels, dtype=torch.uint8)).all()):
        return replace(x, reals=None)
    result = Values(Buffer(x.buffer.count, 1), x.shape, x.rank)
    each = bool((table != table[:1]).any())
    name = program.constant((table if each else table[0]).numpy())
    arguments = (name, str(levels) if each else "0", x.buffer, result.buffer, str(x.pixels), str(x.channels))
    program.add("map_codes", arguments, [x.buffer], result.buffer, in_place=True)
    return result


def _rounded(program: Program, x: Values, source: ActivationQuantizer | InputQuantizer) -> Values:
    offset = source.offset if isinstance(source, InputQuantizer) else torch.zeros(())
    facts = [one.reshape(-1) for one in (source.scale, offset, source.zero_point)]
    count = x.channels if any(_differ(one) for one in facts) else 1
    names = [
        program.constant(one.expand(count).contiguous().numpy() if len(one) == 1 else one[:count].numpy())
        for one in facts
    ]
    values = (*names, "1" if count > 1 else "0", str(source.highest_code))
    coding = Structure("coding_t", dict(zip(("scales", "offsets", "zeros", "each", "high"), values, strict=True)))
    result = Values(Buffer(x.buffer.count, 1), x.shape, x.rank)
    arguments = (coding, x.buffer, result.buffer, str(x.pixels), str(x.channels))
    program.add("encode_floats", arguments, [x.buffer], result.buffer)
    return result


def _differ(values: Tensor) -> bool:
    """Whether there are several values that are not all equal."""
    return bool((values != values[:1]).any())
