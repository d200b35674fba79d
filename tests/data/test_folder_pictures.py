"""Real-world folders of pictures: each kind is read correctly, or refused with advice."""

import csv
import io
import json
import tarfile
import zipfile

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from ganpress.config.data_section import PrepareConfig
from ganpress.data.prepared.image_preparation import prepare_images
from ganpress.data.raw.raw_images import open_raw
from ganpress.data.sources.acquisition import import_data
from ganpress.data.sources.plain_pictures import PictureStyle
from ganpress.errors import DataError


@pytest.fixture
def random():
    return np.random.default_rng(0)


def png(pixels):
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "png")
    return content.getvalue()


def grey(random, size=(8, 8)):
    return random.integers(0, 256, size, dtype=np.uint8)


def fill(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def taken(place, tmp_path, style=None):
    """Import `folder:<place>`; return the card and the raw images."""
    card = import_data(f"folder:{place}", None, tmp_path / "data", style or PictureStyle())
    return card, open_raw(tmp_path / "data")


def seen(raw):
    return {(image.split, raw.classes[image.label] if image.label >= 0 else None) for image in raw}


@pytest.mark.parametrize(
    ("top", "splits"),
    [
        ("", {"Train": "train", "Test": "test"}),
        ("", {"training": "train", "TESTING": "test"}),
        ("wrapping/", {"train": "train", "val": "train"}),
        ("a/b/", {"Train": "train", "valid": "train", "test": "test"}),
    ],
)
def test_splits_are_known_in_any_spelling_and_below_wrapping_folders(top, splits, random, tmp_path):
    files = {f"{top}{split}/{kind}/{n}.png": png(grey(random)) for split in splits for kind in "ab" for n in range(2)}
    _, raw = taken(fill(tmp_path / "pics", files), tmp_path)
    assert seen(raw) == {(split, kind) for split in splits.values() for kind in "ab"}


def test_classes_below_a_wrapping_folder(random, tmp_path):
    files = {f"flowers/{kind}/{n}.png": png(grey(random)) for kind in ("rose", "tulip") for n in range(2)}
    _, raw = taken(fill(tmp_path / "pics", files), tmp_path)
    assert raw.classes == ("rose", "tulip")


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "tar"])
def test_an_archive_does_as_well_as_a_folder(kind, random, tmp_path):
    files = {f"set/{name}/{n}.png": png(grey(random)) for name in "ab" for n in range(2)}
    archive = tmp_path / f"pics.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as packed:
            for name, content in files.items():
                packed.writestr(name, content)
    else:
        with tarfile.open(archive, "w:gz" if kind == "tar.gz" else "w") as packed:
            packed.add(fill(tmp_path / "pics", files), "pics")
    card, raw = taken(archive, tmp_path)
    assert seen(raw) == {("unsplit", "a"), ("unsplit", "b")}
    assert card.counts == {"unsplit": 4}


@pytest.mark.parametrize("suffix", ["jfif", "avif", "jp2", "tga", "jpe", "pbm"])
def test_further_formats_are_read(suffix, random, tmp_path):
    (tmp_path / "pics").mkdir()
    kinds = {"jfif": "jpeg", "jpe": "jpeg", "jp2": "jpeg2000", "pbm": "ppm"}
    Image.fromarray(grey(random, (16, 16))).save(tmp_path / f"pics/x.{suffix}", kinds.get(suffix, suffix))
    _, raw = taken(tmp_path / "pics", tmp_path)
    assert [image.decode().shape[:2] for image in raw] == [(16, 16)]


def test_what_is_left_out_is_counted_and_named(random, tmp_path):
    files = {"a.png": png(grey(random)), "b.heic": b"x", "c.heic": b"y", "d.jxl": b"z", "notes.txt": b"n"}
    card, _ = taken(fill(tmp_path / "pics", files), tmp_path)
    assert "4 files were left out" in card.notes[0]
    assert all(part in card.notes[0] for part in ("2 .heic", "1 .jxl", "1 .txt"))


@pytest.mark.parametrize(
    ("name", "said"),
    [("x.heic", "magick mogrify"), ("x.h5", "np.savez"), ("data.mdb", "lmdb"), ("x.mp4", "ffmpeg -i x.mp4")],
)
def test_a_folder_without_pictures_names_the_command_that_converts(name, said, tmp_path):
    with pytest.raises(DataError, match=said):
        taken(fill(tmp_path / "pics", {name: b"x"}), tmp_path)
    assert not (tmp_path / "data").exists()


def test_the_labels_of_hugging_faces_metadata(random, tmp_path):
    files = {f"{split}/{n}.png": png(grey(random)) for split in ("train", "test") for n in range(3)}
    for split in ("train", "test"):
        table = io.StringIO()
        rows = csv.writer(table)
        rows.writerow(["file_name", "label"])
        rows.writerows((f"{n}.png", "cat" if n else "dog") for n in range(3))
        files[f"{split}/metadata.csv"] = table.getvalue().encode()
    card, raw = taken(fill(tmp_path / "pics", files), tmp_path)
    assert seen(raw) == {(split, kind) for split in ("train", "test") for kind in ("cat", "dog")}
    assert any("2 classes to 3 pictures" in note for note in card.notes)


