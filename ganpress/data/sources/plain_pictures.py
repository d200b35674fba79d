"""Converts pictures of more than eight bits and transparent ones to plain pictures when they are imported."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ganpress.config.data_section import Background
from ganpress.data.raw.image_files import encode_png, is_deep, opened_picture, over_background
from ganpress.errors import DataError

HALF_OF_16_BIT = 32_768
Read = Callable[[str], bytes]


@dataclass(frozen=True)
class PictureStyle:
    """Settings of the conversion to eight bits per channel without transparency."""

    values: tuple[float, ...] | None = None
    """Values of black and white in pictures of more than eight bits; None: 0 and 65,535 if values above half of that
    occur, else such pictures are refused with the range that was found."""
    background: Background = "white"
    """Background of transparent pictures."""


@dataclass
class _Found:
    """Facts from the headers of all pictures."""

    deep: list[str] = field(default_factory=list)
    low: float = math.inf
    high: float = -math.inf
    whole_16_bit: bool = True
    """Whether all pictures of more than eight bits have 16 bits per value."""
    transparent: int = 0
    animated: int = 0
    """Files of several pictures."""


def plain_members(
    members: list[tuple[str, str]], read: Read, style: PictureStyle, where: str
) -> tuple[Iterator[tuple[str, bytes]], list[str]]:
    """Return the files to write, and notes about them; a picture that is plain already keeps its bytes.

    Args:
        members: (name to write, name to read).
        read: returns the bytes of a file.
        style: settings for values and transparency.
        where: name of the data in messages.

    Raises:
        DataError: if pictures have more than eight bits and the values of black and white are not given.
    """
    found = _look(members, read)
    notes = []
    if found.transparent:
        pictures = (
            "1 transparent picture was composited"
            if found.transparent == 1
            else f"{found.transparent:,} transparent pictures were composited"
        )
        notes.append(f"{pictures} over {style.background} (data.background)")
    if found.animated:
        files = "1 file holds" if found.animated == 1 else f"{found.animated:,} files hold"
        notes.append(f"{files} several pictures each, as animations do: the first one is taken")
    values = style.values
    if found.deep:
        values = _values(found, style, where)
        said = f"{values[0]:g} is black and {values[1]:g} is white (data.values)"
        pictures = "1 picture has" if len(found.deep) == 1 else f"{len(found.deep):,} pictures have"
        notes.append(f"{pictures} more than eight bits: {said}")
    return ((new, _plain(read(old), old, values, style.background)) for new, old in members), notes


def _look(members: list[tuple[str, str]], read: Read) -> _Found:
    """Read every picture's header, and the values of those with more than eight bits."""
    found = _Found()
    for _, name in members:
        try:
            with opened_picture(read(name), name) as opened:
                found.transparent += bool(opened.has_transparency_data)
                found.animated += getattr(opened, "n_frames", 1) > 1
                if is_deep(opened):
                    pixels = np.asarray(opened)
                    found.deep.append(name)
                    found.low, found.high = min(found.low, float(pixels.min())), max(found.high, float(pixels.max()))
                    found.whole_16_bit &= opened.mode.startswith("I;16")
        except DataError:
            continue  # The gate reports files that cannot be read.
    return found


def _values(found: _Found, style: PictureStyle, where: str) -> tuple[float, float]:
    if style.values is not None:
        return style.values[0], style.values[1]
    if found.whole_16_bit and found.high >= HALF_OF_16_BIT:
        return 0.0, 65_535.0
    advice = f"{found.low:g}:{_white(found.high):g}"
    raise DataError(
        f"{where}: {len(found.deep):,} pictures, first {found.deep[0]}, have values from {found.low:g} to "
        f"{found.high:g} instead of 0 to 255; give the values of black and white, e.g. `--values {advice}` "
        "(data.values)"
    )


def _white(high: float) -> float:
    """Return the likely white of values up to `high`: 1, or one below a power of two."""
    return 1.0 if high <= 1 else float(2 ** math.ceil(math.log2(high + 1)) - 1)


def _plain(content: bytes, name: str, values: tuple[float, ...] | None, background: Background) -> bytes:
    try:
        with opened_picture(content, name) as opened:
            if is_deep(opened) and values is not None:
                return encode_png(scaled(np.asarray(opened), values))
            if (
                opened.has_transparency_data and background != "white"
            ):  # This value of white is what every reader assumes.
                return encode_png(np.asarray(over_background(opened, background), np.uint8))
    except DataError:
        pass  # The gate reports it.
    return content


def scaled(pixels: NDArray[np.generic], values: tuple[float, ...]) -> NDArray[np.uint8]:
    """Scale values to 0 … 255, where `values` are black and white; values beyond them are clipped."""
    low, high = values
    share = (pixels.astype(np.float64) - low) / (high - low)
    scaled: NDArray[np.uint8] = np.rint(np.nan_to_num(share).clip(0, 1) * 255).astype(np.uint8)
    return scaled
