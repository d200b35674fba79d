"""Packed files and frames with a valid digest and invalid content; memory is bounded by their size."""

import hashlib
import json
from dataclasses import asdict

import pytest
import torch
import zstandard

from ganpress.compression.packed.ganpack2 import MAGIC
from ganpress.compression.packed.packing import load_packed, save_packed
from ganpress.compression.pruning.magnitude_pruning import prune_
from ganpress.errors import CheckpointError
from ganpress.files.frames import FREE_CONTENT_BYTES, frame_of, largest_content, read_content
from ganpress.files.tensor_files import parts_by_type, tensor_bytes
from models.builders import Blueprint

BLUEPRINT = Blueprint("wdcgan_generator", {"spec": "2", "size": 16, "channels": 1})


def _compressed(content):
    return zstandard.ZstdCompressor(level=19).compress(content)


def _write(path, header, rest=b""):
    coded = header if isinstance(header, bytes) else _compressed(json.dumps(header).encode())
    whole = MAGIC + len(coded).to_bytes(4, "little") + coded + rest
    path.write_bytes(whole + hashlib.sha256(whole).digest())
    return path


def _described(blueprint, state):
    """Header and tensors, all of them entropy-coded."""
    coded = {name: _compressed(one.numpy().tobytes()) for name, one in state.items()}
    rows = [
        [name, list(one.shape), str(one.dtype).removeprefix("torch."), None, True, len(coded[name])]
        for name, one in state.items()
    ]
    return {"blueprint": blueprint, "tensors": rows}, b"".join(coded.values())


@pytest.fixture
def parts(tmp_path):
    """Header and tensors of a packed file of before safetensors; `g` is one of today."""
    model = BLUEPRINT.build().eval()
    save_packed(tmp_path / "g", model, BLUEPRINT)
    return _described(asdict(BLUEPRINT), model.state_dict())


def _refusal(path, read=load_packed):
    with pytest.raises(CheckpointError) as caught:
        read(path)
    assert str(caught.value).isprintable()
    return str(caught.value)


def test_honest_parts_are_read(tmp_path, parts):
    model, blueprint = load_packed(_write(tmp_path / "f", *parts))
    saved, _ = load_packed(tmp_path / "g")
    assert blueprint == BLUEPRINT
    assert all(torch.equal(one, saved.state_dict()[name]) for name, one in model.state_dict().items())


@pytest.mark.parametrize("field", range(6))
@pytest.mark.parametrize("value", [None, -1, 0, 2**40, 1e300, "x\n", True, [], [-1], [2**31], [99999] * 5, {}, "O"])
def test_wrong_entries(tmp_path, parts, field, value):
    header, rest = parts
    if header["tensors"][1][field] != value:
        header["tensors"][1][field] = value
        _refusal(_write(tmp_path / "f", header, rest))


@pytest.mark.parametrize("header", [{}, [], 3, {"blueprint": []}, {"tensors": []}, {"blueprint": {}, "tensors": [[]]}])
def test_wrong_headers(tmp_path, header):
    _refusal(_write(tmp_path / "f", header))


@pytest.mark.parametrize(
    "header", [b"", b"noise", _compressed(b"[" * 10**5), _compressed(b"9" * 10**5), _compressed(b"\xff")]
)
def test_headers_that_are_no_json(tmp_path, header):
    assert "cannot be decoded: " in _refusal(_write(tmp_path / "f", header))


@pytest.mark.parametrize(
    "change", [lambda rows: rows[1:], lambda rows: [*rows, rows[0]], lambda rows: [], lambda rows: rows * 50]
)
def test_other_numbers_of_tensors(tmp_path, parts, change):
    header, rest = parts
    _refusal(_write(tmp_path / "f", header | {"tensors": change(header["tensors"])}, rest))


def _zeros(spec):
    """A packed file of zeros, of a network of any size: some kilobytes."""
    blueprint = {"builder": "wdcgan_generator", "arguments": {"spec": spec, "size": 64, "channels": 1}}
    with torch.device("meta"):
        state = Blueprint(**blueprint).build().state_dict()
    return _described(blueprint, {name: torch.zeros(one.shape, dtype=one.dtype) for name, one in state.items()})


def test_a_small_file_takes_no_more_memory_than_its_size_allows(tmp_path):
    load_packed(_write(tmp_path / "small", *_zeros("32")))
    path = _write(tmp_path / "large", *_zeros("256"))
    assert path.stat().st_size < 10_000
    assert "it decodes to 189,330,468 bytes, 7" in _refusal(path)


def test_a_frame_inside_that_is_larger_than_its_tensor(tmp_path, parts):
    header, rest = parts
    row = header["tensors"][0]
    bomb = _compressed(bytes(10**8))
    header["tensors"][0] = [*row[:4], True, len(bomb)]
    assert "its header declares 100,000,000 bytes" in _refusal(_write(tmp_path / "f", header, bomb + rest[row[5] :]))


def _frames(path, state, facts):
    path.write_bytes(b"".join(frame_of(part) for parts in parts_by_type(tensor_bytes(state, facts)) for part in parts))
    return path


FACTS = {"format": "ganpress-packed", "version": 3, **asdict(BLUEPRINT), "codes": {}}


