import numpy as np
import pytest
from skimage.filters import threshold_otsu

from ganpress.data.raw.raw_images import open_raw
from ganpress.data.raw.raw_pairs import open_raw_pairs
from ganpress.data.sources.acquisition import import_data
from ganpress.data.sources.derived_sources import edge_map, ink_map, luma, otsu_threshold
from ganpress.errors import ConfigError, DataError


@pytest.fixture
def data(tmp_path):
    root = tmp_path / "project"
    root.mkdir()
    yield root / "data"
    assert {path.name for path in root.iterdir()} <= {"data"}


def read(raw):
    return [(image.path, image.label, image.decode()) for image in raw]


@pytest.mark.parametrize("seed", range(5))
def test_otsus_threshold_is_scikit_images(seed):
    random = np.random.default_rng(seed)
    levels = np.concatenate([random.normal(70, 20, 400), random.normal(180, 15, 150)]).clip(0, 255).astype(np.uint8)
    assert otsu_threshold(levels) == threshold_otsu(levels)


def test_of_one_level_alone_nothing_is_above_the_threshold():
    assert otsu_threshold(np.full((3, 3), 90, np.uint8)) == 90
    assert not edge_map(np.full((32, 32, 3), 90, np.uint8)).any()
    assert not ink_map(np.full((32, 32, 1), 0, np.uint8), 3).any()


def test_edges_are_where_the_levels_change():
    image = np.zeros((32, 32, 1), np.uint8)
    image[8:24, 8:24] = 200
    edges = edge_map(image)
    assert set(np.unique(edges)) == {0, 255}
    assert edges[8, 12] == edges[12, 8] == 255  # the border of the square
    assert not edges[12:20, 12:20].any()  # its inside
    assert not edges[:6].any()


def test_ink_carries_its_class():
    image = np.zeros((32, 32, 1), np.uint8)
    image[8:24, 8:24] = 200
    np.testing.assert_array_equal(ink_map(image, 4), np.where(image[:, :, 0] > 0, 5, 0))


def test_small_images_are_enlarged_by_a_whole_number():
    assert luma(np.zeros((8, 8, 1), np.uint8)).shape == (32, 32)
    assert luma(np.zeros((28, 40, 3), np.uint8)).shape == (28, 40)


def test_edges_of_digits_lie_beside_the_digits_themselves(digits, data):
    card = import_data("edges:digits", None, data)
    assert (card.source, card.pairing, card.counts) == ("edges:digits", "paired", {"test": 360, "train": 1437})
    assert len(card.classes) == 10
    pairs = open_raw_pairs(data)
    targets = read(pairs.target)
    for (path, label, pixels), (_, own, expected) in zip(targets, read(open_raw(digits)), strict=True):
        assert label == own, path
        np.testing.assert_array_equal(pixels, expected)
    for number, source, target in pairs.matched():
        if number % 100 == 0:
            np.testing.assert_array_equal(source.decode()[:, :, 0], edge_map(target.decode()))


def test_segments_of_digits_have_eleven_labels(data):
    card = import_data("segments:digits", None, data)
    assert (card.pairing, card.label_names) == ("semantic", ["background", *map(str, range(10))])
    for number, source, target in open_raw_pairs(data).matched():
        if number % 100 == 0:
            assert set(np.unique(source.decode())) == {0, target.label + 1}


def test_superres_has_the_image_itself_as_its_source(data):
    card = import_data("superres:digits", None, data)
    assert card.pairing == "paired"
    for number, source, target in open_raw_pairs(data).matched():
        if number % 100 == 0:
            np.testing.assert_array_equal(source.decode(), target.decode())


def test_a_folder_is_a_base_too(data, tmp_path, write_images):
    folder = write_images(tmp_path / "faces", ["train/a/1.bmp", "train/b/2.bmp", "test/a/3.bmp"], size=(40, 30))
    card = import_data(f"edges:folder:{folder}", None, data)
    assert (card.source, card.classes) == ("edges:folder:faces", ["a", "b"])
    pairs = open_raw_pairs(data)
    assert [image.path for image in pairs.source] == ["test/a/3.png", "train/a/1.png", "train/b/2.png"]
    assert len(list(pairs.matched())) == 3


def test_segments_need_classes(data, tmp_path, write_images):
    folder = write_images(tmp_path / "faces", ["1.png", "2.png"])
    with pytest.raises(DataError, match=r"needs labelled images of 1 to 254 classes, found 0 in folder:faces"):
        import_data(f"segments:folder:{folder}", None, data)


def test_domains_are_sets_of_classes(digits, data):
    card = import_data("domains:digits:0,6,8:1,4", None, data)
    assert (card.pairing, card.classes) == ("unpaired", ["1", "4"])
    pairs = open_raw_pairs(data)
    assert pairs.source.classes == ("0", "6", "8")
    expected = sorted(image.decode().tobytes() for image in open_raw(digits) if image.label in (0, 6, 8))
    assert sorted(pixels.tobytes() for *_, pixels in read(pairs.source)) == expected
    assert {image.split for image in pairs.target} == {"train", "test"}


def test_unknown_class_names_the_known_ones(data):
    with pytest.raises(ConfigError, match=r"class 'cat' is unknown; classes of digits: 0, 1, 2"):
        import_data("domains:digits:0:cat", None, data)


def test_class_in_both_domains_is_refused(data):
    with pytest.raises(ConfigError, match="class '4' is in both domains"):
        import_data("domains:digits:0,4:4,5", None, data)


def test_domains_without_classes_say_how_to_write_them(data):
    with pytest.raises(ConfigError, match=r"'domains:digits:0' is incomplete; expected domains:<base>:<class,class"):
        import_data("domains:digits:0", None, data)


def test_scenes_share_no_pixel_between_train_and_test(data):
    from sklearn.datasets import load_sample_image

    card = import_data("scenes", None, data)
    assert (card.pairing, card.counts) == ("unpaired", {"test": 115, "train": 667})
    photograph = load_sample_image("china.jpg")
    for path, _, pixels in read(open_raw_pairs(data).source)[::50]:
        split, name = path.split("/")
        top, left = (int(part) for part in name.removesuffix(".png").split("_"))
        left += 512 if split == "test" else 0
        assert split == "test" or left + 64 <= 512
        np.testing.assert_array_equal(pixels, photograph[top : top + 64, left : left + 64])


def test_two_imports_are_the_same_bytes(data):
    import_data("segments:digits", None, data)
    before = {path: path.read_bytes() for path in data.rglob("*") if path.is_file()}
    import_data("segments:digits", None, data)
    assert {path: path.read_bytes() for path in data.rglob("*") if path.is_file()} == before
