import tracemalloc

import numpy as np
import pytest
from PIL import Image

from ganpress.config.data_section import PrepareConfig
from ganpress.data.prepared.arrays import SPLITS, open_split, read_meta
from ganpress.data.prepared.fitting import fit_image
from ganpress.data.prepared.image_preparation import plan_splits, prepare_images
from ganpress.data.raw.idx import write_idx
from ganpress.data.raw.raw_images import open_raw
from ganpress.errors import DataError

CONFIG = PrepareConfig(image_size=16, channels=1, validation_fraction=0.2)


def changed(**changes):
    return CONFIG.model_copy(update=changes)


@pytest.fixture
def prepared(digits, tmp_path):
    prepare_images(open_raw(digits), CONFIG, 1, tmp_path)
    return tmp_path


def test_splits_have_the_planned_sizes(prepared):
    sizes = {split: len(open_split(prepared, split)) for split in SPLITS}
    assert sizes == {"train": 1150, "validation": 287, "test": 360}
    assert read_meta(prepared).counts == sizes


def test_every_raw_image_lands_in_one_place_with_its_label(digits, tmp_path):
    prepare_images(open_raw(digits), changed(image_size=32), 1, tmp_path)
    expected = sorted((fit_image(image.decode(), (32, 32), 1).tobytes(), image.label) for image in open_raw(digits))
    found = []
    for split in SPLITS:
        array = open_split(tmp_path, split)
        found += [(pixels.tobytes(), int(label)) for pixels, label in zip(array.pixels, array.labels, strict=True)]
    assert sorted(found) == expected


def test_test_split_is_the_raw_one(digits, prepared):
    raw = sorted(fit_image(one.decode(), (16, 16), 1).tobytes() for one in open_raw(digits) if one.split == "test")
    assert sorted(one.tobytes() for one in open_split(prepared, "test").pixels) == raw


def test_validation_is_stratified(prepared):
    counts = np.bincount(open_split(prepared, "validation").labels)
    assert counts.max() - counts.min() <= 2


def test_the_first_images_of_a_split_are_a_fair_sample(digits):
    plan = plan_splits(open_raw(digits), CONFIG, 1)
    train = plan.split == 0
    labels = np.zeros(train.sum(), np.int64)
    labels[plan.position[train]] = plan.labels[train]
    counts = np.bincount(labels[:300], minlength=10)
    # 30 expected, standard deviation 5.2 (multinomial): four of them to either side.
    assert counts.min() > 9
    assert counts.max() < 51


def test_equal_seed_gives_equal_bytes_and_another_seed_another_split(digits, prepared, tmp_path_factory):
    again, other = tmp_path_factory.mktemp("again"), tmp_path_factory.mktemp("other")
    prepare_images(open_raw(digits), CONFIG, 1, again)
    prepare_images(open_raw(digits), CONFIG, 2, other)
    names = sorted(path.name for path in prepared.iterdir())
    assert names == sorted([f"{split}{kind}.npy" for split in SPLITS for kind in ("", "_labels")] + ["meta.json"])
    assert all((prepared / name).read_bytes() == (again / name).read_bytes() for name in names)
    assert (prepared / "train.npy").read_bytes() != (other / "train.npy").read_bytes()


def test_fewer_train_images_leave_validation_and_test_alone(digits, prepared, tmp_path_factory):
    small = tmp_path_factory.mktemp("small")
    meta = prepare_images(open_raw(digits), changed(max_train_images=100), 1, small)
    assert meta.counts["train"] == 100
    for name in ("validation.npy", "test.npy"):
        assert (small / name).read_bytes() == (prepared / name).read_bytes()


def test_data_without_splits_gives_a_tenth_to_test(tmp_path, write_images):
    folder = write_images(tmp_path / "data", [f"{label}/{number}.png" for label in "ab" for number in range(50)])
    meta = prepare_images(open_raw(folder), CONFIG, 1, tmp_path)
    assert meta.counts == {"train": 72, "validation": 18, "test": 10}
    assert np.bincount(open_split(tmp_path, "test").labels).tolist() == [5, 5]
    assert meta.classes == ["a", "b"]


def test_unlabelled_images_have_label_minus_one(tmp_path, write_images):
    folder = write_images(tmp_path / "data", [f"{number}.png" for number in range(20)])
    prepare_images(open_raw(folder), CONFIG, 1, tmp_path)
    assert set(open_split(tmp_path, "train").labels.tolist()) == {-1}


def test_too_few_images_for_a_split_are_refused(tmp_path, write_images):
    folder = write_images(tmp_path / "data", ["1.png", "2.png"])
    with pytest.raises(DataError, match="2 images leave none for the validation split; add images"):
        plan_splits(open_raw(folder), CONFIG, 1)


def test_unreadable_image_is_named(tmp_path, write_images):
    folder = write_images(tmp_path / "data", [f"{number}.png" for number in range(20)])
    (folder / "7.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"7\.png cannot be decoded"):
        prepare_images(open_raw(folder), CONFIG, 1, tmp_path)


def test_image_of_the_right_size_is_not_touched():
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    np.testing.assert_array_equal(fit_image(pixels, (16, 16), 3), pixels.transpose(2, 0, 1))


def test_oblong_image_is_cropped_in_the_middle():
    pixels = np.zeros((16, 32, 1), np.uint8)
    pixels[:, 8:24] = 255
    assert (fit_image(pixels, (16, 16), 1) == 255).all()


def test_shrinking_averages_instead_of_dropping():
    stripes = np.tile(np.array([0, 255], np.uint8), (64, 32))[:, :, None]
    inner = fit_image(stripes, (16, 16), 1)[0, 2:-2, 2:-2].astype(int)
    # Without an antialias filter, sampling every fourth column would give one of the two levels alone.
    assert abs(inner - 127.5).max() < 20


def test_channels_are_converted_both_ways():
    grey = np.full((16, 16, 1), 90, np.uint8)
    assert np.unique(fit_image(grey, (16, 16), 3)).tolist() == [90]
    colour = np.zeros((16, 16, 3), np.uint8)
    colour[:, :, 1] = 100
    expected = Image.fromarray(colour).convert("L").getpixel((0, 0))
    assert np.unique(fit_image(colour, (16, 16), 1)).tolist() == [expected]


def test_memory_does_not_grow_with_the_images(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (8000, 28, 28), dtype=np.uint8)
    peaks = {}
    for count in (2000, 8000):
        folder = tmp_path / str(count)
        folder.mkdir()
        write_idx(folder / "train-images-idx3-ubyte", pixels[:count])
        raw = open_raw(folder)
        prepare_images(raw, CONFIG, 1, tmp_path)  # imports and caches are not what is measured
        tracemalloc.start()
        prepare_images(raw, CONFIG, 1, tmp_path)
        peaks[count] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    growth_bytes_per_image = (peaks[8000] - peaks[2000]) / 6000
    # Plan and label of an image are a few numbers; its pixels are 784 bytes raw and 256 prepared.
    assert growth_bytes_per_image < 200
