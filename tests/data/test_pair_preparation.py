import gc
import tracemalloc

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from ganpress.config.data_section import PrepareConfig
from ganpress.data.prepared.arrays import SPLITS, open_split, read_meta
from ganpress.data.prepared.fitting import fit_labels, kept_part, middle_crop
from ganpress.data.prepared.pair_preparation import prepare_data
from ganpress.data.prepared.pairs import open_pairs
from ganpress.data.raw.dataset_card import IGNORED, DatasetCard
from ganpress.data.raw.idx import write_idx
from ganpress.data.sources.acquisition import import_data
from ganpress.errors import DataError

CONFIG = PrepareConfig(image_size=16, channels=1, validation_fraction=0.2)


def changed(**changes):
    return PrepareConfig.model_validate(CONFIG.model_dump() | changes)


def imported(source, folder):
    import_data(source, None, folder)
    return folder


@pytest.fixture
def make_pairs(tmp_path):
    """Write 20 pairs as raw data: targets of noise (H, W), sources made of them by a function."""

    def make(shape, derive, pairing="paired", labels=()):
        random = np.random.default_rng(0)
        for number in range(20):
            target = random.integers(0, 256, shape, dtype=np.uint8)
            for side, pixels in (("source", derive(target)), ("target", target)):
                (tmp_path / "data" / side).mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(tmp_path / "data" / side / f"{number}.png")
        DatasetCard("made", "folder", {"unsplit": 20}, [], "", pairing, list(labels)).save(tmp_path / "data")
        return tmp_path / "data"

    return make


def test_sources_and_targets_share_split_place_and_crop(make_pairs, tmp_path):
    folder = make_pairs((16, 23), lambda target: 255 - target)
    meta = prepare_data(folder, CONFIG, 1, tmp_path)
    assert meta.counts == meta.conditioning.counts == {"train": 14, "validation": 4, "test": 2}
    for split in SPLITS:
        pairs = open_pairs(tmp_path, split)
        np.testing.assert_array_equal(pairs.sources.pixels, 255 - pairs.targets.pixels)


