"""Hostile pictures, archives, idx files and arrays: one line, in bounded memory and time."""

import bz2
import gzip
import io
import json
import lzma
import struct
import tarfile
import warnings
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from ganpress.data.prepared.arrays import load_array, open_split, read_meta
from ganpress.data.raw import limits
from ganpress.data.raw.dataset_card import read_card
from ganpress.data.raw.file_tree import open_tree, unpack_stream
from ganpress.data.raw.idx import IMAGES_MAGIC, LABELS_MAGIC, idx_chunks, read_labels
from ganpress.data.raw.image_files import decode, open_zip, read_member
from ganpress.data.raw.raw_images import open_raw
from ganpress.data.sources.pair_sources import write_pairs
from ganpress.data.sources.semantic_sources import decode_label_map
from ganpress.errors import DataError

FORBIDDEN = ("allow_pickle", "max_header_size", "MAX_IMAGE_PIXELS", "MAX_TEXT", "decompression bomb", "DOS", "<_io")


def refusal(read, *arguments):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DataError) as caught:
            read(*arguments)
    line = str(caught.value)
    assert line.isprintable()
    assert not any(one in line for one in FORBIDDEN)
    return line


def picture(kind="png", mode="RGB", size=(4, 3), **more):
    content = io.BytesIO()
    Image.new(mode, size).save(content, kind, **more)
    return content.getvalue()


def _chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png_of(width, height, *chunks):
    """A PNG of some bytes that claims a size."""
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    body = _chunk(b"IDAT", zlib.compress(bytes(2**16)))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + body + _chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(8193, 8193), (20_000, 20_000), (2**31 - 1, 1), (2**31 - 1, 2**31 - 1), (1, 2**30)])
def test_pictures_of_too_many_pixels(size):
    for read in (decode, decode_label_map):
        assert "pixels" in refusal(read, png_of(*size), "x.png") or size == (2**31 - 1, 1)


@pytest.mark.parametrize("kind", ["png", "jpeg", "gif", "tiff", "webp", "bmp", "ppm", "avif", "jpeg2000"])
def test_truncated_pictures(kind):
    content = picture(kind, size=(40, 30))
    for share in (0.0, 0.1, 0.5):
        line = refusal(decode, content[: int(share * len(content))], "x")
        assert "cannot be decoded: it is damaged, truncated, or none of AVIF, BMP, GIF" in line


def test_texts_inside_a_png_that_unpack_to_much():
    text = _chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(10**8)))
    assert "cannot be decoded" in refusal(decode, png_of(4, 4, text), "x.png")


@pytest.mark.parametrize(
    "start", [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"P7\n", b"\0\0\1\0", b"8BPS\0\1"]
)
def test_other_formats_are_not_even_tried(start):
    assert "none of AVIF, BMP" in refusal(decode, start + bytes(100), "x.png")


@pytest.mark.parametrize("kind", ["gif", "tiff", "webp"])
def test_of_a_thousand_frames_the_first_is_taken(kind):
    frames = [Image.new("RGB", (4, 3), (n % 256, 0, 0)) for n in range(1_000)]
    content = io.BytesIO()
    Image.new("RGB", (4, 3), (9, 0, 0)).save(content, kind, save_all=True, append_images=frames)
    assert decode(content.getvalue(), "x").shape == (3, 4, 3)


@pytest.mark.parametrize(
    ("kind", "mode"), [("png", "P"), ("jpeg", "CMYK"), ("png", "I;16"), ("png", "1"), ("tga", "RGBA")]
)
def test_unusual_modes_and_single_pixels_are_read(kind, mode):
    for size in ((1, 1), (4, 3)):
        assert decode(picture(kind, mode, size), f"x.{kind}").shape[:2] == size[::-1]


def _zip(path, members, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("name", ["../x.png", "a/../../x.png", "/etc/x.png", "..\\x.png", "\\x.png"])
def test_paths_that_leave_an_archive(tmp_path, name):
    assert "a path outside the archive" in refusal(open_zip, _zip(tmp_path / "a.zip", [(name, b"x")]))
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo(name))
    assert "a path outside the archive" in refusal(_opened, tmp_path / "a.tar")


def _opened(path):
    with open_tree(path, path.parent) as tree:
        return [tree.read(name) for name in tree.names]


