"""Judges that are trained on the data set: classes, domains, rotations, label maps."""

import numpy as np
import pytest
import torch

from ganpress.config.judge_section import JudgeConfig
from ganpress.data.prepared.arrays import ImageArray
from ganpress.data.prepared.pairs import PairArray, SourceArray
from ganpress.errors import DataError, QualityGateFailed
from ganpress.files.checkpoint import load_model, save_model
from ganpress.metrics.judges.feature_networks import load_judge
from ganpress.metrics.judges.segmentation import IGNORED
from ganpress.training.judge_examples import (
    DomainImages,
    RotatedImages,
    SegmentedImages,
    examples_for,
    labelled_examples,
    turned,
)
from ganpress.training.judge_training import shifted_pairs, train_judge
from ganpress.training.loop import TrainingRun


def squares(count=400, size=16):
    """Images of one bright corner each; the label says which of four."""
    labels = np.arange(count, dtype=np.int64) % 4
    pixels = np.zeros((count, 1, size, size), np.uint8)
    half = size // 2
    for image, label in zip(pixels, labels, strict=True):
        image[0, (label // 2) * half :, (label % 2) * half :][:half, :half] = 255
    return ImageArray(pixels, labels)


def pairs(pairing, count=400, classes=None):
    """Squares as targets; their sources are inverted images, or label maps: 1 where bright, 255 in the first row."""
    targets = squares(count)
    if classes is None:
        return PairArray(SourceArray(255 - targets.pixels), targets, pairing)
    ids = (targets.pixels > 127).astype(np.uint8)
    ids[:, :, 0] = IGNORED
    return PairArray(SourceArray(ids, classes), targets, pairing)


def judge_config(kind="classifier", **options):
    base = {"kind": kind, "width": 4, "features": 16, "batch_size": 32, "learning_rate": 3e-3}
    return JudgeConfig(**(base | {"train_images": 4000, "min_accuracy": 0.95} | options))


RUN = TrainingRun(1, "judge")


def learn(kind, data, **options):
    config = judge_config(kind, **({"train_images": 2000} | options))
    images = data.targets if isinstance(data, PairArray) else data
    examples = examples_for(config, images, data if isinstance(data, PairArray) else None, 4)
    return train_judge(examples, examples, examples, config, RUN)


def of_squares(data, config):
    return train_judge(*labelled_examples(config, data, data, data), config, RUN)


def test_judge_learns_and_is_gated():
    data = squares()
    trained = of_squares(data, judge_config())
    assert trained.accuracy_test >= 0.95
    with pytest.raises(QualityGateFailed, match=r"judge\.min_accuracy asks for 0\.999; raise judge\.train_images"):
        of_squares(data, judge_config(train_images=32, min_accuracy=0.999))


def test_judge_needs_labels():
    data = squares()
    one_class = ImageArray(data.pixels, np.zeros(len(data), np.int64))
    with pytest.raises(DataError, match="needs at least 2 classes"):
        of_squares(one_class, judge_config())


def test_a_calibrated_classifier_is_as_sure_as_it_is_right():
    data = squares()
    network = of_squares(data, judge_config()).judge
    assert network.temperature != 1


def upright(count=100):
    """Images whose bright corner is top left, so that a turn can be seen."""
    return ImageArray(squares(4 * count).pixels[::4], np.zeros(count, np.int64))


@pytest.mark.parametrize(("kind", "data"), [("domains", pairs("unpaired")), ("rotations", upright())])
def test_a_pretext_is_learnt_but_its_probabilities_are_not_given(kind, data, tmp_path):
    trained = learn(kind, data)
    assert trained.accuracy_test >= 0.95
    save_model(tmp_path / "judge.safetensors", trained.judge, trained.blueprint)
    seen = load_judge(tmp_path / "judge.safetensors")(squares().batch(torch.arange(8)))
    assert seen.features.shape == (8, 16)
    assert seen.probabilities is None
    assert trained.judge.temperature == 1


def test_a_segmenter_learns_label_maps_and_reads_them_back(tmp_path):
    data = pairs("semantic", classes=2)
    trained = learn("segmenter", data)
    assert trained.accuracy_test >= 0.95
    save_model(tmp_path / "judge.safetensors", trained.judge, trained.blueprint)
    judge = load_judge(tmp_path / "judge.safetensors")
    seen = judge(data.targets.batch(torch.arange(8)))
    truth = data.sources.pixels[:8, 0]
    assert judge.name == "judge"
    assert seen.probabilities is None
    assert seen.features.shape == (8, 16)
    assert (seen.label_maps == truth)[truth != IGNORED].mean() > 0.95


def test_ignored_pixels_enter_neither_the_loss_nor_the_accuracy():
    data = pairs("semantic", classes=2)
    scrambled = np.array(data.targets.pixels)
    scrambled[:, :, 0] = np.random.default_rng(0).integers(0, 256, scrambled[:, :, 0].shape)
    other = PairArray(data.sources, ImageArray(scrambled, data.targets.labels), "semantic")
    # The ignored row is noise and its neighbours are not: only a loss that leaves it out gets this far.
    assert learn("segmenter", other).accuracy_test >= 0.9


def test_a_judge_file_of_label_maps_rebuilds_the_same_network(tmp_path):
    trained = learn("segmenter", pairs("semantic", 40, classes=2), train_images=64, min_accuracy=0)
    save_model(tmp_path / "judge.safetensors", trained.judge, trained.blueprint)
    again, _ = load_model(tmp_path / "judge.safetensors", "segmenter")
    images = squares(6).batch(torch.arange(6))
    with torch.no_grad():
        for one, other in zip(again(images), trained.judge(images), strict=True):
            assert torch.equal(one, other)


def test_each_image_is_turned_by_its_own_number_of_quarters():
    images = torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    turns = torch.tensor([0, 1, 2, 3, 1])
    found = turned(images, turns)
    for image, turn, result in zip(images, turns.tolist(), found, strict=True):
        np.testing.assert_array_equal(result.numpy(), np.rot90(image.numpy(), turn, (1, 2)))
    back = turned(found, (4 - turns) % 4)
    assert torch.equal(back, images)


def test_rotations_test_every_image_in_every_position_and_domains_every_image_once():
    data = squares(30)
    answers = torch.cat([answers for _, answers in RotatedImages(data).once()])
    assert torch.bincount(answers).tolist() == [30] * 4
    sources = SourceArray(np.zeros((20, 1, 16, 16), np.uint8))
    answers = torch.cat([answers for _, answers in DomainImages(sources, data).once()])
    assert torch.bincount(answers).tolist() == [20, 30]


def test_a_batch_shows_both_domains_alike():
    data = pairs("unpaired")
    images, answers = DomainImages(data.sources, data.targets).draw(8, torch.Generator().manual_seed(0))
    assert torch.bincount(answers).tolist() == [4, 4]
    assert images[answers == 0].mean() > 0 > images[answers == 1].mean()  # inverted squares are mostly bright


def test_shift_moves_little_and_keeps_the_shape():
    images, labels = squares().batch(torch.arange(40)), torch.arange(40)
    moved, same = shifted_pairs(images, labels, torch.Generator().manual_seed(0))
    assert moved.shape == images.shape
    assert 0 < (moved - images).abs().mean() < 0.3
    assert torch.equal(same, labels)


def test_label_maps_are_shifted_with_their_images_and_stay_labels():
    images, maps = SegmentedImages(pairs("semantic", 40, classes=2)).draw(40, torch.Generator().manual_seed(0))
    moved, moved_maps = shifted_pairs(images, maps, torch.Generator().manual_seed(1))
    assert not torch.equal(moved_maps, maps)
    assert set(moved_maps.unique().tolist()) == {0, 1, IGNORED}
    known = moved_maps != IGNORED
    agree = ((moved[:, 0] > 0) == (moved_maps == 1))[known]
    assert agree.float().mean() > 0.98


@pytest.mark.parametrize(
    ("kind", "data", "message"),
    [
        ("domains", None, "'domains' learns from sources beside targets, but this data is unconditional"),
        ("segmenter", None, "'segmenter' learns from sources beside targets"),
        ("segmenter", pairs("paired"), "learns label maps, which semantic data has; this data is paired"),
        ("domains", pairs("semantic", classes=2), "must be images of one shape"),
    ],
)
def test_data_without_what_a_judge_learns_from_is_refused(kind, data, message):
    with pytest.raises(DataError, match=message):
        examples_for(judge_config(kind), squares(), data, 4)


def test_quarter_turns_need_square_images():
    wide = ImageArray(np.zeros((4, 1, 16, 24), np.uint8), np.zeros(4, np.int64))
    with pytest.raises(DataError, match=r"found 16 x 24; set prepare\.width to null"):
        RotatedImages(wide)


def test_label_maps_of_another_size_are_refused():
    targets = squares(8)
    sources = SourceArray(np.zeros((8, 1, 8, 8), np.uint8), 2)
    with pytest.raises(DataError, match=r"label maps are 8 x 8, images 16 x 16; .*prepare\.source_size"):
        SegmentedImages(PairArray(sources, targets, "semantic"))
