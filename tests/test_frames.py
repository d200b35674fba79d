"""Frames: the same bytes after decoding, or a one-line error."""

import re

import pytest
import zstandard

from ganpress.errors import CheckpointError
from ganpress.files import frames
from ganpress.files.frames import frame_of, read_content

CONTENT = bytes(range(256)) * 8 + b"weights"


@pytest.fixture
def frame(tmp_path):
    path = tmp_path / "generator.onnx.zst"
    path.write_bytes(frame_of(CONTENT))
    return path


def test_content_comes_back(frame):
    assert read_content(frame) == CONTENT
    assert frame.stat().st_size < len(CONTENT)


def test_plain_files_are_read_as_they_are(tmp_path):
    path = tmp_path / "generator.onnx"
    path.write_bytes(frame_of(CONTENT))
    assert read_content(path) == path.read_bytes()


def test_a_frame_says_its_size_and_has_a_checksum_and_any_decoder_reads_it():
    header = zstandard.get_frame_parameters(frame_of(CONTENT))
    assert (header.content_size, header.has_checksum) == (len(CONTENT), True)
    assert zstandard.ZstdDecompressor().decompress(frame_of(CONTENT)) == CONTENT


def test_same_content_same_bytes_and_the_smallest_of_the_levels():
    assert frame_of(CONTENT) == frame_of(CONTENT)
    coders = [zstandard.ZstdCompressor(level=level, write_checksum=True) for level in frames.LEVELS]
    assert len(frame_of(CONTENT)) == min(len(coder.compress(CONTENT)) for coder in coders)


def flipped(content, place):
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda frame: b"", id="empty"),
        pytest.param(lambda frame: frame[:3], id="cut in the header"),
        pytest.param(lambda frame: frame[:-1], id="cut at the end"),
        pytest.param(lambda frame: frame + b"x", id="more behind it"),
        pytest.param(lambda frame: flipped(frame, len(frame) // 2), id="flipped"),
        pytest.param(lambda frame: flipped(frame, -1), id="other checksum"),
        pytest.param(lambda frame: CONTENT, id="no frame"),
        pytest.param(lambda frame: zstandard.ZstdCompressor().compress(CONTENT), id="no checksum"),
    ],
)
def test_damaged_frames_are_refused_in_one_line(frame, damage):
    frame.write_bytes(damage(frame.read_bytes()))
    with pytest.raises(CheckpointError) as refused:
        read_content(frame)
    assert re.fullmatch(r"\S+generator\.onnx\.zst is truncated or damaged: .+; export it again", str(refused.value))


def test_a_header_that_claims_more_than_a_file_may_hold_is_refused(frame, monkeypatch):
    monkeypatch.setattr(frames, "LARGEST_CONTENT_BYTES", len(CONTENT) - 1)
    with pytest.raises(CheckpointError, match=r"is truncated or damaged: its header declares 2,055 bytes"):
        read_content(frame)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"gone.onnx.zst does not exist; export the generator first"):
        read_content(tmp_path / "gone.onnx.zst")
