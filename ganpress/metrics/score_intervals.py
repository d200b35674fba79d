"""How sure a generator's scores are, and whether its difference to the teacher is real, under names of metrics.

`<metric>_low` and `_high` are the ends of a 95 % interval; `<family>_difference_…` is the generator's score less the
teacher's on the same inputs, with its own ends. A difference is real where its interval excludes zero. The intervals
are about the draw of images; `ganpress.metrics.bootstrap` says what they do not cover.
"""

from collections.abc import Mapping

from ganpress.metrics.bootstrap import Interval
from ganpress.metrics.distance_intervals import compare_frechet, compare_kernel, frechet_interval, kernel_interval
from ganpress.metrics.lsh_intervals import HashedScores, LshIntervals, compare_lsh, lsh_intervals
from ganpress.metrics.scores import Scores

HASHED = ("lsh", "lshknn")
"""What names of precision and recall by hashing end with."""


def interval_metrics(own: Scores, teacher: Scores) -> dict[str, float]:
    """Return the ends of all intervals, and the differences to the teacher with theirs; none of the teacher to itself.

    Raises:
        DataError: if the two were not scored on as many inputs, or against different real images.
    """
    numbers: dict[str, float] = {}
    for name, interval in _intervals(own).items():
        numbers |= _ends(own.set_name(name), interval)
    if own is teacher:
        return numbers
    for name, difference in score_differences(own, teacher).items():
        full = own.set_name(f"{name}_difference")
        numbers |= {full: difference.estimate} | _ends(full, difference)
    return numbers


def score_differences(own: Scores, other: Scores) -> Mapping[str, Interval]:
    """Return, by family (`fid`, `recall_lsh`, …), a generator's score less that of another, drawn from the same inputs.

    Raises:
        DataError: as `interval_metrics`.
    """
    found: dict[str, Interval] = {}
    if own.fid_terms is not None and other.fid_terms is not None:
        found["fid"] = compare_frechet(own.fid, own.fid_terms, other.fid, other.fid_terms)
    kernel = compare_kernel(own.kid, other.kid)
    if kernel is not None:
        found["kid"] = kernel
    for suffix, one, two in zip(HASHED, _hashed(own), _hashed(other), strict=True):
        found |= _named(suffix, compare_lsh(one, two, own.lsh.seed, paired=True))
    return found


def _intervals(scores: Scores) -> dict[str, Interval]:
    found: dict[str, Interval] = {}
    if scores.fid_terms is not None:
        found["fid"] = frechet_interval(scores.fid, scores.fid_terms)
    kernel = kernel_interval(scores.kid)
    if kernel is not None:
        found["kid"] = kernel
    for suffix, one in zip(HASHED, _hashed(scores), strict=True):
        found |= _named(suffix, lsh_intervals(one, scores.lsh.seed))
    return found


def _hashed(scores: Scores) -> tuple[HashedScores, HashedScores]:
    return scores.lsh, scores.lsh_neighbours


def _named(suffix: str, intervals: LshIntervals) -> dict[str, Interval]:
    return {f"precision_{suffix}": intervals.precision, f"recall_{suffix}": intervals.recall}


def _ends(name: str, interval: Interval) -> dict[str, float]:
    return {f"{name}_low": interval.low, f"{name}_high": interval.high}
