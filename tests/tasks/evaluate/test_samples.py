"""The pictures of `evaluate`, and the changes of single samples by compression and export."""

import csv

import numpy as np
import pytest

from tasks.shared.report_samples import step_samples
from tasks.shared.step_changes import WORST, sources_first

MADE_FROM = {"compress/subnet-int8": "subnet", "export/teacher": "teacher", "export/int8": "compress/subnet-int8"}


@pytest.fixture(scope="module")
def samples(evaluated):
    """Rows of samples.csv."""
    with (evaluated / "samples.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def steps(evaluated):
    """What the report reads of them, by the generator that a step made."""
    return {step.reference: step for step in step_samples(evaluated, 1)}


def test_the_gallery_shows_the_same_latents_through_every_generator(evaluated, references):
    with np.load(evaluated / "gallery.npz") as gallery:
        assert {name for name in gallery if name.startswith("samples/")} == {f"samples/{one}" for one in references}
        walks = {name.removeprefix("interpolation/") for name in gallery if name.startswith("interpolation/")}
        assert walks == {"teacher", "student/d2", "subnet", "subnet/extracted", "export/teacher", "export/int8"}
        torch_images, edge_images = gallery["samples/teacher"], gallery["samples/export/teacher"]
        assert torch_images.shape == (5, 1, 16, 16)
        assert torch_images.dtype == np.uint8
        assert gallery["interpolation/subnet"].shape == (3, 1, 16, 16)
        assert np.abs(torch_images.astype(int) - edge_images).max() <= 1
        assert torch_images.std() > 0


def test_samples_are_those_of_every_compressed_and_exported_generator(samples, steps, metrics):
    assert {row["generator"]: row["made_from"] for row in samples} == MADE_FROM
    assert len(samples) == 3 * 40
    assert list(steps) == list(MADE_FROM)
    for reference, step in steps.items():
        assert step.before.shape == step.after.shape == (WORST, 1, 16, 16)
        mean = metrics[reference]["feature_distance_40_judge"]
        assert step.feature_distance.mean() == pytest.approx(mean, rel=1e-3)
        own = [row for row in samples if row["generator"] == reference]
        kept = np.mean([row["class_before"] == row["class_after"] for row in own])
        assert metrics[reference]["class_kept_40_judge"] == pytest.approx(kept)
        assert {row["class_before"] for row in own} <= {"a", "b", "c"}
    assert "feature_distance_40_judge" not in metrics["student/d2"]


def test_the_worst_samples_are_shown_before_and_after_the_step(samples, steps):
    step = steps["compress/subnet-int8"]  # of an exact step, all samples are equally bad
    own = [row for row in samples if row["generator"] == "compress/subnet-int8"]
    own.sort(key=lambda row: -float(row["feature_distance"]))
    apart = np.abs(step.before.astype(float) - step.after).mean(axis=(1, 2, 3))
    assert (apart > 0).any()
    np.testing.assert_allclose(apart, [float(row["pixel_distance"]) for row in own[:WORST]], rtol=1e-3)


def test_a_generator_comes_after_the_one_that_it_was_made_from():
    sources = {"compress/a": "compress/b", "compress/b": "student/x", "export/a": "compress/a"}
    order = sources_first(["export/a", "compress/a", "compress/b", "student/x", "control/y"], sources)
    assert order == ["student/x", "control/y", "compress/b", "compress/a", "export/a"]
