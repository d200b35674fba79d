"""A generator with only a few different pictures is reported while it trains; a varied one is not."""

import logging

import numpy as np
import pytest

from ganpress.data.prepared.arrays import UNLABELLED
from ganpress.metrics.images.variety import variety_ratio
from tasks.shared.collapse_watch import CollapseWatch
from tasks.shared.stage import Stage


@pytest.fixture(scope="module")
def real():
    return np.random.default_rng(0).integers(0, 256, (200, 1, 8, 8), dtype=np.uint8)


def test_variety_falls_with_copies_not_with_noise(real):
    assert variety_ratio(real[:64], real[64:128]) == pytest.approx(1, abs=0.1)
    assert variety_ratio(np.repeat(real[:1], 64, axis=0), real[:64]) == 0
    assert variety_ratio(np.tile(real[:4], (16, 1, 1, 1)), real[:64]) == 0  # copies of a few
    grey = (real[:64] // 4 + 96).astype(np.uint8)
    assert variety_ratio(grey, real[:64]) == pytest.approx(0.25, abs=0.02)


def test_a_collapsed_generator_is_warned_of_once_with_its_pictures(real, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("GANPRESS_CHECKPOINTS", str(tmp_path / "checkpoints"))
    prepared = tmp_path / "artifacts" / "prepare"
    prepared.mkdir(parents=True)
    np.save(prepared / "train.npy", real)
    np.save(prepared / "train_labels.npy", np.full(len(real), UNLABELLED))
    watch = CollapseWatch(Stage("candidate", "d8", tmp_path, {"seed": 0}), prepared)
    with caplog.at_level(logging.WARNING, "ganpress"):
        assert watch.look(real[:64], 1000) > 0.9
        assert not caplog.records
        for images in (2000, 3000):
            assert watch.look(np.tile(real[:2], (32, 1, 1, 1)), images) == 0
    (record,) = caplog.records
    assert "candidate@d8: after 2,000 images the generator has collapsed" in record.getMessage()
    assert (tmp_path / "checkpoints" / "candidate@d8-collapsed.png").stat().st_size > 0
