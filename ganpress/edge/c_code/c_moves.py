"""Writes functions that only move values as steps of a C program; quantized values stay quantized."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganpress.edge.c_code.c_program import Argument, Program
from ganpress.edge.c_code.c_values import Shape, Values, as_floats
from ganpress.edge.graphs.form_operands import NoForm

PADDING = -1
"""Stands in place of the number of a row or column that is padding."""
BORDERS: dict[str, str] = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}
"""Names of padding modes in torch -> in NumPy."""


def _places(length: int, before: int, after: int, mode: str) -> NDArray[np.int16]:
    """Return the number of the source row, or column, for each one of a padded map; negative widths crop."""
    numbers = np.arange(length)[max(-before, 0) : length - max(-after, 0)]
    widths = (max(before, 0), max(after, 0))
    if mode == "constant":
        return np.pad(numbers, widths, constant_values=PADDING).astype(np.int16)
    return np.pad(numbers, widths, mode=BORDERS[mode]).astype(np.int16)  # type: ignore[call-overload, no-any-return]


def pad_map(program: Program, x: Values, widths: Sequence[int], mode: str, value: float = 0.0) -> Values:
    """Pad height and width; `widths` are left, right, top, bottom, as in torch.

    Raises:
        NoForm: if other axes are padded, or the mode is not supported.
    """
    if (len(widths) > 4 and any(widths[4:])) or mode not in ("constant", *BORDERS):
        raise NoForm(f"padding {tuple(widths)} by '{mode}'")
    left, right, top, bottom = (*widths[:4], 0, 0, 0)[:4]
    _, height, width = x.shape
    rows, columns = _places(height, top, bottom, mode), _places(width, left, right, mode)
    if PADDING not in rows and PADDING not in columns:
        return picked(program, x, rows, columns)
    if x.reals is not None:
        hits = x.reals == value
        if bool(hits.any(1).all()):
            return picked(program, x, rows, columns, hits.int().argmax(1).to(torch.uint8))
        x = as_floats(program, x)
    return picked(program, x, rows, columns, torch.full((x.channels,), value))


def picked(
    program: Program, x: Values, rows: NDArray[np.int16], columns: NDArray[np.int16], filling: Tensor | None = None
) -> Values:
    """Select rows and columns of a map; `filling` is the pixel (C,) of padding."""
    result = x.elsewhere((x.channels, len(rows), len(columns)))
    names = [program.constant(one) for one in (rows, columns)]
    fill = "NULL" if filling is None else program.constant(filling.numpy())
    arguments: tuple[Argument, ...] = (names[0], str(len(rows)), names[1], str(len(columns)), fill)
    arguments += (x.buffer, str(x.shape[2]), result.buffer, str(x.channels * x.size))
    program.add("pick_pixels", arguments, [x.buffer], result.buffer)
    return result


def resize_nearest(program: Program, x: Values, height: int, width: int) -> Values:
    """Resize to the nearest pixel, by torch's default rule."""

    def numbers(old: int, new: int) -> NDArray[np.int16]:
        values = torch.nn.functional.interpolate(torch.arange(old).float()[None, None], size=new, mode="nearest")
        return values[0, 0].numpy().astype(np.int16)

    return picked(program, x, numbers(x.shape[1], height), numbers(x.shape[2], width))


