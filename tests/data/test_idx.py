import gzip

import numpy as np
import pytest

from ganpress.data.raw.idx import IMAGES_MAGIC, LABELS_MAGIC, idx_chunks, read_header, read_labels, write_idx
from ganpress.errors import DataError

IMAGES = np.random.default_rng(0).integers(0, 256, (1500, 5, 4)).astype(np.uint8)


@pytest.fixture(params=["plain", "gzipped"])
def images_file(tmp_path, request):
    path = tmp_path / "x-images-idx3-ubyte"
    write_idx(path, IMAGES)
    if request.param == "plain":
        return path
    packed = path.with_suffix(".gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    return packed


def test_images_survive_in_order_and_in_chunks(images_file):
    chunks = list(idx_chunks(images_file, IMAGES_MAGIC))
    assert len(chunks) > 1
    np.testing.assert_array_equal(np.concatenate(chunks), IMAGES)


def test_header_gives_sizes_and_bytes(tmp_path):
    path = tmp_path / "x"
    write_idx(path, IMAGES)
    header = read_header(path, IMAGES_MAGIC)
    assert header.shape == IMAGES.shape
    assert header.file_bytes == path.stat().st_size


def test_labels_survive(tmp_path):
    path = tmp_path / "x-labels-idx1-ubyte"
    write_idx(path, np.arange(7, dtype=np.uint8))
    assert read_labels(path).tolist() == list(range(7))


def test_no_labels_at_all_is_a_valid_file(tmp_path):
    path = tmp_path / "x-labels-idx1-ubyte"
    write_idx(path, np.zeros(0, np.uint8))
    assert len(read_labels(path)) == 0


@pytest.mark.parametrize("kept", [16 + 20 * 1500 - 1, 16 + 20 * 1100, 16, 17])
def test_truncation_names_file_and_both_sizes(tmp_path, kept):
    path = tmp_path / "x-images-idx3-ubyte"
    write_idx(path, IMAGES)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match=rf"x-images-idx3-ubyte is truncated: expected 30016 bytes, found {kept}"):
        list(idx_chunks(path, IMAGES_MAGIC))


def test_truncated_header_is_named(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(IMAGES_MAGIC.to_bytes(4, "big") + b"\0\0")
    with pytest.raises(DataError, match="truncated: expected at least 16 bytes, found 6"):
        read_header(path, IMAGES_MAGIC)


def test_truncated_gzip_is_named(tmp_path):
    path = tmp_path / "x.gz"
    write_idx(tmp_path / "x", IMAGES)
    path.write_bytes(gzip.compress((tmp_path / "x").read_bytes())[:-5000])
    with pytest.raises(DataError, match=r"x\.gz is truncated: expected 30016 bytes, found \d+; download it again"):
        list(idx_chunks(path, IMAGES_MAGIC))


def test_no_gzip_behind_the_suffix(tmp_path):
    path = tmp_path / "x.gz"
    path.write_bytes(b"<html>404</html>")
    with pytest.raises(DataError, match="not a readable gzip file"):
        list(idx_chunks(path, IMAGES_MAGIC))


def test_wrong_magic_shows_what_was_found(tmp_path):
    path = tmp_path / "x"
    write_idx(path, IMAGES)
    with pytest.raises(DataError, match=r"not an idx file of labels: expected magic 2049, found 00 00 08 03"):
        read_header(path, LABELS_MAGIC)


def test_empty_file_is_named(tmp_path):
    path = tmp_path / "x"
    path.touch()
    with pytest.raises(DataError, match="expected magic 2051, found an empty file"):
        read_header(path, IMAGES_MAGIC)


def test_bytes_after_the_last_image_are_refused(tmp_path):
    path = tmp_path / "x"
    write_idx(path, IMAGES)
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(DataError, match="continues after the 30016 bytes"):
        list(idx_chunks(path, IMAGES_MAGIC))


def test_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match="nowhere is missing"):
        read_labels(tmp_path / "nowhere")
