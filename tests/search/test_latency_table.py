import json

import numpy as np
import pytest
from torch import nn

from ganpress.errors import ConfigError
from ganpress.search.latency_prediction import LatencyPredictor, PredictedSample, PredictionError, sample_specs
from ganpress.search.latency_table import LatencyTable
from ganpress.search.layer_runs import trace_layers
from models.elastic import Spec, WidthSpace

SPACE = WidthSpace(((1, 2, 4, 8),) * 2)


def network_of(spec):
    first, second = spec.numbers
    return nn.Sequential(nn.Conv2d(3, first, 3), nn.ReLU(), nn.InstanceNorm2d(first), nn.Conv2d(first, second, 3))


def trace(spec):
    return trace_layers(lambda: network_of(spec), (1, 3, 8, 8))


class CountedTable(LatencyTable):
    """Times that follow from the shapes: no clock runs, and products are told from what is no product."""

    def __init__(self, path=None):
        super().__init__(lambda network, example: network, rounds=3, path=path)
        self.asked = []

    def _time(self, layers):
        self.asked.append([layer.input_shape for layer in layers])
        return [0.5 + np.prod(layer.input_shape) / 100 for layer in layers]


def table_times(spec):
    """(products, others) of `CountedTable`, less the call that does nothing."""
    layers = [(layer.multiplies, np.prod(layer.input_shape) / 100 - 0.01) for layer in trace(spec)]
    return [sum(ms for multiplies, ms in layers if multiplies == kind) for kind in (True, False)]


def true_ms(spec):
    products, others = table_times(spec)
    return 2.0 + 0.8 * products + 0.3 * others


def test_each_layer_is_timed_once_and_less_what_an_empty_call_takes():
    table = CountedTable()
    times = [table.milliseconds(layer) for layer in trace(Spec((2, 4))) for _ in range(2)]
    assert times[::2] == times[1::2] == pytest.approx([1.91, 0.71, 0.71])
    assert [first for first, *_ in table.asked] == [(1, 1, 1, 1)] * 3  # the empty call, each time beside the layer
    assert table.measured == len(table) == 3


def test_layers_are_timed_side_by_side_with_the_empty_call():
    table = CountedTable()
    layers = [layer for width in range(1, 9) for layer in trace(Spec((width, 4)))]
    table.fill([*layers, *layers])
    distinct = len({layer.key for layer in layers})
    assert [len(shapes) for shapes in table.asked] == [17, distinct - 16 + 1]
    assert len(table) == distinct
    table.fill(layers)
    assert len(table.asked) == 2


def test_timed_layers_are_found_again(tmp_path):
    path = tmp_path / "deep" / "layers.jsonl"
    first = CountedTable(path)
    times = [first.milliseconds(layer) for layer in trace(Spec((2, 4)))]
    with path.open("a") as file:
        file.write('{"layer": "cut sho')
    second = CountedTable(path)
    assert [second.milliseconds(layer) for layer in trace(Spec((2, 4)))] == times
    assert second.asked == []
    assert {"layer", "ms"} == set(json.loads(path.read_text().splitlines()[0]))


def test_a_real_runtime_times_layers():
    table = LatencyTable(lambda network, example: network, rounds=3)
    layers = trace(Spec((4, 8)))
    assert all(table.milliseconds(layer) >= 0 for layer in layers)
    assert table.measured == len({layer.key for layer in layers})


def test_predictions_find_the_factors_that_the_samples_follow():
    specs = sample_specs(SPACE, 8, seed=1)
    predictor = LatencyPredictor(trace, CountedTable(), {spec: true_ms(spec) for spec in specs})
    unseen = [SPACE[index] for index in range(len(SPACE)) if SPACE[index] not in specs]
    assert [predictor(spec) for spec in unseen] == pytest.approx([true_ms(spec) for spec in unseen])
    assert predictor.error.median < 1e-9
    assert predictor.error.p90 < 1e-9
    assert predictor.error.rank_correlation > 0.95  # samples of equal times may swap
    assert predictor.layers == len({layer.key for spec in specs for layer in trace(spec)} | _keys(unseen))


def _keys(specs):
    return {layer.key for spec in specs for layer in trace(spec)}


def test_a_sample_that_does_not_follow_shows_in_the_error():
    specs = sample_specs(SPACE, 8, seed=1)
    measured = {spec: true_ms(spec) for spec in specs}
    measured[specs[3]] *= 2
    error = LatencyPredictor(trace, CountedTable(), measured).error
    assert error.samples[3].relative_error > 0.4  # it was left out of its own fit
    assert error.samples[3].relative_error == max(one.relative_error for one in error.samples)


def test_errors_are_summed_up():
    samples = [PredictedSample(Spec((n,)), float(n), n * 1.1) for n in range(1, 11)]
    samples[0] = PredictedSample(Spec((1,)), 1.0, 1.5)
    error = PredictionError.of(samples)
    assert error.median == pytest.approx(0.1)
    assert error.p90 == pytest.approx(0.14)
    assert error.rank_correlation == pytest.approx(1)
    constant = [PredictedSample(Spec((n,)), float(n), 3.0) for n in (1, 2)]
    assert PredictionError.of(constant).rank_correlation is None


def test_too_few_samples_are_refused():
    with pytest.raises(ConfigError, match="at least 6 measured sub-generators, found 2; set search.latency to 'measu"):
        LatencyPredictor(trace, CountedTable(), {SPACE[0]: 1.0, SPACE[1]: 2.0})


def test_samples_hold_the_ends_of_the_space_and_no_spec_twice():
    chosen = sample_specs(SPACE, 10, seed=3)
    assert chosen[:2] == [SPACE.smallest, SPACE.largest]
    assert len(chosen) == len(set(chosen)) == 10
    assert chosen == sample_specs(SPACE, 10, seed=3) != sample_specs(SPACE, 10, seed=4)
    assert sample_specs(SPACE, 99, seed=3) == [SPACE[index] for index in range(len(SPACE))]
