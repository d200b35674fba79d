"""Predicts the latency of sub-generators from a table of their layers, and measures the prediction error."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ganpress.basics.seeding import torch_generator
from ganpress.errors import ConfigError
from ganpress.search.latency_table import LatencyTable
from ganpress.search.layer_runs import Layer
from models.elastic import Spec, WidthSpace

FEWEST_SAMPLES = 6
"""Smallest number of samples: twice the number of fitted coefficients."""

Trace = Callable[[Spec], Sequence[Layer]]
"""The layers of a sub-generator."""


@dataclass(frozen=True)
class PredictedSample:
    """A measured sub-generator, with the prediction of a fit that excluded it."""

    spec: Spec
    measured_ms: float
    predicted_ms: float

    @property
    def relative_error(self) -> float:
        """|predicted - measured| / measured."""
        return abs(self.predicted_ms - self.measured_ms) / self.measured_ms


@dataclass(frozen=True)
class PredictionError:
    """Prediction errors, with each sample left out of the fit that predicts it."""

    samples: tuple[PredictedSample, ...]
    median: float
    """Median of the relative errors."""
    p90: float
    rank_correlation: float | None
    """Spearman's, of measured and predicted; None where all are equal."""

    @classmethod
    def of(cls, samples: Sequence[PredictedSample]) -> "PredictionError":
        """Sum up."""
        from scipy.stats import spearmanr

        errors = [one.relative_error for one in samples]
        measured, predicted = ([getattr(one, name) for one in samples] for name in ("measured_ms", "predicted_ms"))
        constant = len(set(measured)) == 1 or len(set(predicted)) == 1
        rank = None if constant else float(spearmanr(measured, predicted).statistic)
        median, p90 = np.percentile(errors, (50, 90))
        return cls(tuple(samples), float(median), float(p90), rank)


class LatencyPredictor:
    """Spec -> milliseconds: a fixed part, and the times of products and of all else, each times a factor.

    The factors are fitted to sub-generators that were measured whole: in a network, layers find their inputs in the
    cache or in the layout that they want, or do not. None of the three is negative.

    Args:
        trace: the layers of a sub-generator.
        table: times of layers.
        measured: milliseconds of sub-generators that were measured whole.

    Raises:
        ConfigError: if there are fewer than `FEWEST_SAMPLES`.
    """

    def __init__(self, trace: Trace, table: LatencyTable, measured: Mapping[Spec, float]) -> None:
        if len(measured) < FEWEST_SAMPLES:
            raise ConfigError(
                f"predicting latency needs at least {FEWEST_SAMPLES} measured sub-generators, found {len(measured)}; "
                "set search.latency to 'measured' for so small a space"
            )
        self._trace, self._table = trace, table
        table.fill(layer for spec in measured for layer in trace(spec))
        rows, times = np.array([self._parts(spec) for spec in measured]), np.array(list(measured.values()))
        self._factors = _fit(rows, times)
        samples = []
        for place, spec in enumerate(measured):
            others = np.arange(len(times)) != place
            predicted = float(rows[place] @ _fit(rows[others], times[others]))
            samples.append(PredictedSample(spec, float(times[place]), predicted))
        self.error = PredictionError.of(samples)

    def __call__(self, spec: Spec) -> float:
        """Milliseconds of one image."""
        return float(self._parts(spec) @ self._factors)

    @property
    def layers(self) -> int:
        """Distinct layers in the table."""
        return len(self._table)

    def _parts(self, spec: Spec) -> NDArray[np.float64]:
        """(3,): 1, milliseconds of products, milliseconds of all else."""
        layers = self._trace(spec)
        self._table.fill(layers)
        products = others = 0.0
        for layer in layers:
            if layer.multiplies:
                products += self._table.milliseconds(layer)
            else:
                others += self._table.milliseconds(layer)
        return np.array([1.0, products, others])


def _fit(rows: NDArray[np.float64], times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Factors (3,), none negative, that make the squared *relative* errors least."""
    from scipy.optimize import nnls

    factors: NDArray[np.float64] = nnls(rows / times[:, None], np.ones(len(times)))[0]
    return factors


def sample_specs(space: WidthSpace, count: int, seed: int) -> list[Spec]:
    """The smallest and the largest spec and uniform draws, no spec twice; all of a space that has no more."""
    if len(space) <= count:
        return [space[index] for index in range(len(space))]
    random = torch_generator(seed, "search", "latency samples")
    chosen = dict.fromkeys([space.smallest, space.largest])
    while len(chosen) < count:
        chosen[space.sample(random)] = None
    return list(chosen)
