import numpy as np
import pytest
import torch

from ganpress.basics.pixel_values import images_to_uint8, uint8_to_images
from ganpress.data.prepared.arrays import (
    ImageArray,
    PreparedMeta,
    open_split,
    read_meta,
)
from ganpress.errors import DataError


@pytest.fixture
def prepared(tmp_path, tiny_images):
    np.save(tmp_path / "train.npy", tiny_images.pixels)
    np.save(tmp_path / "train_labels.npy", tiny_images.labels)
    return tmp_path


def test_every_uint8_value_survives_the_round_trip():
    values = np.arange(256, dtype=np.uint8)
    images = uint8_to_images(torch.from_numpy(values))
    assert images.dtype == torch.float32
    assert float(images.min()) == -1
    assert float(images.max()) == 1
    np.testing.assert_array_equal(images_to_uint8(images), values)


def test_images_outside_the_range_are_clamped_not_wrapped():
    assert images_to_uint8(torch.tensor([-3.0, 3.0])).tolist() == [0, 255]


def test_batch_gives_the_asked_images_in_the_asked_order(prepared, tiny_images):
    split = open_split(prepared, "train")
    indices = torch.tensor([5, 0, 5])
    batch = split.batch(indices)
    assert batch.shape == (3, 1, 16, 16)
    np.testing.assert_array_equal(images_to_uint8(batch), tiny_images.pixels[[5, 0, 5]])


def test_pixels_stay_on_disk(prepared):
    assert isinstance(open_split(prepared, "train").pixels, np.memmap)


def test_random_batches_continue_from_the_generator_state_alone(tiny_images):
    generator = torch.Generator().manual_seed(3)
    batches = tiny_images.random_batches(generator, 8)
    next(batches)
    state = generator.get_state()
    expected = next(batches)
    resumed = torch.Generator()
    resumed.set_state(state)
    assert torch.equal(next(tiny_images.random_batches(resumed, 8)), expected)


def test_fewer_images_than_a_batch_names_both_numbers(tiny_images):
    with pytest.raises(DataError, match=r"60 images are fewer than one batch of 61; lower batch_size .* to 60 or less"):
        tiny_images.random_batches(torch.Generator(), 61)


def test_missing_split_names_the_stage_to_run(tmp_path):
    with pytest.raises(DataError, match=r"test\.npy is missing; run `dvc repro prepare`"):
        open_split(tmp_path, "test")


def test_truncated_array_is_refused(prepared):
    file = prepared / "train.npy"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"train\.npy is damaged"):
        open_split(prepared, "train")


def test_labels_of_another_length_are_refused(tiny_images):
    with pytest.raises(DataError, match="60 images but labels of shape"):
        ImageArray(tiny_images.pixels, tiny_images.labels[:-1])


def test_float_images_are_refused(tiny_images):
    with pytest.raises(DataError, match=r"must be uint8 \(N, C, H, W\), found float64"):
        ImageArray(tiny_images.pixels.astype(float), tiny_images.labels)


def test_meta_survives_a_round_trip(tmp_path):
    meta = PreparedMeta("digits", 32, 1, ["0", "1"], {"train": 5, "validation": 1, "test": 2}, "pillow-box")
    meta.save(tmp_path)
    assert read_meta(tmp_path) == meta


def test_damaged_meta_is_refused(tmp_path):
    (tmp_path / "meta.json").write_text("{}")
    with pytest.raises(DataError, match=r"meta\.json is damaged"):
        read_meta(tmp_path)
