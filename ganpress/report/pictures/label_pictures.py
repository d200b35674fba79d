"""Colours label maps."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ganpress.data.label_colours import hex_colours, palette
from ganpress.data.prepared.arrays import Conditioning


@dataclass(frozen=True)
class LabelColour:
    """One label class in the legend."""

    name: str
    colour: str
    """Colour as `#rrggbb`."""


def colour_labels(ids: NDArray[np.uint8], classes: int) -> NDArray[np.uint8]:
    """Draw label maps (n, 1, H, W) as images (n, 3, H, W)."""
    drawn: NDArray[np.uint8] = palette(classes)[ids[:, 0]].transpose(0, 3, 1, 2)
    return drawn


def label_legend(conditioning: Conditioning | None, ids: NDArray[np.uint8] | None) -> list[LabelColour]:
    """Return names and colours of the classes in the shown maps; empty unless the data is semantic."""
    if conditioning is None or conditioning.pairing != "semantic" or ids is None:
        return []
    named = zip(conditioning.label_names, hex_colours(conditioning.channels), strict=False)
    return [LabelColour(name, colour) for index, (name, colour) in enumerate(named) if (ids == index).any()]
