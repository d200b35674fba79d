"""Properties of every metric, built in or installed."""

import math
import re
from pathlib import Path

import pytest

from ganpress.errors import ConfigError
from ganpress.metrics.metric import Metric, badness
from ganpress.metrics.metric_names import read_name
from ganpress.registries import METRICS
from ganpress.report.notation import parse_metric_name

DOCS = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", METRICS)
def test_a_full_name_is_read_back(name):
    metric = METRICS[name]
    assert metric.name == name
    full = name if metric.is_cost or not metric.is_quality else metric.full_name(100, "test", "judge")
    for ending, aspect, spread in (("", "", ""), ("_low", "", "low"), ("_error", "", "error")):
        read = read_name(full + ending)
        assert read is not None
        assert (read.metric, read.aspect, read.spread) == (metric, aspect, spread)
    if metric.is_quality:
        for aspect in ("difference", "ceiling"):
            read = read_name(metric.full_name(100, "test", "judge", aspect))
            assert read is not None
            assert (read.metric, read.aspect, read.images) == (metric, aspect, 100)


@pytest.mark.parametrize("name", METRICS)
def test_the_better_of_two_values_is_less_bad(name):
    metric = METRICS[name]
    low, high = metric.range
    assert low < high
    better = badness(0.75, metric.direction), badness(0.5, metric.direction)
    assert (better[0] < better[1]) == (metric.direction in ("higher", "equal"))


@pytest.mark.parametrize("name", METRICS)
def test_a_quality_has_a_title_a_meaning_and_an_arrow_in_the_report(name):
    metric = METRICS[name]
    if not metric.is_quality:
        return
    shown = parse_metric_name(metric.full_name(100, "test", "judge"))
    assert shown.title == metric.title
    assert shown.meaning
    assert shown.arrow == {"higher": "↑", "lower": "↓"}.get(metric.direction, "")


@pytest.mark.parametrize("name", METRICS)
def test_the_documented_direction_is_the_metrics_own(name):
    """Of the table in docs/metrics.md: each quality has a row, whose third cell says which way is better."""
    metric = METRICS[name]
    if not metric.is_quality or name not in METRICS.built_in:
        return
    rows = [line.split(" | ") for line in DOCS.splitlines() if re.search(rf"`{name}_N(_|`)", line.partition(" | ")[0])]
    assert rows, f"docs/metrics.md has no row of {name}"
    words = {"higher": "higher", "lower": "lower", "equal": "1 =", "none": "neither"}
    density = {"density": "1 = equal sets"}
    assert words[metric.direction] in rows[0][-2] or density.get(name, "\0") in rows[0][-2]


@pytest.mark.parametrize("name", ["my_std", "fid_2", "real", "2d", "one__two"])
def test_a_name_that_could_not_be_read_back_is_refused(name):
    with pytest.raises(ConfigError, match="is no name for a metric"):
        Metric(name, "Mine", "something", "higher")


def test_what_generators_are_chosen_by():
    assert [name for name in METRICS.built_in if METRICS[name].can_choose] == ["is", "fid", "kid", "miou", "psnr"]


def test_an_infinitely_dark_image_is_as_bad_as_can_be():
    assert badness(0.0, "equal") == math.inf
