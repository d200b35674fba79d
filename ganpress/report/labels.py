"""Label maps in colours."""

import colorsys
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ganpress.data.arrays import Conditioning

GOLDEN = 0.618034
"""Steps of the golden ratio around the colour circle keep any number of hues apart."""
LEVELS = ((0.75, 0.95), (0.95, 0.7), (0.45, 1.0))
"""Saturation and value, in turn, for neighbours on the circle."""
BACKGROUND, UNUSED = (46, 52, 60), (255, 255, 255)


@dataclass(frozen=True)
class LabelColour:
    """One label class in the legend."""

    name: str
    colour: str
    """As `#rrggbb`."""


def palette(classes: int) -> NDArray[np.uint8]:
    """Colours (256, 3) of the ids 0, 1, …; the first is dark as a background, ids from `classes` on are white."""
    colours = np.full((256, 3), UNUSED, np.uint8)
    colours[0] = BACKGROUND
    for index in range(1, classes):
        saturation, value = LEVELS[index % len(LEVELS)]
        red, green, blue = colorsys.hsv_to_rgb(index * GOLDEN % 1, saturation, value)
        colours[index] = round(255 * red), round(255 * green), round(255 * blue)
    return colours


def colour_labels(ids: NDArray[np.uint8], classes: int) -> NDArray[np.uint8]:
    """Draw label maps (n, 1, H, W) as images (n, 3, H, W)."""
    drawn: NDArray[np.uint8] = palette(classes)[ids[:, 0]].transpose(0, 3, 1, 2)
    return drawn


def label_legend(conditioning: Conditioning | None, ids: NDArray[np.uint8] | None) -> list[LabelColour]:
    """Names and colours of the classes that the shown maps hold; empty unless data is semantic."""
    if conditioning is None or conditioning.pairing != "semantic" or ids is None:
        return []
    colours = palette(conditioning.channels)
    return [
        LabelColour(name, "#" + bytes(colours[index]).hex())
        for index, name in enumerate(conditioning.label_names)
        if (ids == index).any()
    ]