def shuffle(program: Program, x: Values, factor: int) -> Values:
    """Shuffle pixels; codes become floats if their reals differ between the phases of a channel."""
    channels, height, width = x.shape
    shape = (channels // factor**2, factor * height, factor * width)
    x, kept = _merged(program, x, lambda facts: facts.reshape(shape[0], factor**2, -1))
    result = kept(x.elsewhere(shape))
    arguments: tuple[Argument, ...] = (x.buffer, result.buffer, *map(str, (height, width, shape[0], factor, x.size)))
    program.add("shuffle_pixels", arguments, [x.buffer], result.buffer)
    return result


def _merged(
    program: Program, x: Values, grouped: Callable[[Tensor], Tensor]
) -> tuple[Values, Callable[[Values], Values]]:
    """Return values that can be merged in groups of channels, and a function that keeps one channel's scale of each
    group.
    """
    if x.reals is None:
        return x, lambda result: result
    groups = grouped(x.reals)  # (channels, merged, levels)
    if bool((groups != groups[:, :1]).any()):
        return as_floats(program, x), lambda result: replace(result, reals=None, scales=None, zeros=None)

    def first(facts: Tensor | None) -> Tensor | None:
        return None if facts is None else grouped(facts[:, None])[:, 0, 0].contiguous()

    return x, lambda result: replace(
        result, reals=groups[:, 0].contiguous(), scales=first(x.scales), zeros=first(x.zeros)
    )


def pick_channels(program: Program, x: Values, channels: Sequence[int]) -> Values:
    """Select channels of a map, in the given order."""
    chosen = [None if one is None else one[list(channels)] for one in (x.reals, x.scales, x.zeros)]
    facts: dict[str, Any] = dict(zip(("reals", "scales", "zeros"), chosen, strict=True))
    result = x.elsewhere((len(channels), *x.shape[1:]), **facts)
    numbers = program.constant(np.array(channels, np.uint16))
    sizes = (str(len(channels)), x.buffer, str(x.channels), result.buffer, str(x.pixels), str(x.size))
    program.add("pick_channels", (numbers, *sizes), [x.buffer], result.buffer)
    return result


def joined(program: Program, parts: Sequence[Values]) -> Values:
    """Concatenate maps of one size along their channels."""
    codes = all(one.reals is not None and one.reals.shape[1] == _levels(parts[0]) for one in parts)
    parts = parts if codes else [as_floats(program, one) for one in parts]
    total = sum(one.channels for one in parts)

    def together(name: str) -> Tensor | None:
        facts = [getattr(one, name) for one in parts]
        return None if any(one is None for one in facts) else torch.cat(facts)

    first = parts[0]
    facts: dict[str, Any] = {name: together(name) for name in ("reals", "scales", "zeros")}
    result = first.elsewhere((total, *first.shape[1:]), **facts)
    start = 0
    for part in parts:
        numbers = map(str, (start, total, part.pixels, part.size))
        program.add(
            "join_channels",
            (part.buffer, str(part.channels), result.buffer, *numbers),
            [part.buffer, *([result.buffer] if start else [])],
            result.buffer,
        )
        start += part.channels
    return result


def _levels(value: Values) -> int:
    return -1 if value.reals is None else value.reals.shape[1]


def viewed(program: Program, x: Values, shape: Shape, rank: int) -> Values:
    """Reshape values in torch's order, channel by channel.

    Raises:
        NoForm: unless channels are kept, flattened with all their pixels, or restored from such a flat axis.
    """
    if x.shape == shape or (x.pixels == 1 and shape[1] * shape[2] == 1):
        return replace(x, shape=shape, rank=rank)
    pixels = shape[1] * shape[2]
    if x.channels == shape[0]:
        return replace(x, shape=shape, rank=rank)
    if pixels == 1:  # a map is flattened channel by channel
        facts = _spread(x, x.pixels)
        result = x.elsewhere(shape, rank, **facts)
        return _turned(program, x, result, x.pixels, x.channels)
    if x.pixels == 1 and x.channels == shape[0] * pixels:
        x, kept = _merged(program, x, lambda one: one.reshape(shape[0], pixels, -1))
        return _turned(program, x, kept(x.elsewhere(shape, rank)), shape[0], pixels)
    raise NoForm(f"a view of {x.shape} as {shape}")


def _spread(x: Values, times: int) -> dict[str, Any]:
    facts = {"reals": x.reals, "scales": x.scales, "zeros": x.zeros}
    return {name: None if one is None else one.repeat_interleave(times, 0) for name, one in facts.items()}


def _turned(program: Program, x: Values, result: Values, height: int, width: int) -> Values:
    if min(height, width) == 1:
        return replace(result, buffer=x.buffer)
    arguments = (x.buffer, result.buffer, str(height), str(width), str(x.size))
    program.add("turn_planes", arguments, [x.buffer], result.buffer)
    return result