def test_tensors_of_today_in_frames_are_read(tmp_path):
    model = BLUEPRINT.build()
    loaded, blueprint = load_packed(_frames(tmp_path / "f", model.state_dict(), FACTS))
    assert blueprint == BLUEPRINT
    assert all(torch.equal(one, loaded.state_dict()[name]) for name, one in model.state_dict().items())


@pytest.mark.parametrize("field", ["format", "version", "builder", "arguments", "codes"])
@pytest.mark.parametrize("value", [None, -1, 2**70, 1e300, "x\n", True, [], {"a": 1}, {"a": []}, "O"])
def test_wrong_facts(tmp_path, field, value):
    _refusal(_frames(tmp_path / "f", BLUEPRINT.build().state_dict(), FACTS | {field: value}))


@pytest.mark.parametrize(
    "code",
    [
        *([], [4], [1, 6], [9, 6], [4, -1], [4, 2**31], [4, 2**16, 2**16, 2**16], [4, 7], [4] + [1] * 9, [2**70, 6]),
        *([4, 6.0], ["4", 6], [[4], 6], None, 4),
    ],
)
def test_wrong_codes(tmp_path, code):
    state = BLUEPRINT.build().state_dict() | {"x": torch.zeros(3, dtype=torch.uint8)}
    _refusal(_frames(tmp_path / "f", state, FACTS | {"codes": {"x": code}}))
    _refusal(_frames(tmp_path / "f", state, FACTS | {"codes": {"absent": [4, 6]}}))
    _refusal(_frames(tmp_path / "f", state, FACTS | {"codes": {"blocks.0.bias": [4, 6]}}))


def _stored(content, **options):
    return zstandard.ZstdCompressor(write_checksum=True, **options).compress(content)


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (_stored(bytes(10**8)), "its header declares 100,000,000 bytes"),
        (_stored(bytes(6 * 10**7)) * 3, "its header declares 60,000,000 bytes, but only 9,"),
        (_stored(b"x") * 10_001, "it has more than 10,000 frames"),
        (_stored(b"x")[:-1], "not a complete Zstandard frame"),
        (_stored(b"x" * 99)[:-4] + b"abcd", "its checksum does not match"),
        (_stored(b"x") + b"noise", "not a complete Zstandard frame"),
        (zstandard.ZstdCompressor().compress(b"x"), "it has no checksum"),
        (_stored(b"x", write_content_size=False), "does not declare its size"),
        (_stored(b"x" * 100), "its header is declared to have"),
        (_stored(b"\2" + bytes(7) + b"{}"), "it holds no generator in the format"),
    ],
)
def test_wrong_frames(tmp_path, stored, message):
    (tmp_path / "f").write_bytes(stored)
    assert message in _refusal(tmp_path / "f")


@pytest.mark.slow
def test_a_small_file_of_today_takes_no_more_memory_than_its_size_allows(tmp_path):
    blueprint = Blueprint("wdcgan_generator", {"spec": "256", "size": 64, "channels": 1})
    with torch.device("meta"):
        state = blueprint.build().state_dict()
    zeros = {name: torch.zeros(one.shape, dtype=one.dtype) for name, one in state.items()}
    path = _frames(tmp_path / "large", zeros, FACTS | asdict(blueprint))
    assert path.stat().st_size < 20_000
    assert "are allowed for a file of this size" in _refusal(path)


@pytest.mark.slow
def test_highly_pruned_generators_are_read(tmp_path, trained_like):
    model = trained_like("64", 64, 1)
    prune_(model, 0.999)
    blueprint = Blueprint("wdcgan_generator", {"spec": "64", "size": 64, "channels": 1})
    save_packed(tmp_path / "g", model, blueprint)
    loaded, _ = load_packed(tmp_path / "g")
    assert all(torch.equal(one, loaded.state_dict()[name]) for name, one in model.state_dict().items())


@pytest.mark.parametrize("megabytes", [65, 2_000])
def test_frames_of_nothing_but_zeros(tmp_path, megabytes):
    coder = zstandard.ZstdCompressor(write_checksum=True).compressobj(size=megabytes * 2**20)
    frame = b"".join(coder.compress(bytes(2**20)) for _ in range(megabytes)) + coder.flush()
    path = tmp_path / "generator.onnx.zst"
    path.write_bytes(frame)
    if megabytes * 2**20 <= largest_content(len(frame)):
        assert len(read_content(path)) == megabytes * 2**20
    else:
        assert "bytes, " in _refusal(path, read_content)
        assert len(frame) < 200_000


def test_frames_without_a_size_are_refused(tmp_path):
    coder = zstandard.ZstdCompressor(write_checksum=True).compressobj()
    (tmp_path / "g.onnx.zst").write_bytes(coder.compress(b"x" * 100) + coder.flush())
    assert "does not declare its size" in _refusal(tmp_path / "g.onnx.zst", read_content)


def test_frames_up_to_the_free_size_are_read(tmp_path):
    (tmp_path / "g.onnx.zst").write_bytes(frame_of(bytes(2**20)))
    assert len(read_content(tmp_path / "g.onnx.zst")) == 2**20
    assert largest_content(0) == FREE_CONTENT_BYTES
