"""Quality against diversity over compression levels, as values (Mordido et al. 2021)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ganpress.report.notation import MISSING, write_share

TESTS = {"lsh": "LSH", "lshknn": "LSH + KNN", "knn": "KNN"}
"""Tests of membership behind precision and recall, the paper's own first."""
_PROTOCOL = r"_(?P<images>\d+)_(?P<rest>[a-z]+_[a-z]+)"


@dataclass(frozen=True)
class Level:
    """One compression level."""

    clipping: str
    bits: int
    """Of weights and activations."""
    metrics: Mapping[str, float]

    @property
    def name(self) -> str:
        """For a table's first column and a hover text."""
        return f"{self.clipping}, {self.bits} bits"


@dataclass(frozen=True)
class Test:
    """One pair of precision and recall, by the names that metrics.json gives them."""

    key: str
    """`lsh`, `lshknn` or `knn`."""
    precision: str
    recall: str
    protocol: str
    """`1,000 images · test · judge`."""

    @property
    def title(self) -> str:
        return TESTS[self.key]


@dataclass(frozen=True)
class Sweep:
    """All levels of one generator that were measured, and itself in floats."""

    generator: str
    """Its reference."""
    levels: Sequence[Level]
    """Of one clipping method after the other, bits ascending."""
    in_floats: Mapping[str, float]

    @property
    def clippings(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(level.clipping for level in self.levels))

    @property
    def bits(self) -> tuple[int, ...]:
        return tuple(sorted({level.bits for level in self.levels}))

    def by_clipping(self, clipping: str) -> list[Level]:
        """The levels of one method."""
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
        """Full name of a metric, e.g. of `fid`; None if it was not measured."""
        return next((name for name in self.in_floats if re.fullmatch(base + _PROTOCOL, name)), None)


def interval(metrics: Mapping[str, float], name: str) -> tuple[float, float]:
    """The 95 % interval of a number; the number itself, twice, where none was measured."""
    return metrics.get(f"{name}_low", metrics[name]), metrics.get(f"{name}_high", metrics[name])


def differs(metrics: Mapping[str, float], name: str) -> bool:
    """Whether a level's score is really another than the float generator's: the interval of the difference says so.

    True where that was not measured.
    """
    difference = re.sub(r"_(?=\d)", "_difference_", name, count=1)
    return metrics.get(f"{difference}_low", 1.0) > 0 or metrics.get(f"{difference}_high", -1.0) < 0


def ceiling(sweep: Sweep, name: str) -> float | None:
    """What real images score; None of tests for which it is not measured."""
    base, _, protocol = name.partition("_lsh_")
    return sweep.in_floats.get(f"{base}_lsh_ceiling_{protocol}")


def kept(metrics: Mapping[str, float], sweep: Sweep, name: str) -> float | None:
    """What a level keeps of the float generator's score; None where that is 0."""
    return metrics[name] / sweep.in_floats[name] if sweep.in_floats[name] > 0 else None


def answer(sweep: Sweep, test: Test) -> str:
    """What is left of quality and of diversity at each width, by the method that keeps most of both.

    That method has the largest harmonic mean of precision and recall.
    """
    parts = []
    for bits in sweep.bits:
        levels = [level for level in sweep.levels if level.bits == bits]
        best = max(levels, key=lambda level: _harmonic(level.metrics[test.precision], level.metrics[test.recall]))
        shares = [kept(best.metrics, sweep, name) for name in (test.precision, test.recall)]
        quality, diversity = (MISSING if share is None else write_share(share) for share in shares)
        parts.append(f"{bits} bits ({best.clipping}) {quality} and {diversity}")
    return f"Of the float generator's precision and recall, by {test.title}, are left: with {'; '.join(parts)}."


def _harmonic(one: float, other: float) -> float:
    return 2 * one * other / (one + other) if one + other > 0 else 0.0
