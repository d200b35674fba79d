"""Processes a picture of any size with a generator of one size, in overlapping tiles.

Near a tile's border, the network's padding takes the place of the rest of the picture. It influences pixels within the
receptive field. If that is known and smaller than half a tile, these pixels are cut off, and the result equals that of
the network on the whole picture. If each pixel depends on the whole picture, e.g. by instance normalisation, each tile
is normalised by itself; neighbours are then blended over their overlap, and their difference there is measured.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganpress.basics.pixel_values import images_to_uint8
from ganpress.errors import ConfigError
from ganpress.metrics.scoring import Generate
from ganpress.structure.receptive_field import ReceptiveField

Pixels = NDArray[np.uint8]
AsInput = Callable[[Pixels], Tensor]
BLENDED_PART = 4
"""A blended overlap has the width of a tile divided by this number."""


@dataclass(frozen=True)
class Span:
    """The tiles along one axis."""

    tile: int
    """Size of a tile in pixels."""
    padded: int
    """Size of the picture in pixels after it was padded so that tiles cover it."""
    places: tuple[int, ...]
    """First pixel of each tile."""
    margin: int
    """Smallest number of pixels that neighbours share on each side, which are cut off or blended."""
    blended: bool

    def weights(self, number: int) -> NDArray[np.float64]:
        """Return the weight of each pixel of a tile: 0 or 1 if margins are cut, a slope if they are blended."""
        weights = np.ones(self.tile)
        slope = (np.arange(2 * self.margin) + 0.5) / (2 * self.margin) if self.blended else np.zeros(self.margin)
        if number > 0:
            weights[: len(slope)] *= slope
        if number < len(self.places) - 1:
            weights[self.tile - len(slope) :] *= slope[::-1]
        return weights


@dataclass(frozen=True)
class Plan:
    """The tiles of one picture."""

    rows: Span
    columns: Span
    exact: bool
    """Whether the result equals that of the network on the whole picture."""

    @property
    def tiles(self) -> int:
        """Number of tiles."""
        return len(self.rows.places) * len(self.columns.places)


def plan_tiles(
    picture: tuple[int, int], tile: tuple[int, int], field: ReceptiveField, overlap: int | None = None
) -> Plan:
    """Plan tiles (h, w) for a picture (H, W).

    Args:
        picture: the picture's size.
        tile: the size that the file takes.
        field: the network's receptive field.
        overlap: smallest number of pixels that neighbours share; None takes what exact tiles need, or a quarter of a
            tile.

    Raises:
        ConfigError: if the overlap is so wide that nothing of a tile is left.
    """
    rows, columns = (_span(length, size, field, overlap) for length, size in zip(picture, tile, strict=True))
    alone = all(len(span.places) == 1 for span in (rows, columns))
    enlarged = (rows.padded, columns.padded) != picture
    return Plan(rows, columns, not enlarged and (alone or not (rows.blended or columns.blended)))


def _span(length: int, tile: int, field: ReceptiveField, overlap: int | None) -> Span:
    stride = field.stride if tile % field.stride == 0 else 1
    padded = max(tile, _up(length, stride))
    if padded == tile:
        return Span(tile, padded, (0,), 0, blended=False)
    needed = None if field.reach is None else _up(field.reach, stride)
    blended = needed is None or 2 * needed > tile - stride
    if blended or needed is None:
        needed = 0
    asked = tile // BLENDED_PART if overlap is None and blended else overlap or 0
    margin = max(needed, _up(-(-asked // 2), stride), stride if blended else 0)
    step = tile - 2 * margin
    if step < stride:
        raise ConfigError(
            f"tiles of {tile} pixels cannot overlap by {2 * margin}; give --overlap at most "
            f"{2 * ((tile - stride) // (2 * stride)) * stride}"
        )
    places = tuple(sorted({*range(0, padded - tile, step), padded - tile}))
    return Span(tile, padded, places, margin, blended)


def _up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


@dataclass(frozen=True)
class Drawn:
    """The result of all tiles."""

    pixels: Pixels
    """The result, (H', W', C), uint8."""
    seam_db: float | None
    """Signal-to-noise ratio between neighbouring tiles where they are blended; None without blending."""


def draw_tiles(
    generate: Generate, picture: Pixels, plan: Plan, as_input: AsInput, done: Callable[[int], None]
) -> Drawn:
    """Process a picture tile by tile; besides the picture and the result, only one row of tiles is in memory.

    Args:
        generate: (1, C', h, w) -> (1, C", h', w'), images in [-1, 1].
        picture: (C, H, W) pixels.
        plan: the plan for the picture's size.
        as_input: pixels (C, h, w) -> the generator's input (1, C', h, w).
        done: function that is called with 1 after each tile.

    Raises:
        ConfigError: if the results' size does not give whole pixels at the tiles' places.
        DataError: if a pixel is NaN or infinite.
    """
    height, width = picture.shape[1:]
    padded = _enlarged(picture, plan)
    canvas: _Canvas | None = None
    for row, top in enumerate(plan.rows.places):
        for column, left in enumerate(plan.columns.places):
            part = padded[:, top : top + plan.rows.tile, left : left + plan.columns.tile]
            images = generate(as_input(part))[0].numpy()
            canvas = canvas or _Canvas(images.shape, plan)
            canvas.lay(images, row, column)
            done(1)
        assert canvas is not None  # each row has at least one tile
        canvas.finish_row(row)
    assert canvas is not None
    return Drawn(canvas.result[: round(height * canvas.scale), : round(width * canvas.scale)], canvas.seam_db())


def _enlarged(picture: Pixels, plan: Plan) -> Pixels:
    """Pad the picture by reflection at its lower and right borders until tiles cover it."""
    more = [span.padded - size for span, size in zip((plan.rows, plan.columns), picture.shape[1:], strict=True)]
    if not any(more):
        return picture
    return np.pad(picture, ((0, 0), (0, more[0]), (0, more[1])), mode="symmetric")


class _Canvas:
    """The result, and the weighted sums of the current row of tiles."""

    def __init__(self, drawn: tuple[int, ...], plan: Plan) -> None:
        channels, *size = drawn
        scales = {Fraction(new, span.tile) for new, span in zip(size, (plan.rows, plan.columns), strict=True)}
        self.scale, *others = scales
        places = (*plan.rows.places, *plan.columns.places, plan.rows.padded, plan.columns.padded)
        if others or any((place * self.scale).denominator != 1 for place in places):
            raise ConfigError(
                f"the file turns {plan.rows.tile}x{plan.columns.tile} into {size[0]}x{size[1]}, which cannot be tiled; "
                "give it pictures of its own size"
            )
        self.plan = plan
        width = self._scaled(plan.columns.padded)
        self.result = np.zeros((self._scaled(plan.rows.padded), width, channels), np.uint8)
        self._sums = np.zeros((channels, size[0], width), np.float32)
        self._weights = np.zeros((size[0], width), np.float32)
        self._signal = self._noise = 0.0

    def _scaled(self, pixels: int) -> int:
        return int(pixels * self.scale)

    def lay(self, images: NDArray[np.float32], row: int, column: int) -> None:
        """Add a tile to the row."""
        left = self._scaled(self.plan.columns.places[column])
        across = slice(left, left + images.shape[2])
        weights = np.outer(*(
            np.repeat(span.weights(number), self.scale.numerator)[:: self.scale.denominator]
            for span, number in ((self.plan.rows, row), (self.plan.columns, column))
        )).astype(np.float32)  # fmt: skip
        before, there = self._weights[:, across], self._sums[:, :, across]
        if not self.plan.exact:
            self._compare(images, weights, there, before)
        there += images * weights
        before += weights

    def _compare(
        self,
        images: NDArray[np.float32],
        weights: NDArray[np.float32],
        sums: NDArray[np.float32],
        before: NDArray[np.float32],
    ) -> None:
        both = (weights > 0) & (before > 0)
        drawn = sums[:, both] / before[both]
        self._signal += float(np.square(drawn, dtype=np.float64).sum())
        self._noise += float(np.square(images[:, both] - drawn, dtype=np.float64).sum())

    def finish_row(self, row: int) -> None:
        """Round the rows that no further tile changes, and keep the rest for the next row of tiles."""
        places = (*self.plan.rows.places, self.plan.rows.padded)
        top, following = self._scaled(places[row]), self._scaled(places[row + 1])
        final = following - top
        values = self._sums[:, :final] / np.maximum(self._weights[:final], np.finfo(np.float32).tiny)
        self.result[top:following] = images_to_uint8(torch.from_numpy(values)).numpy().transpose(1, 2, 0)
        for kept in (self._sums, self._weights):
            rest = kept[..., final:, :].copy()
            kept[...] = 0
            kept[..., : rest.shape[-2], :] = rest

    def seam_db(self) -> float | None:
        """See `Drawn`."""
        if self._noise == 0:
            return None
        return float(10 * np.log10(self._signal / self._noise))