def test_the_labels_of_stylegans_dataset_json(random, tmp_path):
    files = {f"0000{n // 2}/{n}.png": png(grey(random)) for n in range(4)}
    labels = [[name, n % 2] for n, name in enumerate(files)]
    files["dataset.json"] = json.dumps({"labels": labels}).encode()
    _, raw = taken(fill(tmp_path / "pics", files), tmp_path)
    assert raw.classes == ("0", "1")


@pytest.mark.parametrize(
    ("table", "classes", "said"),
    [
        (b"file_name;label\n0.png;a\n1.png;b\n", ("a", "b"), "give 2 classes to 2 pictures"),
        (b"file_name\tclass\n0.png\ta\n1.png\tb\n", ("a", "b"), "give 2 classes to 2 pictures"),
        (b"file_name,text\n0.png,a\n1.png,b\n", (), "no column of labels (label, class"),
        (b"id,breed\n0,a\n1,b\n", (), "no column of file names (file_name"),
        (b"file_name,label\nx.png,a\n", (), "match no picture"),
    ],
)
def test_how_tables_are_parted_and_what_one_lacks(table, classes, said, random, tmp_path):
    files = {"0.png": png(grey(random)), "1.png": png(grey(random)), "metadata.csv": table}
    card, raw = taken(fill(tmp_path / "pics", files), tmp_path)
    assert raw.classes == classes
    assert said in card.notes[0]


def test_folders_that_fit_together_in_no_way_are_refused_by_the_name_of_the_folder(random, tmp_path):
    files = {"train/0.png": png(grey(random)), "cat/1.png": png(grey(random))}
    with pytest.raises(DataError, match=r"pics: 1 of 2 images are outside the split folders .*, first cat/1\.png"):
        taken(fill(tmp_path / "pics", files), tmp_path)


def test_an_array_of_floats_is_scaled_as_told(random, tmp_path):
    (tmp_path / "pics").mkdir()
    values = random.random((3, 4, 4))
    np.save(tmp_path / "pics/x.npy", values)
    _, raw = taken(tmp_path / "pics", tmp_path, PictureStyle(values=(0.0, 1.0)))
    np.testing.assert_array_equal([image.decode()[:, :, 0] for image in raw], np.rint(values * 255))


def test_a_table_that_labels_a_part_is_refused(random, tmp_path):
    files = {
        "0.png": png(grey(random)),
        "1.png": png(grey(random)),
        "metadata.jsonl": b'{"file_name":"0.png","label":3}',
    }
    with pytest.raises(DataError, match=r"label 1 of 2 pictures, and not 1\.png; label all of them or none"):
        taken(fill(tmp_path / "pics", files), tmp_path)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"{", b"[1]", b'{"labels": [[1]]}', b"\x00" * 9])
def test_a_damaged_table_is_refused_by_name(content, random, tmp_path):
    files = {"0.png": png(grey(random)), "dataset.json": content}
    with pytest.raises(DataError, match=r"dataset\.json cannot be read"):
        taken(fill(tmp_path / "pics", files), tmp_path)


@pytest.mark.parametrize(
    ("pixels", "suffix", "advice"),
    [
        (np.linspace(0, 2871, 64).reshape(8, 8).astype(np.uint16), "png", "0 to 2871 .* `--values 0:4095`"),
        (np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8), "tif", "0 to 1 .* `--values 0:1`"),
        (np.linspace(0, 60_000, 64).reshape(8, 8).astype(np.int32), "tif", "0 to 60000 .* `--values 0:65535`"),
    ],
)
def test_pictures_of_more_than_eight_bits_are_scaled_as_told_or_refused_with_their_range(
    pixels, suffix, advice, tmp_path
):
    (tmp_path / "pics").mkdir()
    Image.fromarray(pixels).save(tmp_path / f"pics/x.{suffix}")
    with pytest.raises(DataError, match=advice):
        taken(tmp_path / "pics", tmp_path)
    high = float(pixels.max())
    card, raw = taken(tmp_path / "pics", tmp_path, PictureStyle(values=(0.0, high)))
    (decoded,) = [image.decode()[:, :, 0] for image in raw]
    expected = np.rint(pixels.astype(np.float64) / high * 255)
    np.testing.assert_array_equal(decoded, expected)
    assert "more than eight bits" in card.notes[0]


def test_true_sixteen_bits_need_no_setting(tmp_path):
    (tmp_path / "pics").mkdir()
    for name, high in (("bright", 65_535), ("dark", 900)):
        Image.fromarray(np.full((4, 4), high, np.uint16)).save(tmp_path / f"pics/{name}.png")
    card, raw = taken(tmp_path / "pics", tmp_path)
    assert [int(image.decode().max()) for image in raw] == [255, 4]  # rint(900 / 65,535 * 255)
    assert "65535 is white" in card.notes[0]