def test_entries_and_archives_that_are_too_large(tmp_path, monkeypatch):
    path = _zip(tmp_path / "a.zip", [("a.png", bytes(10**7)), ("b.png", bytes(10**7))])
    monkeypatch.setattr("ganpress.data.raw.image_files.LARGEST_ENTRY_BYTES", 10**6)
    assert "a.png has 10,000,000 bytes, but only 1,000,000 are allowed for one file" in refusal(open_zip, path)
    monkeypatch.setattr(limits, "FREE_ARCHIVE_BYTES", 10**6)
    assert "unpacks to 20,000,000 bytes" in refusal(open_zip, path)
    monkeypatch.setattr("ganpress.data.raw.image_files.MOST_ENTRIES", 1)
    assert "has 2 files, but only 1 are allowed" in refusal(open_zip, path)


def test_entries_that_overlap(tmp_path):
    """One stored block that many entries name: its size counts each time."""
    path = _zip(tmp_path / "a.zip", [("a.png", bytes(2**20))])
    content = bytearray(path.read_bytes())
    place = content.index(b"PK\1\2")
    entry, end = bytes(content[place : content.index(b"PK\5\6")]), bytes(content[content.index(b"PK\5\6") :])
    count = 1_400
    end = end[:8] + struct.pack("<HHI", count, count, count * len(entry)) + end[16:]
    path.write_bytes(bytes(content[:place]) + entry * count + end)
    assert "unpacks to" in refusal(open_zip, path)


@pytest.mark.parametrize("compression", [zipfile.ZIP_LZMA])
def test_unusual_compressions(tmp_path, compression):
    with open_zip(_zip(tmp_path / "a.zip", [("a.png", b"x" * 100)], compression)) as archive:
        assert "its compression method is not supported" in refusal(read_member, archive, "a.png")


def test_encrypted_entries(tmp_path):
    content = bytearray(_zip(tmp_path / "a.zip", [("a.png", b"x")]).read_bytes())
    content[6] |= 1
    content[content.index(b"PK\1\2") + 8] |= 1
    (tmp_path / "a.zip").write_bytes(content)
    with open_zip(tmp_path / "a.zip") as archive:
        assert "it is damaged or encrypted" in refusal(read_member, archive, "a.png")


@pytest.mark.parametrize("packer", [gzip.compress, bz2.compress, lzma.compress])
def test_streams_that_unpack_to_too_much(tmp_path, monkeypatch, packer):
    monkeypatch.setattr(limits, "FREE_ARCHIVE_BYTES", 10**6)
    monkeypatch.setattr(limits, "MOST_ARCHIVE_EXPANSION", 2)
    (tmp_path / "a.tar.x").write_bytes(packer(bytes(10**7)))
    assert "unpacks to more than the 1," in refusal(_opened, tmp_path / "a.tar.x")
    assert (tmp_path / "archive.tar").exists() is False


