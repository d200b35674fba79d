"""One colour for each label class, the same wherever label maps are drawn."""

import colorsys

import numpy as np
from numpy.typing import NDArray

GOLDEN = 0.618034
"""Steps of the golden ratio around the colour circle keep any number of hues apart."""
LEVELS = ((0.75, 0.95), (0.95, 0.7), (0.45, 1.0))
"""Saturation and value, in turn, for neighbours on the circle."""
BACKGROUND, UNUSED = (46, 52, 60), (255, 255, 255)


def palette(classes: int) -> NDArray[np.uint8]:
    """Colours (256, 3) of the ids 0, 1, …; the first is dark as a background, ids from `classes` on are white."""
    colours = np.full((256, 3), UNUSED, np.uint8)
    colours[0] = BACKGROUND
    for index in range(1, classes):
        saturation, value = LEVELS[index % len(LEVELS)]
        red, green, blue = colorsys.hsv_to_rgb(index * GOLDEN % 1, saturation, value)
        colours[index] = round(255 * red), round(255 * green), round(255 * blue)
    return colours


def hex_colours(classes: int) -> list[str]:
    """The colours of `palette` for the ids below `classes`, as `#rrggbb`."""
    return ["#" + colour.tobytes().hex() for colour in palette(classes)[:classes]]
