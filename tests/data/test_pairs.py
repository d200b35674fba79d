import numpy as np
import pytest
import torch

from ganpress.basics.pixel_values import images_to_uint8
from ganpress.data.prepared.arrays import Conditioning, ImageArray, PreparedMeta, read_meta
from ganpress.data.prepared.pairs import PairArray, SourceArray, one_hot, open_pairs, open_sources
from ganpress.data.raw.dataset_card import IGNORED
from ganpress.errors import DataError


def numbered(count, shape=(1, 4, 4)):
    """Images (count, *shape) whose pixels are their number."""
    return np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None, None], (count, *shape)).copy()


def targets(count):
    return ImageArray(numbered(count, (3, 4, 4)), np.full(count, -1, np.int64))


def numbers(images):
    return images_to_uint8(images)[:, 0, 0, 0].tolist()


def test_paired_batches_take_the_same_rows_of_both():
    pairs = PairArray(SourceArray(numbered(50)), targets(50), "paired")
    source, target = next(pairs.random_batches(torch.Generator().manual_seed(0), 20))
    assert source.shape == (20, 1, 4, 4)
    assert target.shape == (20, 3, 4, 4)
    assert numbers(source) == numbers(target)
    assert len(set(numbers(source))) > 5


def test_unpaired_batches_are_two_independent_draws():
    pairs = PairArray(SourceArray(numbered(200)), targets(100), "unpaired")
    source, target = next(pairs.random_batches(torch.Generator().manual_seed(0), 100))
    assert numbers(source) != numbers(target)
    assert max(numbers(source)) >= 100  # all of the larger domain is in reach
    assert not pairs.paired


def test_batches_continue_from_the_generator_state_alone():
    pairs = PairArray(SourceArray(numbered(200)), targets(100), "unpaired")
    generator = torch.Generator().manual_seed(3)
    batches = pairs.random_batches(generator, 8)
    next(batches)
    state = generator.get_state()
    expected = next(batches)
    resumed = torch.Generator()
    resumed.set_state(state)
    found = next(pairs.random_batches(resumed, 8))
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_label_ids_become_one_hot_and_ignored_pixels_zero():
    ids = torch.tensor([[[[0, 2], [IGNORED, 1]]]], dtype=torch.uint8)
    maps = one_hot(ids, 3)
    assert maps.shape == (1, 3, 2, 2)
    assert maps.dtype == torch.float32
    assert maps[0, :, 0, 0].tolist() == [1, 0, 0]
    assert maps[0, :, 0, 1].tolist() == [0, 0, 1]
    assert maps[0, :, 1, 0].tolist() == [0, 0, 0]
    assert maps[0, :, 1, 1].tolist() == [0, 1, 0]


def test_label_id_beyond_the_classes_is_named():
    with pytest.raises(DataError, match=r"label id 7 is not below the 3 classes"):
        one_hot(torch.tensor([[[[0, 7]]]], dtype=torch.uint8), 3)


def test_label_maps_of_three_channels_are_refused():
    with pytest.raises(DataError, match="label maps must have one channel of ids, found 3"):
        SourceArray(numbered(2, (3, 4, 4)), classes=5)


def test_float_sources_are_refused():
    with pytest.raises(DataError, match=r"sources must be uint8 \(M, C, H, W\), found float64"):
        SourceArray(numbered(2).astype(float))


def test_unequal_numbers_are_refused_when_paired():
    with pytest.raises(DataError, match="4 sources but 5 targets"):
        PairArray(SourceArray(numbered(4)), targets(5), "paired")


def test_fewer_images_than_a_batch_names_the_side():
    pairs = PairArray(SourceArray(numbered(4)), targets(50), "unpaired")
    with pytest.raises(DataError, match="4 sources are fewer than one batch of 5; lower batch_size .* to 4 or less"):
        pairs.random_batches(torch.Generator(), 5)


@pytest.fixture
def prepared(tmp_path):
    """Three semantic pairs of two classes, targets twice as wide as high."""
    np.save(tmp_path / "train.npy", numbered(3, (3, 4, 8)))
    np.save(tmp_path / "train_labels.npy", np.full(3, -1, np.int64))
    np.save(tmp_path / "train_sources.npy", numbered(3, (1, 4, 8)) % 2)
    counts = {"train": 3, "validation": 0, "test": 0}
    conditioning = Conditioning("semantic", 2, 4, 8, ["sky", "road"], counts)
    PreparedMeta("streets", 4, 3, [], counts, "box", 8, conditioning).save(tmp_path)
    return tmp_path


def test_prepared_pairs_are_opened_by_their_meta(prepared):
    pairs = open_pairs(prepared, "train")
    assert (pairs.pairing, pairs.paired, len(pairs)) == ("semantic", True, 3)
    assert (pairs.sources.channels, pairs.sources.height, pairs.sources.width) == (2, 4, 8)
    assert (pairs.targets.size, pairs.targets.width) == (4, 8)
    assert isinstance(pairs.sources.pixels, np.memmap)
    source, _ = pairs.batch(torch.tensor([1]), torch.tensor([1]))
    assert source[0, :, 0, 0].tolist() == [0, 1]


def test_meta_with_conditioning_survives_a_round_trip(prepared):
    meta = read_meta(prepared)
    assert (meta.size, meta.width) == (4, 8)
    assert meta.conditioning.label_names == ["sky", "road"]
    meta.save(prepared)
    assert read_meta(prepared) == meta


def test_meta_written_before_there_were_pairs_is_square_and_unconditional(tmp_path):
    (tmp_path / "meta.json").write_text(
        '{"source": "digits", "size": 32, "channels": 1, "classes": [], "counts": {}, "resize": "box"}'
    )
    meta = read_meta(tmp_path)
    assert (meta.width, meta.conditioning) == (32, None)


def test_unconditional_data_says_what_to_choose(tmp_path):
    PreparedMeta("digits", 32, 1, [], {}, "box").save(tmp_path)
    with pytest.raises(DataError, match="holds digits without sources, .* choose a paired, unpaired or semantic"):
        open_sources(tmp_path, "train")


def test_missing_sources_name_the_stage_to_run(prepared):
    (prepared / "train_sources.npy").unlink()
    with pytest.raises(DataError, match=r"train_sources\.npy is missing; run `dvc repro prepare`"):
        open_pairs(prepared, "train")
