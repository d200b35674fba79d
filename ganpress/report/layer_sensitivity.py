"""What each width does to each layer of a generator, as a compression has measured it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Noise = Mapping[int, float]
"""bits -> power of the images' change as a share of their power."""


@dataclass(frozen=True)
class Sensitivity:
    """The scan of one compression: each layer alone rounded, all others in floats."""

    item: str
    weights: Mapping[str, Noise]
    activations: Mapping[str, Noise]

    @classmethod
    def of(cls, item: str, content: Mapping[str, Any]) -> "Sensitivity":
        """Read `scan` of a compression.json.

        Raises:
            KeyError: if a part is missing.
            ValueError: if a width is no number.
        """
        kinds = [
            {name: {int(bits): float(noise) for bits, noise in layer[kind].items()} for name, layer in content.items()}
            for kind in ("weights", "activations")
        ]
        return cls(item, *kinds)
