from pathlib import Path

import numpy as np
import pytest
import torch

from ganpress.errors import DataError
from ganpress.metrics.judges.judge_output import JudgeOutput
from ganpress.metrics.samples.sample_changes import class_shares, sample_changes
from ganpress.metrics.samples.sample_store import SampleStore

COUNT = 300
FIXED = np.random.default_rng(99)
CENTRES, LAYER = 4 * FIXED.normal(size=(5, 4)), FIXED.normal(size=(4, 16))


def modes(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features (COUNT, 16) of five modes, and the mode of each."""
    random = np.random.default_rng(seed)
    mode = np.arange(COUNT) % 5
    return np.maximum((CENTRES[mode] + random.normal(size=(COUNT, 4))) @ LAYER, 0).astype(np.float32), mode


def store(folder: Path, features: np.ndarray, classes: np.ndarray | None = None, level: int = 100) -> SampleStore:
    """Samples in batches of 70, flat images."""
    samples = SampleStore(folder)
    images = torch.full((len(features), 1, 4, 4), level, dtype=torch.uint8)
    for start in range(0, len(features), 70):
        rows = slice(start, start + 70)
        probabilities = None if classes is None else np.eye(5)[classes[rows]]
        samples.append(images[rows], JudgeOutput(features[rows], probabilities))
    return samples


def test_a_store_gives_back_what_it_was_given(tmp_path):
    features, classes = modes()
    samples = store(tmp_path / "a", features, classes)
    assert len(samples) == COUNT
    np.testing.assert_array_equal(samples.features, features)
    np.testing.assert_array_equal(samples.classes, classes)
    assert samples.pictures(np.array([5, 3])).shape == (2, 1, 4, 4)
    assert store(tmp_path / "b", features).classes is None
    samples.delete()
    assert not (tmp_path / "a").exists()


def test_equal_generators_change_nothing(tmp_path):
    features, classes = modes()
    changes = sample_changes(store(tmp_path / "a", features, classes), store(tmp_path / "b", features, classes), 0)
    assert not changes.feature_distance.any()
    assert not changes.pixel_distance.any()
    assert not changes.buckets_lost.any()
    assert changes.class_kept == changes.modes_kept == 1


def test_distances_are_those_of_single_samples(tmp_path):
    features, _ = modes()
    moved = features.copy()
    moved[7] += 3
    moved[250] += 9
    changes = sample_changes(store(tmp_path / "a", features), store(tmp_path / "b", moved, level=110), 0)
    spread = np.sqrt(((features - features.mean(axis=0)) ** 2).sum(axis=1).mean())
    assert changes.feature_distance[7] == pytest.approx(3 * 4 / spread, rel=1e-5)
    assert list(changes.worst(2)) == [250, 7]
    assert np.count_nonzero(changes.feature_distance) == 2
    np.testing.assert_allclose(changes.pixel_distance, 10)
    assert changes.class_kept is None


def test_unrelated_samples_are_one_and_a_half_spreads_apart(tmp_path):
    random = np.random.default_rng(0)
    one, other = (random.normal(size=(COUNT, 16)).astype(np.float32) for _ in range(2))
    changes = sample_changes(store(tmp_path / "a", one), store(tmp_path / "b", other), 0)
    assert np.sqrt((changes.feature_distance**2).mean()) == pytest.approx(np.sqrt(2), rel=0.05)


def test_a_lost_mode_is_told_from_those_that_stay(tmp_path):
    features, mode = modes()
    lost = features.copy()
    lost[mode == 2] = features[mode == 1]  # the step draws mode 1 where mode 2 was
    after_class = np.where(mode == 2, 1, mode)
    changes = sample_changes(store(tmp_path / "a", features, mode), store(tmp_path / "b", lost, after_class), 0)
    assert changes.class_kept == pytest.approx(0.8)
    assert changes.buckets_lost[mode == 2].mean() > 0.5
    assert changes.buckets_lost[mode != 2].mean() < 0.05
    assert 0.6 < changes.modes_kept < 0.95


def test_samples_of_a_collapsed_generator_have_no_neighbourhoods(tmp_path):
    features, _ = modes()
    same = np.ones_like(features)
    changes = sample_changes(store(tmp_path / "a", same), store(tmp_path / "b", features), 0)
    assert changes.modes_kept is None
    assert np.isfinite(changes.feature_distance).all()


def test_sets_of_unequal_size_are_refused(tmp_path):
    features, _ = modes()
    with pytest.raises(DataError, match="300 samples before and 200 after a step do not pair; draw both from the same"):
        sample_changes(store(tmp_path / "a", features), store(tmp_path / "b", features[:200]), 0)


def test_a_class_is_lost_only_beyond_chance():
    before = ["a"] * 50 + ["b"] * 50 + ["c"] * 100
    after = ["a"] * 50 + ["c"] * 50 + ["c"] * 98 + ["a"] * 2
    lost, least, gained = class_shares(before, after, 0)
    assert (lost.name, lost.before, lost.after) == ("b", 0.25, 0.0)
    assert lost.difference.high < 0
    assert least.name == "a"
    assert not least.difference.excludes_zero
    assert gained.name == "c"
    assert gained.difference.low > 0
    assert sum(share.difference.estimate for share in (lost, least, gained)) == pytest.approx(0)


def test_of_many_classes_chance_seldom_names_one():
    def named(seed: int) -> int:
        drawn = np.random.default_rng(seed).integers(20, size=(2, 400)).astype(str)  # both of one distribution
        return sum(share.difference.excludes_zero for share in class_shares(drawn[0], drawn[1], 0))

    assert sum(named(seed) > 0 for seed in range(20)) <= 4  # of 20 classes at 95 % each it would be two of three times
