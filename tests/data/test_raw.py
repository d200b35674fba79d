import numpy as np
import pytest
from PIL import Image

from ganpress.data.raw.dataset_card import DatasetCard
from ganpress.data.raw.idx import write_idx
from ganpress.data.raw.image_files import folder_members, image_names, write_zip
from ganpress.data.raw.raw_images import open_raw
from ganpress.errors import DataError


@pytest.fixture
def make_tree(tmp_path):
    """Make a folder of 2x3 images whose pixels are their number."""

    def make(*names):
        for number, name in enumerate(names):
            path = tmp_path / "data" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((2, 3), number, np.uint8)).save(path)
        return tmp_path / "data"

    return make


def write_digits(folder, count=3):
    folder.mkdir(parents=True, exist_ok=True)
    for prefix in ("train", "t10k"):
        write_idx(folder / f"{prefix}-images-idx3-ubyte", np.arange(count * 4, dtype=np.uint8).reshape(count, 2, 2))
        write_idx(folder / f"{prefix}-labels-idx1-ubyte", np.arange(count, dtype=np.uint8))


def rows(raw):
    return [(image.path, image.split, image.label) for image in raw]


def test_idx_files_give_numbered_images_with_split_and_label(tmp_path):
    write_digits(tmp_path)
    raw = open_raw(tmp_path)
    images = [(image.path, image.split, image.label, image.decode()) for image in raw]
    assert images[4][:3] == ("train-images-idx3-ubyte#00001", "train", 1)
    assert images[4][3].tolist() == [[[4], [5]], [[6], [7]]]
    assert raw.classes == ("0", "1", "2")
    assert raw.counts() == {"test": 3, "train": 3}


def test_card_names_the_classes_of_idx_files(tmp_path):
    write_digits(tmp_path)
    DatasetCard("mine", "idx", {"train": 3, "test": 3}, ["a", "b", "c"]).save(tmp_path)
    raw = open_raw(tmp_path)
    assert (raw.source, raw.classes) == ("mine", ("a", "b", "c"))


def test_label_beyond_the_named_classes_is_refused(tmp_path):
    write_digits(tmp_path)
    DatasetCard("mine", "idx", {"train": 3, "test": 3}, ["a", "b"]).save(tmp_path)
    with pytest.raises(DataError, match=r"labels up to 2, but dataset\.json names 2 classes"):
        open_raw(tmp_path)


def test_idx_files_without_labels_are_unlabelled(tmp_path):
    write_digits(tmp_path)
    for path in tmp_path.glob("*labels*"):
        path.unlink()
    raw = open_raw(tmp_path)
    assert raw.classes == ()
    assert {image.label for image in raw} == {-1}


def test_more_labels_than_images_are_refused(tmp_path):
    write_digits(tmp_path)
    write_idx(tmp_path / "train-labels-idx1-ubyte", np.zeros(4, np.uint8))
    with pytest.raises(DataError, match="holds 4 labels, but train-images-idx3-ubyte holds 3 images"):
        open_raw(tmp_path)


def test_tree_with_splits_and_classes(make_tree):
    folder = make_tree("train/b/1.png", "train/a/2.png", "test/a/3.png", "val/b/4.png")
    raw = open_raw(folder)
    assert rows(raw) == [
        ("test/a/3.png", "test", 0),
        ("train/a/2.png", "train", 0),
        ("train/b/1.png", "train", 1),
        ("val/b/4.png", "train", 1),
    ]
    assert [int(image.decode().max()) for image in raw] == [2, 1, 0, 3]


def test_tree_of_classes_alone_is_unsplit(make_tree):
    assert rows(open_raw(make_tree("a/1.png", "b/2.png"))) == [("a/1.png", "unsplit", 0), ("b/2.png", "unsplit", 1)]


def test_flat_folder_is_unlabelled(make_tree):
    assert rows(open_raw(make_tree("1.png", "2.png"))) == [("1.png", "unsplit", -1), ("2.png", "unsplit", -1)]


def test_one_class_folder_is_no_label(make_tree):
    assert open_raw(make_tree("train/faces/1.png", "test/faces/2.png")).classes == ()


def test_numbered_classes_are_in_the_order_of_numbers(make_tree):
    assert open_raw(make_tree("10/1.png", "9/2.png", "1/3.png")).classes == ("1", "9", "10")


def test_zip_reads_as_the_folder_that_it_was_packed_from(make_tree, tmp_path):
    folder = make_tree("train/b/1.png", "train/a/2.png", "test/a/3.png")
    (tmp_path / "packed").mkdir()
    write_zip(tmp_path / "packed" / "images.zip", folder_members(folder, image_names(folder)))
    packed, tree = open_raw(tmp_path / "packed"), open_raw(folder)
    assert rows(packed) == rows(tree)
    for one, other in zip(packed, tree, strict=True):
        np.testing.assert_array_equal(one.decode(), other.decode())
        assert one.size_bytes == other.size_bytes


def test_damaged_member_of_a_zip_is_refused_when_decoded(make_tree, tmp_path):
    folder = make_tree("1.png", "2.png")
    path = tmp_path / "packed" / "images.zip"
    path.parent.mkdir()
    write_zip(path, folder_members(folder, image_names(folder)))
    content = bytearray(path.read_bytes())
    content[50] ^= 0xFF  # inside the first image: its checksum no longer fits
    path.write_bytes(content)
    images = iter(open_raw(path.parent))
    first = next(images)
    with pytest.raises(DataError, match=r"1\.png cannot be read from .*images\.zip"):
        first.decode()
    assert next(images).decode().shape == (2, 3, 1)


def test_missing_folder_says_how_to_get_data(tmp_path):
    with pytest.raises(DataError, match="does not exist; run `ganpress data add digits`"):
        open_raw(tmp_path / "data")


def test_empty_folder_says_what_is_expected(tmp_path):
    with pytest.raises(DataError, match="holds no images; expected"):
        open_raw(tmp_path)


def test_formats_side_by_side_are_refused(make_tree):
    folder = make_tree("1.png")
    write_digits(folder)
    with pytest.raises(DataError, match=r"mixes formats: 1\.png, t10k-images-idx3-ubyte"):
        open_raw(folder)


def test_two_zips_are_refused(tmp_path):
    for name in ("a.zip", "b.zip"):
        write_zip(tmp_path / name, [("1.png", b"")])
    with pytest.raises(DataError, match=r"2 zip files \(a\.zip, b\.zip"):
        open_raw(tmp_path)


def test_images_outside_the_splits_are_named(make_tree):
    with pytest.raises(DataError, match=r"1 of 2 images are outside the split folders .* first stray/2\.png"):
        open_raw(make_tree("train/1.png", "stray/2.png"))


def test_images_outside_the_classes_are_named(make_tree):
    with pytest.raises(DataError, match=r"1 of 2 images are in no class folder, first train/2\.png"):
        open_raw(make_tree("train/a/1.png", "train/2.png"))


def test_damaged_card_is_named(tmp_path):
    (tmp_path / "dataset.json").write_text("{")
    with pytest.raises(DataError, match=r"dataset\.json is damaged"):
        open_raw(tmp_path)
