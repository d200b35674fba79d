import numpy as np
import pytest
from PIL import Image

from ganpress.data.gate.manifest import COLUMNS, build_manifest, pixel_facts
from ganpress.data.raw.raw_images import open_raw


def test_pixel_facts_agree_with_numpy():
    pixels = np.random.default_rng(0).integers(3, 250, (7, 9, 3), dtype=np.uint8)
    facts = pixel_facts(pixels)
    assert (facts.width, facts.height, facts.channels) == (9, 7, 3)
    assert facts.mean == pytest.approx(pixels.mean(), abs=1e-4)
    assert facts.std == pytest.approx(pixels.std(), abs=1e-4)
    assert (facts.min, facts.max) == (pixels.min(), pixels.max())


def test_digest_tells_shapes_of_equal_bytes_apart():
    pixels = np.zeros((4, 2, 1), np.uint8)
    assert pixel_facts(pixels).md5 != pixel_facts(pixels.reshape(2, 4, 1)).md5


def test_flat_image_has_no_deviation():
    facts = pixel_facts(np.full((5, 5, 1), 77, np.uint8))
    assert (facts.std, facts.min, facts.max) == (0, 77, 77)


def test_a_row_for_each_image_and_none_for_an_unreadable_one_is_invented(tmp_path, write_images):
    folder = write_images(tmp_path / "data", ["train/NA/1.png", "test/b/2.png"], size=(4, 6))
    (folder / "train/NA/broken.png").write_bytes(b"no image")
    manifest = build_manifest(open_raw(folder), tmp_path / "manifest.csv").set_index("path")
    assert list(manifest.reset_index().columns) == list(COLUMNS)
    assert manifest["decodes"].to_dict() == {
        "test/b/2.png": True,
        "train/NA/1.png": True,
        "train/NA/broken.png": False,
    }
    broken = manifest.loc["train/NA/broken.png"]
    assert broken[["width", "md5", "mean"]].isna().all()
    assert broken["bytes"] == 8
    assert manifest.loc["train/NA/1.png", ["width", "height", "split", "label"]].tolist() == [6, 4, "train", "NA"]


def test_equal_pictures_have_equal_digests_in_other_file_formats(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (8, 8), dtype=np.uint8)
    for name in ("a.png", "b.bmp"):
        Image.fromarray(pixels).save(tmp_path / name)
    manifest = build_manifest(open_raw(tmp_path), tmp_path / "manifest.csv")
    assert manifest["md5"].nunique() == 1
    assert manifest["bytes"].nunique() == 2


def test_manifest_of_equal_data_is_equal_bytes(digits, tmp_path):
    for name in ("1.csv", "2.csv"):
        build_manifest(open_raw(digits), tmp_path / name)
    assert (tmp_path / "1.csv").read_bytes() == (tmp_path / "2.csv").read_bytes()


def test_real_mnist_is_read_in_full(shared_data, tmp_path):
    manifest = build_manifest(open_raw(shared_data / "MNIST"), tmp_path / "manifest.csv")
    assert manifest["split"].value_counts().to_dict() == {"train": 60_000, "test": 10_000}
    assert manifest["decodes"].all()
    # Mean and deviation of MNIST's training pixels as commonly used for normalisation: 0.1307 and 0.3081.
    train = manifest[manifest["split"] == "train"]
    assert train["mean"].mean() / 255 == pytest.approx(0.1307, abs=2e-4)
    square = (train["std"] ** 2 + train["mean"] ** 2).mean()
    assert (square - train["mean"].mean() ** 2) ** 0.5 / 255 == pytest.approx(0.3081, abs=2e-4)
