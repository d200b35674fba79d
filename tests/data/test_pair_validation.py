import shutil

import numpy as np
import pytest
from PIL import Image

from ganpress.config.data_section import ValidateConfig
from ganpress.data.gate.pair_validation import validate_data
from ganpress.data.raw.dataset_card import DatasetCard
from ganpress.data.raw.raw_pairs import integer_scale, pair_id
from ganpress.errors import QualityGateFailed

CONFIG = ValidateConfig(
    min_images=5,
    min_size=8,
    channels=(1,),
    max_duplicate_fraction=0,
    max_leaked_fraction=0,
    max_flat_fraction=0,
    min_class_share=0.5,
)
NAMES = [f"{split}/{number}.png" for split in ("train", "test") for number in range(5)]


@pytest.fixture
def make(tmp_path, write_images):
    """Write ten good pairs of one kind of pairing; returns the folder."""

    def write(pairing, labels=()):
        folder = tmp_path / "data"
        write_images(folder / "source", NAMES, seed=1)
        write_images(folder / "target", NAMES, seed=2)
        if pairing == "semantic":
            for number, name in enumerate(NAMES):
                ids = np.full((8, 8), number % len(labels), np.uint8)
                ids[0] = 255
                Image.fromarray(ids).save(folder / "source" / name)
        DatasetCard("made", "folder", {"train": 5, "test": 5}, [], "", pairing, list(labels)).save(folder)
        return folder

    return write


@pytest.fixture
def judge(tmp_path):
    def run(folder, config=CONFIG):
        (tmp_path / "out").mkdir(exist_ok=True)
        return validate_data(folder, config, tmp_path / "out")

    return run


def failed(result):
    return {check.name: list(check.offenders) for check in result.checks if not check.success}


@pytest.mark.parametrize(("pairing", "labels"), [("paired", ()), ("unpaired", ()), ("semantic", ("sky", "road"))])
def test_good_pairs_pass_every_check(make, judge, tmp_path, pairing, labels):
    result = judge(make(pairing, labels))
    assert failed(result) == {}
    assert result.counts == {"source_test": 5, "source_train": 5, "test": 5, "train": 5}
    names = {check.name for check in result.checks}
    assert ("pair_ids" in names) == ("pair_sizes" in names) == (pairing != "unpaired")
    assert ("source_leakage" in names) == (pairing == "unpaired")
    assert ("label_ids" in names) == (pairing == "semantic")
    header = (tmp_path / "out" / "manifest.csv").read_text().splitlines()
    assert header[0].endswith(",decodes,highest_id")
    assert header[1].startswith("source/test/0.png,test,")


def test_source_without_target_and_target_without_source_are_named(make, judge):
    folder = make("paired")
    (folder / "target/train/1.png").unlink()
    (folder / "source/test/2.png").unlink()
    assert failed(judge(folder)) == {"pair_ids": ["test/2 (no source)", "train/1 (no target)"]}


def test_two_files_of_one_name_are_named(make, judge, write_images):
    folder = make("paired")
    write_images(folder / "source", ["train/1.bmp"], seed=5)
    assert failed(judge(folder)) == {"pair_ids": ["train/1 (2 source)"]}


def test_pairs_whose_sizes_do_not_fit_are_named(make, judge, write_images):
    folder = make("paired")
    write_images(folder / "source", ["train/1.png"], size=(8, 12), seed=5)
    write_images(folder / "source", ["train/2.png"], size=(24, 24), seed=5)
    assert failed(judge(folder)) == {"pair_sizes": ["train/1 (source 8x12, target 8x8)"]}


def test_label_id_beyond_the_classes_is_named_with_its_picture(make, judge, tmp_path):
    folder = make("semantic", ("sky", "road"))
    Image.fromarray(np.full((8, 8), 2, np.uint8)).save(folder / "source/test/3.png")
    result = judge(folder)
    assert failed(result) == {"label_ids": ["source/test/3.png"]}
    assert "label ids 0 to 1, or 255: ignored" in next(one.limit for one in result.checks if one.name == "label_ids")
    page = (tmp_path / "out" / "summary.html").read_text()
    assert page.count("data:image/png;base64,") == 1
    with pytest.raises(QualityGateFailed, match=r"data of made failed 1 of \d+ checks: label_ids .*source/test/3\.png"):
        result.require_success(tmp_path)


def test_wrong_channels_are_named_on_their_side(make, judge):
    folder = make("paired")
    colour = np.random.default_rng(3).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(colour).save(folder / "source/train/0.png")
    assert failed(judge(folder)) == {"source_channels": ["source/train/0.png"]}
    assert failed(judge(folder, CONFIG.model_copy(update={"source_channels": (1, 3)}))) == {}
    assert failed(judge(folder, CONFIG.model_copy(update={"channels": (1, 3)}))) == {}


def test_unreadable_source_is_named_and_not_called_misfit(make, judge):
    folder = make("paired")
    (folder / "source/train/0.png").write_bytes(b"no image")
    assert failed(judge(folder)) == {"source_decodes": ["source/train/0.png"]}


def test_equal_edge_maps_are_allowed_and_equal_targets_are_not(make, judge):
    folder = make("paired")
    for side in ("source", "target"):
        shutil.copy(folder / side / "train/0.png", folder / side / "train/1.png")
    assert failed(judge(folder)) == {"duplicates": ["target/train/0.png", "target/train/1.png"]}


def test_leakage_within_a_domain_is_named(make, judge):
    folder = make("unpaired")
    shutil.copy(folder / "source/train/0.png", folder / "source/test/0.png")
    found = failed(judge(folder, CONFIG.model_copy(update={"max_duplicate_fraction": 1.0})))
    assert found == {"source_leakage": ["source/test/0.png"]}


def test_too_few_images_of_one_domain_give_their_number(make, judge, tmp_path):
    folder = make("unpaired")
    for name in NAMES[:7]:
        (folder / "source" / name).unlink()
    with pytest.raises(QualityGateFailed, match=r"source_image_count \(allowed: at least 5 images; found 3 images\)"):
        judge(folder).require_success(tmp_path)


def test_unconditional_data_is_judged_as_ever(digits, judge):
    assert failed(judge(digits, CONFIG.model_copy(update={"max_duplicate_fraction": 0.01}))) == {}


@pytest.mark.parametrize(
    ("one", "other", "factor"),
    [
        ((8, 8), (8, 8), 1),
        ((8, 12), (32, 48), 4),
        ((32, 48), (8, 12), 4),
        ((8, 8), (8, 9), None),
        ((8, 8), (12, 12), None),
    ],
)
def test_scale_is_a_whole_number_both_ways(one, other, factor):
    assert integer_scale(one, other) == factor


@pytest.mark.parametrize(
    ("path", "expected"),
    [("train/a.b.png", "train/a.b"), ("x-idx3-ubyte#00001", "x-idx3-ubyte#00001"), ("a.v2", "a.v2")],
)
def test_pair_id_is_the_path_without_the_image_format(path, expected):
    assert pair_id(path) == expected
