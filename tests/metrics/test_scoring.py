import numpy as np
import pytest
import torch

from ganpress.data.prepared.generator_inputs import LatentInputs
from ganpress.errors import ConfigError, DataError
from ganpress.metrics.distributions.frechet import features_to_statistics
from ganpress.metrics.judges.feature_networks import ClassifierJudge
from ganpress.metrics.samples.truth import Truth
from ganpress.metrics.scoring import (
    array_batches,
    array_statistics,
    generated_batches,
    input_batches,
    judge_batches,
    quick_score,
    real_side,
)
from models.judge_networks import classifier
from models.wdcgan import wdcgan_generator


@pytest.fixture(scope="module")
def judge():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ClassifierJudge(classifier(1, 3, 4, 8), "0" * 12)


@pytest.fixture(scope="module")
def generator():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return wdcgan_generator("2", 16, 1).eval()


@pytest.fixture
def split(tmp_path, tiny_images):
    np.save(tmp_path / "test.npy", tiny_images.pixels)
    return tmp_path / "test.npy"


@pytest.mark.parametrize("batch_size", [1, 7, 30])
def test_generated_features_do_not_depend_on_the_batch_size(judge, generator, batch_size):
    z = LatentInputs().draw(0, "evaluate", 30)
    whole = judge_batches(generated_batches(generator, [z]), judge).features
    parts = judge_batches(generated_batches(generator, torch.split(z, batch_size)), judge).features
    np.testing.assert_allclose(parts, whole, rtol=1e-3, atol=1e-4)


def test_streamed_statistics_are_those_of_all_features(judge, split):
    features = judge_batches(array_batches(split), judge).features
    streamed, whole = array_statistics(split, judge, batch_size=13), features_to_statistics(features)
    np.testing.assert_allclose(streamed.mean, whole.mean, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(streamed.covariance, whole.covariance, rtol=1e-3, atol=1e-6)
    assert streamed.count == whole.count == 60


def test_batches_of_a_split_are_its_images(split, tiny_images):
    images = torch.cat(list(array_batches(split, 25)))
    assert images.shape == (60, 1, 16, 16)
    assert images.min() >= -1
    assert images.max() <= 1
    np.testing.assert_array_equal(((images + 1) * 127.5).round().numpy(), tiny_images.pixels)


def test_real_images_score_better_than_a_random_generator(judge, generator, split, tiny_images):
    real = array_statistics(split, judge)
    pixels = torch.from_numpy(tiny_images.pixels).float() / 127.5 - 1

    def copy_real(z: torch.Tensor) -> torch.Tensor:
        return pixels[: len(z)]

    copied = quick_score(copy_real, judge, "fid", 60, 0, LatentInputs(), real)
    assert copied == pytest.approx(0, abs=1e-4 * np.trace(real.covariance))
    assert quick_score(generator, judge, "fid", 60, 0, LatentInputs(), real) > 10 * copied + 1e-6


def test_is_needs_no_real_images_and_is_repeatable(judge, generator):
    score = quick_score(generator, judge, "is", 40, 3, LatentInputs())
    assert 1 <= score <= 3
    assert quick_score(generator, judge, "is", 40, 3, LatentInputs()) == score


def test_fid_needs_real_images(judge, generator):
    with pytest.raises(ConfigError, match="'fid' compares with real images"):
        quick_score(generator, judge, "fid", 40, 3, LatentInputs())


def test_kid_needs_real_images_and_finds_equal_ones_equal(judge, generator, split, tiny_images):
    real = real_side("kid", split, judge)
    pixels = torch.from_numpy(tiny_images.pixels).float() / 127.5 - 1
    copied = quick_score(lambda z: pixels[: len(z)], judge, "kid", 60, 0, LatentInputs(), real)
    assert quick_score(generator, judge, "kid", 60, 0, LatentInputs(), real) > 10 * abs(copied)
    with pytest.raises(ConfigError, match="'kid' compares with real images"):
        quick_score(generator, judge, "kid", 40, 3, LatentInputs())


def test_only_distances_need_something_of_real_images(judge, split):
    assert [real_side(metric, split, judge) is None for metric in ("is", "fid", "kid", "miou", "psnr")] == [
        True,
        False,
        False,
        True,
        True,
    ]


def test_several_splits_are_one_set(judge, split, tmp_path, tiny_images):
    np.save(tmp_path / "first.npy", tiny_images.pixels[:25])
    np.save(tmp_path / "second.npy", tiny_images.pixels[25:])
    parts, whole = ([tmp_path / "first.npy", tmp_path / "second.npy"], split)
    np.testing.assert_allclose(
        array_statistics(parts, judge).covariance, array_statistics(whole, judge).covariance, rtol=1e-3, atol=1e-6
    )


def test_metrics_that_the_judge_or_the_data_does_not_allow_are_refused(judge, generator):
    pretext = ClassifierJudge(judge.network, "0" * 12, pretext=True)
    with pytest.raises(
        ConfigError, match=r"the Inception Score needs a judge that knows .* \('judge'\) gives features"
    ):
        quick_score(generator, pretext, "is", 40, 3, LatentInputs())
    for metric in ("miou", "psnr"):
        with pytest.raises(ConfigError, match=f"'{metric}' compares each image with its own truth"):
            quick_score(generator, judge, metric, 40, 3, LatentInputs())
    maps = np.zeros((4, 1, 16, 16), np.uint8)
    truth = Truth(np.arange(4), maps, maps, 3)
    with pytest.raises(ConfigError, match=r"needs a judge that reads label maps; this one \('judge'\) does not"):
        quick_score(generator, judge, "miou", 4, 3, LatentInputs(), None, truth)


def test_large_inputs_come_in_small_batches():
    class Large(LatentInputs):
        def example(self):
            return torch.zeros(1, 3, 1024, 1024)

    assert [len(batch) for batch in input_batches(Large(), 0, "score", 5)] == [2, 2, 1]
    whole = torch.cat(list(input_batches(LatentInputs(), 0, "score", 600)))
    assert torch.equal(whole, LatentInputs().draw(0, "score", 600))


def test_a_diverged_generator_is_refused(judge):
    with pytest.raises(DataError, match="NaN or infinite pixels"):
        quick_score(lambda z: torch.full((len(z), 1, 16, 16), torch.nan), judge, "is", 40, 3, LatentInputs())


def test_a_missing_damaged_or_wrong_split_is_one_line(tmp_path):
    with pytest.raises(DataError, match=r"test\.npy is missing; run `dvc repro prepare`"):
        next(array_batches(tmp_path / "test.npy"))
    (tmp_path / "test.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(DataError, match=r"test\.npy is damaged"):
        next(array_batches(tmp_path / "test.npy"))
    np.save(tmp_path / "test.npy", np.zeros((4, 16, 16)))
    with pytest.raises(DataError, match=r"must hold uint8 images .* found float64 \(4, 16, 16\)"):
        next(array_batches(tmp_path / "test.npy"))
