"""Values of quality against diversity over compression levels (Mordido et al. 2021)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ganpress.report.notation import MISSING, write_share

TESTS = {"lsh": "LSH", "lshknn": "LSH + KNN", "knn": "KNN"}
"""Membership tests behind precision and recall, the paper's own first."""
_PROTOCOL = r"_(?P<images>\d+)_(?P<rest>[a-z]+_[a-z]+)"


@dataclass(frozen=True)
class Level:
    """One compression level."""

    clipping: str
    bits: int
    """Bits of weights and activations."""
    metrics: Mapping[str, float]

    @property
    def name(self) -> str:
        """Name for a table's first column and hover texts."""
        return f"{self.clipping}, {self.bits} bits"


@dataclass(frozen=True)
class Test:
    """One pair of precision and recall, with their names in metrics.json."""

    key: str
    """Name of the test: `lsh`, `lshknn` or `knn`."""
    precision: str
    recall: str
    protocol: str
    """Protocol, e.g. `1,000 images · test · judge`."""

    @property
    def title(self) -> str:
        return TESTS[self.key]


@dataclass(frozen=True)
class Sweep:
    """All measured levels of one generator, and the float generator itself."""

    generator: str
    """Reference of the generator."""
    levels: Sequence[Level]
    """Levels grouped by clipping method, bits ascending."""
    in_floats: Mapping[str, float]

    @property
    def clippings(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(level.clipping for level in self.levels))

    @property
    def bits(self) -> tuple[int, ...]:
        return tuple(sorted({level.bits for level in self.levels}))

    def by_clipping(self, clipping: str) -> list[Level]:
        """Return the levels of one method."""
        return [level for level in self.levels if level.clipping == clipping]

    def tests(self) -> list[Test]:
        """The tests that were measured."""
        return [test for key in TESTS if (test := self._test(key)) is not None]

    def _test(self, key: str) -> Test | None:
        base = "" if key == "knn" else f"_{key}"
        for name in self.in_floats:
            match = re.fullmatch(f"precision{base}{_PROTOCOL}", name)
            recall = name.replace("precision", "recall", 1)
            if match and recall in self.in_floats:
                protocol = f"{int(match['images']):,} images · {match['rest'].replace('_', ' · ')}"
                return Test(key, name, recall, protocol)
        return None

    def metric(self, base: str) -> str | None:
        """Return the full name of a metric, e.g. of `fid`; None if it was not measured."""
        return next((name for name in self.in_floats if re.fullmatch(base + _PROTOCOL, name)), None)


def interval(metrics: Mapping[str, float], name: str) -> tuple[float, float]:
    """Return the 95 % interval of a number; if none was measured, the number itself twice."""
    return metrics.get(f"{name}_low", metrics[name]), metrics.get(f"{name}_high", metrics[name])


def differs(metrics: Mapping[str, float], name: str) -> bool:
    """Return whether a level's score differs significantly from the float generator's, by the interval of the
    difference.

    Return True if that interval was not measured.
    """
    difference = re.sub(r"_(?=\d)", "_difference_", name, count=1)
    return metrics.get(f"{difference}_low", 1.0) > 0 or metrics.get(f"{difference}_high", -1.0) < 0


def ceiling(sweep: Sweep, name: str) -> float | None:
    """Return the score of real images; None if it was not measured for the test."""
    base, _, protocol = name.partition("_lsh_")
    return sweep.in_floats.get(f"{base}_lsh_ceiling_{protocol}")


def kept(metrics: Mapping[str, float], sweep: Sweep, name: str) -> float | None:
    """Return the share of the float generator's score that a level keeps; None if that score is 0."""
    return metrics[name] / sweep.in_floats[name] if sweep.in_floats[name] > 0 else None


def answer(sweep: Sweep, test: Test) -> str:
    """Return in words how much quality and diversity remain at each width, for the method that keeps most of both.

    That method has the largest harmonic mean of precision and recall.
    """
    parts = []
    for bits in sweep.bits:
        levels = [level for level in sweep.levels if level.bits == bits]
        best = max(levels, key=lambda level: _harmonic(level.metrics[test.precision], level.metrics[test.recall]))
        shares = [kept(best.metrics, sweep, name) for name in (test.precision, test.recall)]
        quality, diversity = (MISSING if share is None else write_share(share) for share in shares)
        parts.append(f"{bits} bits ({best.clipping}) {quality} and {diversity}")
    return f"Of the float generator's precision and recall, by {test.title}, these remain: with {'; '.join(parts)}."


def _harmonic(one: float, other: float) -> float:
    return 2 * one * other / (one + other) if one + other > 0 else 0.0
