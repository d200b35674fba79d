from dataclasses import replace

import numpy as np
import pytest
import torch

from ganpress.config.edge_section import EvaluateConfig
from ganpress.data.prepared.generator_inputs import LatentInputs
from ganpress.errors import DataError
from ganpress.evaluation.measurement import interpolate_latents, reference_features, score_generator
from ganpress.metrics.judges.feature_networks import ClassifierJudge
from ganpress.metrics.samples.image_spool import ImageSpool
from ganpress.metrics.scores import Scores
from ganpress.registries import METRICS
from models.judge_networks import classifier
from models.wdcgan import wdcgan_generator

CONFIG = EvaluateConfig(
    images=50, neighbours=3, kid_subsets=4, kid_subset_size=20, is_splits=2, latency_repeats=3, max_bytes=None
)


@pytest.fixture(scope="module")
def judge():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ClassifierJudge(classifier(1, 3, 4, 8), "0" * 12)


@pytest.fixture(scope="module")
def reference(judge, tiny_images, tmp_path_factory):
    path = tmp_path_factory.mktemp("prepare") / "test.npy"
    np.save(path, tiny_images.pixels)
    return reference_features(path, judge, CONFIG.neighbours, batch_size=17)


@pytest.fixture(scope="module")
def generator():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return wdcgan_generator("2", 16, 1).eval()


@pytest.fixture(scope="module")
def scores(generator, judge, reference):
    return score_generator(generator, judge, reference, CONFIG, 5, LatentInputs())


def as_metrics(scores: Scores) -> dict[str, float]:
    return scores.metrics(scores)


def test_names_carry_the_protocol():
    assert METRICS["fid"].full_name(1000, "test", "judge") == "fid_1000_test_judge"
    assert METRICS["is"].full_name(1000, "test", "inception") == "is_1000_inception"
    assert METRICS["psnr"].full_name(64, "test", "judge") == "psnr_64_test"
    assert METRICS["vol"].full_name(64, "test", "judge") == "vol_64"


def test_all_metrics_are_there_under_their_names(scores):
    against_real = ["fid", "kid", "precision", "recall", "density", "coverage"]
    against_real += [f"{side}_{kind}" for side in ("precision", "recall") for kind in ("lsh", "lshknn", "lsh_ceiling")]
    expected = {f"{name}_50_test_judge" for name in against_real}
    expected |= {f"{name}_50_test_judge_error" for name in ("fid", "kid")}
    expected |= {"is_50_judge", "is_50_judge_std", "vol_50", "vol_ratio_50", "is_retained", "fid_retained"}
    expected |= {"mae_teacher_50"}
    assert set(as_metrics(scores)) == expected
    assert all(np.isfinite(value) for value in as_metrics(scores).values())


def test_a_generator_beside_itself_retains_everything(scores):
    assert as_metrics(scores)["is_retained"] == 1
    assert as_metrics(scores)["vol_ratio_50"] == 1


def test_half_the_teachers_score_is_half_retained(scores):
    inception = replace(scores.inception, mean=2 * scores.inception.mean)
    teacher = replace(scores, inception=inception, fid=scores.fid / 2, vol=4 * scores.vol)
    assert scores.metrics(teacher)["is_retained"] == 0.5
    assert scores.metrics(teacher)["fid_retained"] == 0.5
    assert scores.metrics(teacher)["vol_ratio_50"] == pytest.approx(0.25)


def test_an_error_that_is_not_known_is_left_out(scores):
    assert "kid_50_test_judge_error" in as_metrics(scores)
    assert "kid_50_test_judge_error" not in as_metrics(replace(scores, kid_terms=None))


def test_the_same_seed_gives_the_same_scores(generator, judge, reference, scores):
    again = score_generator(generator, judge, reference, CONFIG, 5, LatentInputs())
    assert as_metrics(again) == as_metrics(scores)
    other = score_generator(generator, judge, reference, CONFIG, 6, LatentInputs())
    assert as_metrics(other) != as_metrics(scores)


def test_real_images_beat_a_random_generator(judge, reference, scores, tiny_images):
    pixels = torch.from_numpy(tiny_images.pixels[:50]).float() / 127.5 - 1
    real = score_generator(lambda z: pixels[: len(z)], judge, reference, CONFIG, 5, LatentInputs())
    assert real.fid < 0.1 * scores.fid
    assert real.neighbours.precision == 1
    assert real.neighbours.recall > scores.neighbours.recall
    assert real.neighbours.coverage > scores.neighbours.coverage
    for ours, other in ((real.lsh, scores.lsh), (real.lsh_neighbours, scores.lsh_neighbours)):
        assert ours.precision > 0.85
        assert ours.recall > other.recall


def test_progress_counts_every_image(generator, judge, reference):
    counted: list[int] = []
    score_generator(generator, judge, reference, CONFIG, 5, LatentInputs(), on_images=counted.append)
    assert sum(counted) == CONFIG.images


def test_a_generator_never_holds_more_than_one_batch(judge, reference):
    sizes: list[int] = []

    def watched(z: torch.Tensor) -> torch.Tensor:
        sizes.append(len(z))
        return torch.rand(len(z), 1, 16, 16) * 2 - 1

    score_generator(watched, judge, reference, CONFIG.model_copy(update={"images": 600}), 5, LatentInputs())
    assert sum(sizes) == 600
    assert max(sizes) == 250


