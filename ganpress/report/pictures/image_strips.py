"""Rows of pictures, one for each generator below the inputs' own row; columns have the same inputs."""

import io
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ganpress.report.content import ReportInputs
from ganpress.report.notation import write_score
from ganpress.report.pictures.label_pictures import colour_labels
from ganpress.report.tables.result_tables import headline_table

SHOWN_PIXELS = 96
"""Images are enlarged by a whole factor up to about this height, so that a browser never enlarges them."""
ROW_PIXELS = 2100
"""Largest width of a row; beyond it fewer images are shown. It is twice the page's width, for high-resolution
screens.
"""
FEWEST = 4

Pictures = NDArray[np.uint8]


@dataclass(frozen=True)
class Strip:
    """The pictures of one generator in one row."""

    name: str
    """File name without suffix."""
    reference: str
    group: str
    """The generator's group, or `given` for sources and their targets."""
    note: str
    png: bytes
    width: int
    """Largest width in pixels, the same for rows above each other."""


def sample_strips(inputs: ReportInputs) -> list[Strip]:
    """Return rows for the same inputs: the inputs, then every generator in the order of the tables."""
    return _given(inputs) + _rows(inputs, inputs.gallery.samples, "samples")


def interpolation_strips(inputs: ReportInputs) -> list[Strip]:
    """Return rows for the same walk between two latents; none for conditional generators."""
    return _rows(inputs, inputs.gallery.interpolation, "interpolation")


def _given(inputs: ReportInputs) -> list[Strip]:
    gallery, conditioning = inputs.gallery, inputs.data.conditioning
    count = shown_count(gallery.samples)
    width = row_width(gallery.samples, count)
    strips = []
    if gallery.source is not None:
        source, name = gallery.source[:count], "source"
        if conditioning is not None and conditioning.pairing == "semantic":
            source, name = colour_labels(source, conditioning.channels), "label map"
        strips.append(Strip("samples-source", name, "given", "what generators read", strip_png(source), width))
    if gallery.truth is not None:
        truth = strip_png(gallery.truth[:count])
        strips.append(Strip("samples-truth", "truth", "given", "the real image", truth, width))
    return strips


def _rows(inputs: ReportInputs, pictures: Mapping[str, Pictures], kind: str) -> list[Strip]:
    count = shown_count(inputs.gallery.samples) if kind == "samples" else len(next(iter(pictures.values()), ()))
    width = row_width(pictures, count)
    order = [row for group in headline_table(inputs).groups for row in group.rows]
    return [
        Strip(
            f"{kind}-{row.reference.replace('/', '-')}",
            row.reference,
            row.group,
            _score_note(inputs, row.reference),
            strip_png(pictures[row.reference][:count]),
            width,
        )
        for row in order
        if row.reference in pictures
    ]


def _score_note(inputs: ReportInputs, reference: str) -> str:
    metric, one = inputs.main_metric, inputs.generator(reference)
    value = None if one is None else one.metrics.get(metric.raw)
    return "" if value is None else f"{metric.title} {write_score(value)}"


def shown_count(pictures: Mapping[str, Pictures]) -> int:
    """Return the number of images shown in a row; fewer if they are large, to keep the page small."""
    shapes = {images.shape for images in pictures.values()}
    if not shapes:
        return 0
    count, _, height, width = (int(size) for size in max(shapes))
    return min(count, max(FEWEST, ROW_PIXELS // (width * _factor(height))))


def row_width(pictures: Mapping[str, Pictures], count: int) -> int:
    """Return the width in pixels of a row of `count` images of the largest size."""
    if not pictures:
        return 0
    *_, height, width = (int(size) for size in max(images.shape for images in pictures.values()))
    return count * (width * _factor(height) + _gap(height)) - _gap(height)


def _gap(height: int) -> int:
    return max(2, height * _factor(height) // 16)


def _factor(height: int) -> int:
    return max(1, round(SHOWN_PIXELS / height))


def strip_png(images: Pictures) -> bytes:
    """Draw uint8 images (n, C, H, W), C = 1 or 3, side by side with transparent gaps, as PNG bytes."""
    from PIL import Image

    count, channels, height, width = images.shape
    factor = _factor(height)
    gap = _gap(height)
    wide = width * factor
    canvas = np.zeros((height * factor, count * (wide + gap) - gap, channels + 1), np.uint8)
    for index, image in enumerate(images):
        left = index * (wide + gap)
        canvas[:, left : left + wide, :channels] = image.transpose(1, 2, 0).repeat(factor, 0).repeat(factor, 1)
        canvas[:, left : left + wide, channels] = 255
    buffer = io.BytesIO()
    Image.fromarray(canvas, "LA" if channels == 1 else "RGBA").save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
