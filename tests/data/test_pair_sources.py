"""Paired, unpaired and semantic data in the layouts that users have on disk."""

import shutil
import tarfile

import numpy as np
import pytest
from PIL import Image

from ganpress.data.raw.dataset_card import read_card
from ganpress.data.raw.raw_pairs import open_raw_pairs
from ganpress.data.sources.acquisition import import_data
from ganpress.data.sources.pair_sources import PairSet, write_pair_set
from ganpress.errors import ConfigError, DataError
from ganpress.registries import SOURCES


@pytest.fixture
def data(tmp_path):
    """Where to import to."""
    root = tmp_path / "project"
    root.mkdir()
    yield root / "data"
    assert {path.name for path in root.iterdir()} <= {"data"}


@pytest.fixture
def side_by_side(tmp_path):
    """Make pictures 8x16 whose left half is 10 + their number, and whose right half is 200 + it."""

    def make(*names, width=16):
        for number, name in enumerate(names):
            path = tmp_path / "pairs" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            picture = np.full((8, width, 3), 10 + number, np.uint8)
            picture[:, width // 2 :] = 200 + number
            Image.fromarray(picture).save(path)
        return tmp_path / "pairs"

    return make


def levels(raw):
    return [(image.path, int(image.decode().max())) for image in raw]


def test_pictures_are_cut_into_source_and_target(side_by_side, data):
    folder = side_by_side("train/1.png", "test/2.png")
    card = import_data(f"pairs:{folder}", None, data)
    assert (card.source, card.pairing, card.counts) == ("pairs:pairs", "paired", {"test": 1, "train": 1})
    assert read_card(data) == card
    pairs = open_raw_pairs(data)
    assert levels(pairs.source) == [("test/2.png", 11), ("train/1.png", 10)]
    assert levels(pairs.target) == [("test/2.png", 201), ("train/1.png", 200)]
    assert {image.decode().shape for image in pairs.source} == {(8, 8, 3)}


def test_direction_ba_swaps_the_sides(side_by_side, data):
    card = import_data(f"pairs:{side_by_side('train/1.png', 'test/2.png')}:BA", None, data)
    assert card.source == "pairs:pairs:BA"
    assert levels(open_raw_pairs(data).source) == [("test/2.png", 201), ("train/1.png", 200)]


def test_val_is_the_test_split_where_there_is_no_other(side_by_side, data):
    assert import_data(f"pairs:{side_by_side('train/1.png', 'val/2.png')}", None, data).counts == {
        "test": 1,
        "train": 1,
    }


@pytest.mark.parametrize("kind", ["zip", "gztar"])
def test_archive_gives_the_same_bytes_as_its_folder(side_by_side, data, tmp_path, kind):
    folder = side_by_side("train/1.png", "test/2.png")
    archive = shutil.make_archive(str(tmp_path / "packed" / "pairs"), kind, folder.parent, folder.name)
    import_data(f"pairs:{folder}", None, data)
    expected = (data / "target" / "images.zip").read_bytes()
    import_data(f"pairs:{archive}", None, data)
    assert (data / "target" / "images.zip").read_bytes() == expected


def test_two_folders_are_taken_as_they_are(data, tmp_path, write_images):
    folder = write_images(tmp_path / "two", ["source/train/1.png", "target/train/1.bmp"])
    import_data(f"pairs:{folder}", None, data)
    pairs = open_raw_pairs(data)
    assert [image.path for image in pairs.target] == ["train/1.bmp"]
    assert [number for number, *_ in pairs.matched()] == [0]


def test_picture_without_two_halves_is_named_and_nothing_is_lost(side_by_side, data, digits):
    shutil.copytree(digits, data)
    before = sorted(path.name for path in data.iterdir())
    with pytest.raises(DataError, match=r"train/1\.png is 15 pixels wide, which cannot be halved; expected pictures"):
        import_data(f"pairs:{side_by_side('train/1.png', width=15)}", None, data)
    assert sorted(path.name for path in data.iterdir()) == before


def test_folder_without_pictures_says_what_is_expected(data, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty holds no images; expected pictures of A and B side by side"):
        import_data(f"pairs:{tmp_path / 'empty'}", None, data)


def test_missing_place_is_named(data, tmp_path):
    with pytest.raises(DataError, match=r"nowhere does not exist; name a folder, a zip or a tar archive"):
        import_data(f"pairs:{tmp_path / 'nowhere'}", None, data)


def test_cut_off_archive_is_named(side_by_side, data, tmp_path):
    archive = tmp_path / "pairs.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(side_by_side(*[f"train/{number}.png" for number in range(40)]), "pairs")
    archive.write_bytes(archive.read_bytes()[:-300])
    with pytest.raises(DataError, match=r"pairs\.tar\.gz is truncated, damaged, or not"):
        import_data(f"pairs:{archive}", None, data)


def test_published_set_must_be_complete(side_by_side, data):
    folder = side_by_side("train/1.jpg", "val/2.jpg")
    with pytest.raises(DataError, match=r"holds {'test': 1, 'train': 1} images for maps, expected {'test': 1098, "):
        import_data("maps", folder, data)


def test_published_set_draws_its_test_pairs_from_all(side_by_side, tmp_path):
    folder = side_by_side(*[f"train/{number}.png" for number in range(6)], "val/1.png", "val/2.png")
    target = tmp_path / "target"
    target.mkdir()
    card = write_pair_set(PairSet("few", "AB", (("test", 3), ("train", 5)), test_pairs=3), folder, target, tmp_path)
    assert card.counts == {"test": 3, "train": 5}
    sources = levels(open_raw_pairs_of(target, card).source)
    assert sorted(level for _, level in sources) == list(range(10, 18))  # each picture once


def open_raw_pairs_of(folder, card):
    card.save(folder)
    return open_raw_pairs(folder)


@pytest.fixture
def domains(tmp_path, write_images):
    """CycleGAN's layout, wrapped in a folder as its archives are."""
    names = ["trainA/1.png", "trainA/2.png", "trainB/1.png", "testA/1.png", "testB/3.png"]
    return write_images(tmp_path / "set" / "horse2zebra", names).parent


def test_cyclegans_folders_become_two_domains(domains, data):
    card = import_data(f"unpaired:{domains}", None, data)
    assert (card.source, card.pairing, card.counts) == ("unpaired:set", "unpaired", {"test": 1, "train": 1})
    pairs = open_raw_pairs(data)
    assert [image.path for image in pairs.source] == ["test/1.png", "train/1.png", "train/2.png"]
    assert [image.path for image in pairs.target] == ["test/3.png", "train/1.png"]
    assert (data / "source" / "images.zip").stat().st_size > 0


def test_empty_domain_is_named(domains, data):
    shutil.rmtree(domains / "horse2zebra" / "trainB")
    with pytest.raises(DataError, match=r"holds no images below trainB/; expected images below trainA/ and trainB/"):
        import_data(f"unpaired:{domains}", None, data)


def test_incomplete_horse2zebra_names_the_side(domains, data):
    with pytest.raises(DataError, match=r"holds {'test': 1, 'train': 2} images for horse2zebra's source, expected"):
        import_data("horse2zebra", domains, data)


def test_cityscapes_without_a_copy_says_what_to_fetch(data):
    with pytest.raises(DataError, match=r"needs an account.* leftImg8bit_trainvaltest\.zip .* --path <folder>"):
        import_data("cityscapes", None, data)


@pytest.mark.parametrize("source", ["pairs:", "folder:", "edges", "segment:digits", "horses"])
def test_unknown_source_names_the_kinds(data, source):
    with pytest.raises(ConfigError, match=r"is unknown; known: .*horse2zebra, .*pairs:<path>, .*edges:<base>"):
        import_data(source, None, data)


@pytest.mark.parametrize("base", ["pairs:x", "edges:digits", "scenes", "horse2zebra"])
def test_conditional_base_is_refused(data, base):
    with pytest.raises(ConfigError, match=rf"edges are made from plain images, and {base} has sources and targets"):
        import_data(f"edges:{base}", None, data)


def test_every_published_set_says_what_to_fetch_by_hand():
    published = ("horse2zebra", "edges2shoes", "maps", "facades", "cityscapes")
    assert all(SOURCES[name].advice.startswith("get ") for name in published)


def test_emoji_pairs_are_of_two_families(shared_data, data):
    card = import_data(f"pairs:{shared_data / 'noto_emoji_pairs' / 'pairs_AB.zip'}", None, data)
    assert card.counts == {"test": 219, "train": 1738}
    pairs = open_raw_pairs(data)
    differing = 0
    for number, (_, source, target) in enumerate(pairs.matched()):
        if number % 20 == 0:
            one, other = source.decode(), target.decode()
            assert one.shape == other.shape == (128, 128, 3)
            differing += bool((one != other).any())
    assert differing > 90