@pytest.mark.parametrize("packer", [gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("size", [0, 10, 3 * 2**20])
def test_honest_streams_come_back(tmp_path, packer, size):
    content = np.random.default_rng(0).integers(0, 256, size, np.uint8).tobytes()
    (tmp_path / "a").write_bytes(packer(content[: size // 2]) + packer(content[size // 2 :]))
    unpack_stream(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == content
    (tmp_path / "a").write_bytes(packer(content)[:-3])
    assert "is truncated, damaged, or not" in refusal(unpack_stream, tmp_path / "a", tmp_path / "b")


def test_dictionaries_larger_than_allowed(tmp_path):
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 2**30}]
    (tmp_path / "a").write_bytes(lzma.compress(b"x" * 100, filters=filters))
    assert "is truncated, damaged, or not" in refusal(unpack_stream, tmp_path / "a", tmp_path / "b")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_left_out(tmp_path, kind):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        entry = tarfile.TarInfo("source/1.png")
        entry.type, entry.linkname = kind, "/etc/passwd"
        archive.addfile(entry)
    assert _opened(tmp_path / "a.tar") == []
    (tmp_path / "out").mkdir()
    assert "holds no images" in refusal(write_pairs, tmp_path / "a.tar", tmp_path / "out", tmp_path)


@pytest.mark.parametrize("size", [2**40, -1, -512])
def test_entries_of_a_tar_that_claim_a_size(tmp_path, size):
    entry = tarfile.TarInfo("a.png")
    header = bytearray(entry.tobuf())
    header[124:136] = (size % 2**96).to_bytes(12, "big")
    header[124] = 0x80 if size >= 0 else 0xFF
    total = sum(header[:148]) + 8 * 32 + sum(header[156:512])
    header[148:156] = f"{total:06o}\0 ".encode()
    (tmp_path / "a.tar").write_bytes(bytes(header) + bytes(2048))
    refusal(_opened, tmp_path / "a.tar")


def _idx(path, magic, sizes, content=b""):
    path.write_bytes(struct.pack(f">{len(sizes) + 1}I", magic, *sizes) + content)
    return path


@pytest.mark.parametrize(
    "sizes", [(1, 2**32 - 1, 2**32 - 1), (2**32 - 1, 0, 5), (2**32 - 1, 1, 1), (1, 2**14, 2**14), (2**20, 8192, 8192)]
)
def test_idx_headers_that_lie(tmp_path, sizes):
    path = _idx(tmp_path / "train-images-idx3-ubyte", IMAGES_MAGIC, sizes, bytes(100))
    refusal(lambda: [chunk.shape for chunk in idx_chunks(path, IMAGES_MAGIC)])
    refusal(lambda: [image.decode() for image in open_raw(tmp_path)])


def test_idx_labels_that_lie(tmp_path):
    refusal(read_labels, _idx(tmp_path / "l", LABELS_MAGIC, (2**32 - 1,)))
    (tmp_path / "l.gz").write_bytes(gzip.compress(struct.pack(">II", LABELS_MAGIC, 2**32 - 1) + bytes(10**6)))
    refusal(read_labels, tmp_path / "l.gz")


def _npy(header, body=b""):
    text = header.encode().ljust(118) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + body


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x04N.",
        b"noise",
        b"PK\3\4" + bytes(50),
        _npy("{'descr': '<i8', 'fortran_order': False, 'shape': (1000000000000,)}", bytes(80)),
        _npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", b"\x80\x04N."),
        _npy("{'descr': '<i8', 'fortran_order': False, 'shape': (-1,)}"),
        _npy("{'descr': '<i8', 'shape': ()}"),
        _npy("{" * 100),
        _npy("[" * 100),
        _npy("{'descr': [('a', '<i8')], 'fortran_order': False, 'shape': (0,)}"),
        b"\x93NUMPY\x02\x00" + struct.pack("<I", 10**6) + b"{'descr': '<i8'," + b" " * 10**6,
    ],
)
def test_arrays_that_are_none(tmp_path, content):
    (tmp_path / "train.npy").write_bytes(content)
    for memory_mapped in (True, False):
        line = refusal(load_array, tmp_path / "train.npy", memory_mapped)
        assert "delete artifacts/prepare and run `dvc repro prepare`" in line


@pytest.mark.parametrize("labels", [np.zeros(2), np.zeros((2, 1), np.int64), np.zeros(3, np.int64), np.zeros(2, "U3")])
def test_labels_of_another_kind(tmp_path, labels):
    np.save(tmp_path / "train.npy", np.zeros((2, 1, 4, 4), np.uint8))
    np.save(tmp_path / "train_labels.npy", labels)
    refusal(open_split, tmp_path, "train")


META = {"source": "x", "size": 4, "channels": 1, "classes": [], "counts": {"train": 2}, "resize": "box"}
CARD = {"source": "x", "layout": "idx", "counts": {"train": 2}}


@pytest.mark.parametrize("value", [None, -1.5, "x", [1], {"a": "b"}, True, [[]], {"train": "2"}, {"a": {"b": {}}}])
@pytest.mark.parametrize(
    ("content", "name", "read"), [(META, "meta.json", read_meta), (CARD, "dataset.json", read_card)]
)
def test_facts_of_another_type(tmp_path, content, name, read, value):
    for field in content:
        if isinstance(value, str) and isinstance(content[field], str) and field != "layout":
            continue
        (tmp_path / name).write_text(json.dumps(content | {field: value}))
        assert f"{name} is damaged (" in refusal(read, tmp_path)
        (tmp_path / name).write_text(json.dumps({one: other for one, other in content.items() if one != field}))
        assert f"lacks the field '{field}'" in refusal(read, tmp_path)


@pytest.mark.parametrize(
    "text", ["", "{", "[" * 10**5, "9" * 5000, '{"a": NaN}', "null", "[]", '"x"', '{"counts": 1e999}']
)
@pytest.mark.parametrize(("name", "read"), [("meta.json", read_meta), ("dataset.json", read_card)])
def test_facts_that_are_no_json(tmp_path, name, read, text):
    (tmp_path / name).write_text(text)
    assert f"{name} is damaged (" in refusal(read, tmp_path)
    (tmp_path / name).write_bytes(b"\xff\xfe")
    assert "it is not UTF-8" in refusal(read, tmp_path)
