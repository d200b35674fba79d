"""Intervals of a score of two sets from the scores of random parts of both (subsampling, Politis and Romano 1994).

A part of b of N samples, drawn without replacement, varies about the whole by sigma sqrt(1/b - 1/N), the whole about
the truth by sigma / sqrt(N): the spread of parts times sqrt(b / (N - b)) is the standard error of the whole, whatever a
score does with its samples. Everything that depends on the draw is done anew for each part, such as the width of the
hashes. A bootstrap would put duplicates into buckets and balls, where they are each other's neighbours.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np
from jaxtyping import Float, Int64
from numpy.typing import NDArray

from ganpress.basics.seeding import numpy_generator
from ganpress.metrics.feature_inputs import Float64, Floats

PARTS = 20
SHARE = 1 / 3
"""Share of the samples that a part has. Scores of larger parts vary by more than their draw explains, since counts in
buckets are whole numbers: intervals from halves were a third too wide (`python -m benchmarks.interval_coverage`).
"""
LARGEST = 1000
"""Samples of a part, at most."""
SMALLEST = 6
"""Samples below which a part has no neighbourhoods."""

Table = TypeVar("Table")


class TwoSided(Protocol):
    """Scores of two sets."""

    @property
    def precision(self) -> float: ...

    @property
    def recall(self) -> float: ...


@dataclass(frozen=True)
class PartScores:
    """Scores of random parts; part i of two generators holds the same reference samples and the same inputs."""

    precision: Float64
    """(PARTS,)"""
    recall: Float64
    """(PARTS,)"""
    sizes: tuple[int, int]
    """Samples of the whole reference and of the whole generated set."""
    share: float
    """Share of the samples that a part has."""

    def error(self, spread: Float[Float64, " parts"]) -> float:
        """Standard error of a score of the whole sets from that score of the parts."""
        return float(spread.std(ddof=1) * np.sqrt(self.share / (1 - self.share)))


class RandomParts(Generic[Table]):
    """Random parts of a reference (N, F), prepared once, against which the parts of generated sets are scored.

    Args:
        reference: features (N, F).
        seed: which parts.
        prepare: makes of a part (b, F) what `score` takes.
        score: scores generated features (b', F) against that.
        smallest: samples that a part needs.
    """

    def __init__(
        self,
        reference: Float[Floats, "n f"],
        seed: int,
        prepare: Callable[[Floats], Table],
        score: Callable[[Table, Floats], TwoSided],
        smallest: int = SMALLEST,
    ) -> None:
        self._reference, self._seed, self._prepare, self._score = reference, seed, prepare, score
        self._smallest = smallest
        self._prepared: dict[float, list[Table]] = {}

    def scores(self, generated: Float[Floats, "m f"]) -> PartScores | None:
        """Score the parts of generated features; None where parts would be too small to say anything."""
        sizes = len(self._reference), len(generated)
        share = min(SHARE, LARGEST / max(sizes))
        if int(share * min(sizes)) < self._smallest:
            return None
        if share not in self._prepared:
            self._prepared[share] = [
                self._prepare(self._reference[self._rows(sizes[0], share, "reference", part)]) for part in range(PARTS)
            ]
        found = [
            self._score(table, generated[self._rows(sizes[1], share, "generated", part)])
            for part, table in enumerate(self._prepared[share])
        ]
        precision, recall = (np.array([getattr(one, side) for one in found]) for side in ("precision", "recall"))
        return PartScores(precision, recall, sizes, share)

    def _rows(self, samples: int, share: float, side: str, part: int) -> Int64[NDArray[np.int64], " rows"]:
        random = numpy_generator(self._seed, "parts", side, part)
        return np.sort(random.permutation(samples)[: int(share * samples)])
