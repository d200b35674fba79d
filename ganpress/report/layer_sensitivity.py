"""The sensitivity of a generator's layers to their bits, as a compression measured it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Noise = Mapping[int, float]
"""Bits -> power of the images' change as a share of the images' power."""


@dataclass(frozen=True)
class Sensitivity:
    """The scan of one compression, in which only one layer at a time is quantized."""

    item: str
    weights: Mapping[str, Noise]
    activations: Mapping[str, Noise]

    @classmethod
    def of(cls, item: str, content: Mapping[str, Any]) -> "Sensitivity":
        """Read `scan` of a compression.json.

        Raises:
            KeyError: if a part is missing.
            ValueError: if a number of bits is not a number.
        """
        kinds = [
            {name: {int(bits): float(noise) for bits, noise in layer[kind].items()} for name, layer in content.items()}
            for kind in ("weights", "activations")
        ]
        return cls(item, *kinds)
