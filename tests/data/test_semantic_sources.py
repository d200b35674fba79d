import io

import numpy as np
import pytest
from PIL import Image

from ganpress.data.raw.dataset_card import IGNORED
from ganpress.data.raw.raw_pairs import open_raw_pairs
from ganpress.data.sources.acquisition import import_data
from ganpress.data.sources.semantic_sources import CITYSCAPES_NAMES, decode_label_map, write_cityscapes
from ganpress.errors import DataError


@pytest.fixture
def data(tmp_path):
    (tmp_path / "project").mkdir()
    return tmp_path / "project" / "data"


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def labelled(tmp_path):
    """Four images of noise with label maps of the classes 0 to 2, in train and test."""
    random = np.random.default_rng(0)
    for split in ("train", "test"):
        for number in range(2):
            save(tmp_path / f"set/{split}/images/{number}.jpg", random.integers(0, 256, (8, 8, 3), dtype=np.uint8))
            save(tmp_path / f"set/{split}/labels/{number}.png", random.integers(0, 3, (8, 8), dtype=np.uint8))
    return tmp_path / "set"


def test_label_maps_and_images_become_pairs(labelled, data):
    (labelled / "classes.txt").write_text("sky\nroad\ncar\n\n")
    card = import_data(f"semantic:{labelled}", None, data)
    assert (card.source, card.pairing, card.label_names) == ("semantic:set", "semantic", ["sky", "road", "car"])
    assert card.counts == {"test": 2, "train": 2}
    pairs = open_raw_pairs(data)
    assert ("test/0.png", "test/0.jpg") in [(source.path, target.path) for _, source, target in pairs.matched()]
    expected = np.asarray(Image.open(labelled / "test/labels/0.png"))
    found = [image.decode()[:, :, 0] for image in pairs.source]
    np.testing.assert_array_equal(found[0], expected)


def test_kind_may_stand_above_the_split(labelled, data):
    for kind in ("images", "labels"):
        for split in ("train", "test"):
            (labelled / kind).mkdir(exist_ok=True)
            (labelled / split / kind).rename(labelled / kind / split)
    assert import_data(f"semantic:{labelled}", None, data).counts == {"test": 2, "train": 2}


def test_classes_are_counted_where_they_have_no_names(labelled, data):
    pixels = np.full((8, 8), IGNORED, np.uint8)
    pixels[0, 0] = 4
    save(labelled / "train/labels/0.png", pixels)
    assert import_data(f"semantic:{labelled}", None, data).label_names == [f"class {number}" for number in range(5)]


def test_image_without_label_map_is_named(labelled, data):
    (labelled / "test/labels/1.png").unlink()
    with pytest.raises(DataError, match=r"1 of 4 lack one of the two, first test/1 \(no label map\)"):
        import_data(f"semantic:{labelled}", None, data)


def test_missing_folder_is_named(labelled, data):
    for split in ("train", "test"):
        (labelled / split / "labels").rename(labelled / split / "masks")
    with pytest.raises(DataError, match=r"holds no labels/; expected images/ and labels/"):
        import_data(f"semantic:{labelled}", None, data)


def test_empty_list_of_classes_is_refused(labelled, data):
    (labelled / "classes.txt").write_text("\n")
    with pytest.raises(DataError, match=r"classes\.txt names 0 classes; expected 1 to 255"):
        import_data(f"semantic:{labelled}", None, data)


def png(image):
    content = io.BytesIO()
    image.save(content, "png")
    return content.getvalue()


def test_palette_pictures_are_read_by_index():
    image = Image.fromarray(np.array([[0, 2], [1, 255]], np.uint8), "L")
    image = image.convert("P")
    image.putpalette([7, 7, 7] * 256)
    assert decode_label_map(png(image), "x").tolist() == np.asarray(image).tolist()


def test_three_equal_channels_are_one_map():
    pixels = np.repeat(np.array([[3, 1]], np.uint8)[:, :, None], 3, axis=2)
    assert decode_label_map(png(Image.fromarray(pixels)), "x").tolist() == [[3, 1]]


def test_coloured_label_map_is_refused():
    pixels = np.zeros((2, 2, 3), np.uint8)
    pixels[0, 0, 1] = 9
    with pytest.raises(DataError, match="x is a coloured picture; expected a label map of one channel"):
        decode_label_map(png(Image.fromarray(pixels)), "x")


def test_ids_beyond_a_byte_are_refused():
    with pytest.raises(DataError, match="x has label ids 0 to 26000; allowed are 0 to 254, and 255: ignored"):
        decode_label_map(png(Image.fromarray(np.array([[0, 26_000]], np.uint16))), "x")


def test_unreadable_label_map_is_named():
    with pytest.raises(DataError, match="x cannot be decoded"):
        decode_label_map(b"no image", "x")


@pytest.fixture
def cityscapes(tmp_path):
    """Cityscapes' own layout with two street scenes, one of whose pixels is a licence plate."""
    root = tmp_path / "cityscapes"
    for split, city in (("train", "aachen"), ("val", "munster")):
        stem = f"{split}/{city}/{city}_000000_000019"
        save(root / f"leftImg8bit/{stem}_leftImg8bit.png", np.full((8, 16, 3), 60, np.uint8))
        ids = np.full((8, 16), 7, np.uint8)
        ids[0, 0] = IGNORED
        save(root / f"gtFine/{stem}_gtFine_labelIds.png", ids)
        save(root / f"gtFine/{stem}_gtFine_color.png", np.zeros((8, 16, 3), np.uint8))
    return root


def test_cityscapes_has_35_labels_and_val_is_its_test_split(cityscapes, tmp_path, monkeypatch):
    target = tmp_path / "target"
    target.mkdir()
    monkeypatch.setattr("ganpress.data.sources.semantic_sources.CITYSCAPES_COUNTS", (("test", 1), ("train", 1)))
    card = write_cityscapes(cityscapes, target, tmp_path)
    card.save(target)
    assert (card.pairing, len(card.label_names), card.label_names[7]) == ("semantic", 35, "road")
    pairs = open_raw_pairs(target)
    assert [image.path for image in pairs.target] == [
        "test/munster_000000_000019.png",
        "train/aachen_000000_000019.png",
    ]
    ids, _ = [image.decode() for image in pairs.source]
    assert ids[0, 0, 0] == CITYSCAPES_NAMES.index("license plate")
    assert set(ids.reshape(-1)[1:]) == {7}


def test_incomplete_cityscapes_gives_both_counts(cityscapes, data):
    with pytest.raises(DataError, match=r"expected {'test': 500, 'train': 2975}; the copy is incomplete"):
        import_data("cityscapes", cityscapes, data)


def test_street_scene_without_label_map_is_named(cityscapes, data):
    (cityscapes / "gtFine/val/munster/munster_000000_000019_gtFine_labelIds.png").unlink()
    with pytest.raises(DataError, match=r"lacks gtFine/val/munster/.*_labelIds\.png, the label map of leftImg8bit/val"):
        import_data("cityscapes", cityscapes, data)


def test_folder_without_street_scenes_says_what_is_expected(data, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"holds no leftImg8bit/\{train,val\}/<city>"):
        import_data("cityscapes", tmp_path / "empty", data)