@pytest.mark.parametrize(("background", "level"), [("white", 255), ("black", 0)])
def test_what_lies_behind_transparency_is_said_and_can_be_set(background, level, tmp_path):
    (tmp_path / "pics").mkdir()
    Image.new("RGBA", (4, 4), (200, 0, 0, 0)).save(tmp_path / "pics/clear.png")
    card, raw = taken(tmp_path / "pics", tmp_path, PictureStyle(background=background))
    assert [image.decode().tolist()[0][0] for image in raw] == [[level] * 3]
    assert card.notes == [f"1 transparent picture was composited over {background} (data.background)"]


def test_equal_content_stays_on_one_side_of_a_drawn_split(random, tmp_path):
    different = [png(grey(random)) for _ in range(30)]
    files = {f"{n:03}.png": different[n % 30] for n in range(90)}
    _, raw = taken(fill(tmp_path / "pics", files), tmp_path)
    config = PrepareConfig(image_size=16, channels=1, validation_fraction=0.2)
    prepare_images(raw, config, 1, tmp_path)
    content = {s: {i.tobytes() for i in np.load(tmp_path / f"{s}.npy")} for s in ("train", "validation", "test")}
    assert sum(map(len, content.values())) == 30
    assert all(content.values())


def test_arrays_with_splits_and_labels(random, tmp_path):
    (tmp_path / "pics").mkdir()
    arrays = {f"{split}_images": random.integers(0, 256, (6, 9, 9), dtype=np.uint8) for split in ("train", "test")}
    arrays |= {f"{split}_labels": np.arange(6)[:, None] % 2 for split in ("train", "test")}
    np.savez(tmp_path / "pics/medical.npz", **arrays)
    card, raw = taken(tmp_path / "pics", tmp_path)
    assert seen(raw) == {(split, kind) for split in ("train", "test") for kind in "01"}
    assert sorted(i.decode().tobytes() for i in raw if i.split == "test") == sorted(
        one.tobytes() for one in arrays["test_images"]
    )
    assert "12 pictures were read from 1 file (.npz)" in card.notes


@pytest.mark.parametrize("shape", [(5, 9, 9, 3), (5, 3, 9, 9)])
def test_an_array_of_colour_in_both_orders(shape, random, tmp_path):
    (tmp_path / "pics").mkdir()
    np.save(tmp_path / "pics/x.npy", random.integers(0, 256, shape, dtype=np.uint8))
    _, raw = taken(tmp_path / "pics", tmp_path)
    assert {image.decode().shape for image in raw} == {(9, 9, 3)}


@pytest.mark.parametrize(
    ("array", "said"),
    [(np.zeros((2, 4, 4), np.float32), "float32 from 0 to 0"), (np.zeros((2, 4, 4, 7), np.uint8), "is of shape")],
)
def test_an_array_that_is_no_picture_is_refused(array, said, tmp_path):
    (tmp_path / "pics").mkdir()
    np.save(tmp_path / "pics/x.npy", array)
    with pytest.raises(DataError, match=said):
        taken(tmp_path / "pics", tmp_path)


def test_pickled_arrays_are_not_opened(tmp_path):
    (tmp_path / "pics").mkdir()
    np.save(tmp_path / "pics/x.npy", np.array([print], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"x\.npy cannot be read"):
        taken(tmp_path / "pics", tmp_path)


def test_parquet_as_hugging_face_writes_it(random, tmp_path):
    (tmp_path / "pics").mkdir()
    rows = [{"image": {"bytes": png(grey(random)), "path": f"{n}.png"}, "label": n % 2} for n in range(4)]
    features = {"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}
    table = pa.Table.from_pylist(rows).replace_schema_metadata({"huggingface": json.dumps(features)})
    parquet.write_table(table, tmp_path / "pics/test-00000-of-00001.parquet")
    _, raw = taken(tmp_path / "pics", tmp_path)
    assert seen(raw) == {("test", "cat"), ("test", "dog")}


def test_tar_shards_with_classes(random, tmp_path):
    (tmp_path / "pics").mkdir()
    for shard in range(2):
        with tarfile.open(tmp_path / f"pics/train-{shard}.tar", "w") as packed:
            for n in range(2):
                for suffix, content in (("png", png(grey(random))), ("cls", str(n).encode())):
                    entry = tarfile.TarInfo(f"{n:04}.{suffix}")
                    entry.size = len(content)
                    packed.addfile(entry, io.BytesIO(content))
    card, raw = taken(tmp_path / "pics", tmp_path)
    assert card.counts == {"train": 4}
    assert seen(raw) == {("train", "0"), ("train", "1")}


@pytest.mark.parametrize("name", ["x.npz", "x.parquet", "x.tar"])
def test_damaged_records_are_refused_by_name(name, tmp_path):
    with pytest.raises(DataError, match="x"):
        taken(fill(tmp_path / "pics", {name: b"PAR1 no such thing"}), tmp_path)
    assert not (tmp_path / "data").exists()
