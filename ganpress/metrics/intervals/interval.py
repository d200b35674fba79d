"""A number with the range that holds the truth in most repetitions."""

from dataclasses import dataclass

LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A number with the range that holds the truth in a share `level` of repetitions."""

    estimate: float
    low: float
    high: float
    standard_error: float
    level: float = LEVEL

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval excludes zero, so that a difference is significant."""
        return self.low > 0 or self.high < 0


def normal_interval(estimate: float, error: float, level: float = LEVEL) -> Interval:
    """Return the interval of an estimate whose standard error is known."""
    from scipy.special import ndtri

    return _symmetric(estimate, error, float(ndtri((1 + level) / 2)), level)


def student_interval(estimate: float, error: float, values: int, level: float = LEVEL) -> Interval:
    """Return the interval of an estimate whose standard error is the spread of so many independent values."""
    from scipy.special import stdtrit

    return _symmetric(estimate, error, float(stdtrit(values - 1, (1 + level) / 2)), level)


def _symmetric(estimate: float, error: float, quantile: float, level: float) -> Interval:
    return Interval(estimate, estimate - quantile * error, estimate + quantile * error, error, level)