def test_subsets_larger_than_the_test_split_are_refused(generator, judge, reference):
    config = CONFIG.model_copy(update={"kid_subset_size": 55})
    with pytest.raises(DataError, match="smaller set's 50 images"):
        score_generator(generator, judge, reference, config, 5, LatentInputs())


def test_fewer_real_images_than_neighbours_are_refused_in_one_line(judge, tiny_images, tmp_path):
    np.save(tmp_path / "test.npy", tiny_images.pixels[:3])
    with pytest.raises(
        DataError, match="3 samples have at most 2 neighbours each, 3 are asked for; lower evaluate"
    ) as e:
        reference_features(tmp_path / "test.npy", judge, 3)
    assert "\n" not in str(e.value)


def test_fewer_generated_images_than_neighbours_are_refused(generator, judge, reference):
    config = CONFIG.model_copy(update={"images": 3, "kid_subset_size": 2})
    with pytest.raises(DataError, match="3 samples have at most 2 neighbours each, 3 are asked for"):
        score_generator(generator, judge, reference, config, 5, LatentInputs())


def test_features_that_are_not_numbers_are_refused_in_one_line(generator, judge, reference):
    class Broken(ClassifierJudge):
        def __call__(self, images):
            seen = super().__call__(images)
            seen.features[3] = np.nan
            return seen

    broken = Broken(judge.network, "0" * 12)
    with pytest.raises(DataError, match="features hold NaN or infinity in 1 of 50 samples; the network has div"):
        score_generator(generator, broken, reference, CONFIG, 5, LatentInputs())


def test_interpolation_starts_and_ends_at_its_latents_and_stays_on_the_shell():
    first, second = torch.randn(2, 100, generator=torch.Generator().manual_seed(0))
    walk = interpolate_latents(first, second, 9)
    np.testing.assert_allclose(walk[0], first, atol=1e-5)
    np.testing.assert_allclose(walk[-1], second, atol=1e-5)
    shortest, longest = sorted((float(first.norm()), float(second.norm())))
    assert walk.norm(dim=1).min() > 0.95 * shortest
    assert walk.norm(dim=1).max() < 1.05 * longest


def test_interpolation_between_parallel_latents_is_straight():
    z = torch.ones(4)
    assert torch.equal(interpolate_latents(z, 3 * z, 3), torch.stack([z, 2 * z, 3 * z]))


def test_a_share_is_above_one_for_what_is_better_than_the_teacher():
    assert METRICS["is"].share(9.0, 6.0) == 1.5
    assert METRICS["fid"].share(4.0, 6.0) == 1.5
    assert METRICS["fid"].share(0.0, 6.0) is None
    assert METRICS["ssim"].share(0.5, 0.0) is None


def test_a_judge_without_classes_leaves_out_the_inception_score_and_its_share(generator, judge, reference):
    pretext = ClassifierJudge(judge.network, "0" * 12, pretext=True)
    found = as_metrics(score_generator(generator, pretext, reference, CONFIG, 5, LatentInputs()))
    assert not [name for name in found if name.startswith("is")]
    assert "fid_50_test_judge" in found


def test_images_are_compared_with_the_teachers_of_the_same_inputs(generator, judge, reference, tmp_path):
    spool = ImageSpool(tmp_path / "teacher.uint8")
    teacher = score_generator(generator, judge, reference, CONFIG, 5, LatentInputs(), keep=spool)
    assert len(spool) == CONFIG.images
    twin = score_generator(generator, judge, reference, CONFIG, 5, LatentInputs(), teacher=spool)
    white = score_generator(lambda z: generator(z) * 0 + 1, judge, reference, CONFIG, 5, LatentInputs(), teacher=spool)
    assert twin.metrics(teacher)["mae_teacher_50"] == 0
    expected = 255 - spool.batch(0, CONFIG.images).double().mean()
    assert white.to_teacher.mae == pytest.approx(float(expected))


def test_a_spool_gives_back_what_it_was_given_and_no_more(tmp_path):
    images = torch.randint(0, 256, (7, 3, 5, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    spool = ImageSpool(tmp_path / "images")
    for part in images.split(3):
        spool.append(part)
    assert torch.equal(spool.batch(2, 5), images[2:])
    with pytest.raises(DataError, match="images 6 to 8 are asked for, but 7 were drawn"):
        spool.batch(6, 2)


def test_exact_neighbours_of_too_many_images_are_left_out_and_said_so(
    generator, judge, tiny_images, tmp_path, monkeypatch, caplog
):
    np.save(tmp_path / "test.npy", tiny_images.pixels)
    monkeypatch.setattr("ganpress.evaluation.measurement.MOST_EXACT", 40)
    reference = reference_features(tmp_path / "test.npy", judge, CONFIG.neighbours)
    scores = score_generator(generator, judge, reference, CONFIG, 5, LatentInputs())
    assert scores.neighbours is None
    names = {name.partition("_50")[0] for name in as_metrics(scores)}
    assert not {"precision", "recall", "density", "coverage"} & names
    assert {"precision_lsh", "recall_lsh", "precision_lshknn", "recall_lshknn", "fid", "kid"} <= names
    assert "exact precision, recall, density and coverage are left out: there are" in caplog.text