def test_crop_of_a_larger_source_is_that_of_its_target(make_pairs, tmp_path):
    folder = make_pairs((16, 23), lambda target: (target // 2).repeat(2, 0).repeat(2, 1), "semantic", "x" * 128)
    prepare_data(folder, CONFIG, 1, tmp_path)
    pairs = open_pairs(tmp_path, "train")
    # Of 23 columns 7 are too many: the crop begins at 3, so at 6 in the source, whose own middle would begin at 7.
    np.testing.assert_array_equal(pairs.sources.pixels, pairs.targets.pixels // 2)


def test_sources_of_super_resolution_are_smaller(make_pairs, tmp_path):
    meta = prepare_data(make_pairs((32, 32), lambda target: target), changed(image_size=32, source_size=8), 1, tmp_path)
    assert (meta.conditioning.height, meta.conditioning.width) == (8, 8)
    pairs = open_pairs(tmp_path, "train")
    means = pairs.targets.pixels.mean(axis=(1, 2, 3))
    np.testing.assert_allclose(pairs.sources.pixels.mean(axis=(1, 2, 3)), means, atol=4)


def test_oblong_targets_and_colour_sources(make_pairs, tmp_path):
    folder = make_pairs((20, 40), lambda target: np.stack([target] * 3, axis=2))
    meta = prepare_data(folder, changed(width=32, source_channels=3), 1, tmp_path)
    assert (meta.size, meta.width, meta.conditioning.channels, meta.conditioning.width) == (16, 32, 3, 32)
    pairs = open_pairs(tmp_path, "test")
    assert pairs.targets.pixels.shape[1:] == (1, 16, 32)
    assert pairs.sources.pixels.shape[1:] == (3, 16, 32)
    assert read_meta(tmp_path) == meta


def test_label_ids_are_never_mixed(make_pairs, tmp_path):
    folder = make_pairs((40, 40), lambda target: np.where(target > 128, IGNORED, target % 2 * 3), "semantic", "abcd")
    meta = prepare_data(folder, CONFIG, 1, tmp_path)
    assert (meta.conditioning.channels, meta.conditioning.label_names) == (4, ["a", "b", "c", "d"])
    pairs = open_pairs(tmp_path, "train")
    assert set(np.unique(pairs.sources.pixels)) == {0, 3, IGNORED}
    assert pairs.sources.channels == 4


def test_domains_are_split_each_on_its_own(tmp_path):
    folder = imported("domains:digits:0,6:1,4,7", tmp_path / "data")
    meta = prepare_data(folder, changed(max_train_images=50), 1, tmp_path)
    assert meta.counts["train"] == meta.conditioning.counts["train"] == 50
    assert meta.counts["test"] != meta.conditioning.counts["test"]
    assert meta.classes == ["1", "4", "7"]
    pairs = open_pairs(tmp_path, "validation")
    assert (len(pairs.targets), len(pairs.sources)) == (
        meta.counts["validation"],
        meta.conditioning.counts["validation"],
    )


def test_targets_keep_the_labels_that_a_judge_learns_from(tmp_path):
    meta = prepare_data(imported("edges:digits", tmp_path / "data"), CONFIG, 1, tmp_path)
    assert (meta.source, len(meta.classes)) == ("edges:digits", 10)
    assert set(open_split(tmp_path, "train").labels.tolist()) == set(range(10))


def test_targets_of_edges_are_the_digits_as_ever(digits, tmp_path):
    for name in ("plain", "paired"):
        (tmp_path / name).mkdir()
    prepare_data(digits, CONFIG, 1, tmp_path / "plain")
    prepare_data(imported("edges:digits", tmp_path / "data"), CONFIG, 1, tmp_path / "paired")
    for name in ("train.npy", "validation.npy", "test_labels.npy"):
        assert (tmp_path / "plain" / name).read_bytes() == (tmp_path / "paired" / name).read_bytes()


def test_equal_input_gives_equal_bytes(tmp_path):
    folder = imported("segments:digits", tmp_path / "data")
    contents = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        prepare_data(folder, CONFIG, 1, tmp_path / name)
        contents.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
    assert contents[0] == contents[1]
    assert "validation_sources.npy" in contents[0]


def test_source_without_target_is_refused(make_pairs, tmp_path):
    folder = make_pairs((16, 16), lambda target: target)
    (folder / "target" / "7.png").rename(folder / "target" / "seven.png")
    with pytest.raises(DataError, match="made: 2 images have no partner, first 7; see the gate's summary"):
        prepare_data(folder, CONFIG, 1, tmp_path)


def test_source_of_another_shape_is_refused(make_pairs, tmp_path):
    folder = make_pairs((16, 16), lambda target: target[:, :9])
    with pytest.raises(
        DataError, match=r"is 16x9 pixels and its target 16x16; expected equal sizes, or one an integer"
    ):
        prepare_data(folder, CONFIG, 1, tmp_path)


@pytest.mark.parametrize(("source_size", "width"), [(12, None), (32, None), (8, 16)])
def test_source_size_must_divide_the_targets(source_size, width):
    if source_size == 8:
        assert changed(source_size=8, width=width).source_shape == (8, 8)
        return
    with pytest.raises(ValidationError, match=f"source_size {source_size} is no whole part of the targets' 16x16"):
        changed(source_size=source_size, width=width)


@pytest.mark.parametrize(
    ("shape", "proportions", "expected"),
    [
        ((16, 23), (1, 1), (0, 3, 16, 16)),
        ((23, 16), (1, 1), (3, 0, 16, 16)),
        ((256, 512), (128, 256), (0, 0, 256, 512)),
        ((100, 100), (1, 2), (25, 0, 50, 100)),
    ],
)
def test_crop_is_the_largest_in_the_middle(shape, proportions, expected):
    crop = middle_crop(shape, proportions)
    assert (crop.top, crop.left, crop.height, crop.width) == expected


@pytest.mark.parametrize(
    ("fit", "shape", "expected"),
    [
        ("crop", (100, 200), (0, 50, 100, 100)),
        ("stretch", (100, 200), (0, 0, 100, 200)),
        ("cut", (100, 200), (42, 92, 16, 16)),
        ("cut", (12, 20), (0, 4, 12, 12)),
    ],
)
def test_each_fit_keeps_its_part(fit, shape, expected):
    part = kept_part(shape, (16, 16), fit)
    assert (part.top, part.left, part.height, part.width) == expected


def test_a_cut_of_pairs_is_the_same_place_in_both(make_pairs, tmp_path):
    """The sources are twice as fine as their targets, so the part is laid on the targets."""
    folder = make_pairs((40, 60), lambda target: (target // 2).repeat(2, 0).repeat(2, 1), "semantic", "x" * 128)
    prepare_data(folder, changed(fit="cut"), 1, tmp_path)
    pairs = open_pairs(tmp_path, "train")
    np.testing.assert_array_equal(pairs.sources.pixels, pairs.targets.pixels // 2)
    whole = [np.asarray(Image.open(path)) for path in (folder / "target").glob("*.png")]
    kept = {image[12:28, 22:38].tobytes() for image in whole}
    assert {image.tobytes() for image in pairs.targets.pixels} < kept


def test_labels_of_the_right_size_are_not_touched():
    ids = np.random.default_rng(0).integers(0, 9, (16, 16, 1), dtype=np.uint8)
    np.testing.assert_array_equal(fit_labels(ids, (16, 16))[0], ids[:, :, 0])


def peak_of_preparation(raw, out):
    gc.collect()
    tracemalloc.start()
    prepare_data(raw, CONFIG, 1, out)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


@pytest.mark.slow
def test_memory_does_not_grow_with_the_pairs(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (4096, 16, 16), dtype=np.uint8)
    peaks = {}
    for count in (2048, 4096):
        for side in ("source", "target"):
            (tmp_path / str(count) / side).mkdir(parents=True)
            write_idx(tmp_path / str(count) / side / "train-images-idx3-ubyte", pixels[:count])
        DatasetCard("made", "idx", {"train": count}, pairing="paired").save(tmp_path / str(count))
        prepare_data(tmp_path / str(count), CONFIG, 1, tmp_path)  # imports and caches are not what is measured
        # The least of three: threads that an earlier test left behind allocate too.
        peaks[count] = min(peak_of_preparation(tmp_path / str(count), tmp_path) for _ in range(3))
    # A pair is 512 bytes raw and 512 prepared; its plan and label are a few numbers.
    assert (peaks[4096] - peaks[2048]) / 2048 < 200
