"""Hostile safetensors files are refused in one line, whatever their header says."""

import json

import pytest
import torch

from ganpress.errors import CheckpointError
from ganpress.files.checkpoint import load_model, save_model
from ganpress.files.tensor_files import LARGEST_HEADER_BYTES, parts_by_type, read_tensor_file, tensor_bytes
from ganpress.imported.weight_keys import read_state
from models.builders import Blueprint

BLUEPRINT = Blueprint("wdcgan_generator", {"spec": "2", "size": 16, "channels": 1})
ONE = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def _file(path, header, rest=bytes(8)):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + rest)
    return path


def _refusal(path, read=read_tensor_file):
    with pytest.raises(CheckpointError) as caught:
        read(path)
    line = str(caught.value)
    assert line.isprintable()
    assert len(line) < 500
    return line


def test_an_honest_file_of_somebody_else_is_read(tmp_path):
    state, facts = read_tensor_file(_file(tmp_path / "w.safetensors", {"a": ONE}))
    assert state["a"].tolist() == [0, 0]
    assert facts is None
    assert read_state(tmp_path / "w.safetensors")["a"].shape == (2,)


def test_parts_by_type_are_the_file():
    state = {"b": torch.zeros(3, dtype=torch.int8), "a": torch.ones(2), "c": torch.ones(1), "e": torch.ones(0)}
    content = tensor_bytes(state, {})
    parts = parts_by_type(content)
    assert b"".join(part for one_type in parts for part in one_type) == content
    assert [sorted(map(len, one_type)) for one_type in parts[1:]] == [[0, 4, 8], [3]]
    assert parts_by_type(tensor_bytes({}, {})) == [[tensor_bytes({}, {})]]


@pytest.mark.parametrize(
    "header",
    [
        {"a": ONE | {"data_offsets": [0, 2**40]}},
        {"a": ONE | {"data_offsets": [8, 0]}},
        {"a": ONE | {"data_offsets": [-8, 0]}},
        {"a": ONE | {"data_offsets": [0, 4]}},
        {"a": ONE, "b": ONE},  # both the same bytes
        {"a": ONE, "b": ONE | {"data_offsets": [4, 12]}},
        {"b": ONE | {"data_offsets": [16, 24]}},
        {"a": ONE | {"shape": [2**62, 2**62]}},
        {"a": ONE | {"shape": [2**64]}},
        {"a": ONE | {"shape": [-2]}},
        {"a": ONE | {"shape": [1e300]}},
        {"a": ONE | {"shape": [float("inf")]}},
        {"a": ONE | {"shape": None}},
        {"a": ONE | {"shape": [2] + [1] * 10_000}},
        {"a": ONE | {"dtype": "F99"}},
        {"a": ONE | {"dtype": "F32\n\x1b[31m" * 100}},
        {"a": ONE | {"dtype": "F4", "shape": [16]}},
        {"a": {}},
        {"a": [1]},
        {"__metadata__": {"x": 1}, "a": ONE},
        {"__metadata__": [], "a": ONE},
        {"__metadata__": {"ganpress": "{"}, "a": ONE},
        {"__metadata__": {"ganpress": "[" * 10_000}, "a": ONE},
        [],
        3,
        b"",
        b"noise",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":' + b"9" * 5000 + b"}",
        b'{"a":%b,"a":%b}' % ((json.dumps(ONE).encode(),) * 2),  # one name twice
    ],
)
def test_wrong_headers(tmp_path, header):
    assert "is damaged or not a weights file: " in _refusal(_file(tmp_path / "w.safetensors", header))


@pytest.mark.parametrize("length", [LARGEST_HEADER_BYTES + 1, 2**63, 2**64 - 1, 9])
def test_a_header_that_is_said_to_be_longer_than_it_is(tmp_path, length):
    (tmp_path / "w.safetensors").write_bytes(length.to_bytes(8, "little") + b"{}")
    assert "its header is declared to have" in _refusal(tmp_path / "w.safetensors")


@pytest.mark.parametrize("keep", [0, 1, 7, 8, 100, -1])
def test_truncated_files(tmp_path, keep):
    save_model(tmp_path / "g.safetensors", BLUEPRINT.build(), BLUEPRINT)
    content = (tmp_path / "g.safetensors").read_bytes()
    (tmp_path / "g.safetensors").write_bytes(content[:keep])
    _refusal(tmp_path / "g.safetensors", load_model)
    (tmp_path / "g.safetensors").write_bytes(content + b"x")
    _refusal(tmp_path / "g.safetensors", load_model)


@pytest.mark.parametrize("field", ["version", "builder", "arguments", "format", "sha256"])
@pytest.mark.parametrize("value", [None, [], {}, 7, "x\n\x1b[2J", 1.5, True, {"a": {"b": 1}}])
def test_wrong_facts(tmp_path, field, value):
    facts = {"format": "ganpress-model", "version": 1, "builder": BLUEPRINT.builder, "arguments": BLUEPRINT.arguments}
    state = BLUEPRINT.build().state_dict()
    (tmp_path / "g.safetensors").write_bytes(tensor_bytes(state, facts))
    load_model(tmp_path / "g.safetensors")
    (tmp_path / "g.safetensors").write_bytes(tensor_bytes(state, facts | {field: value}))
    if (field, value) != ("sha256", None):
        _refusal(tmp_path / "g.safetensors", load_model)


@pytest.mark.parametrize("facts", ["x", 3, [], None, True])
def test_facts_that_are_no_names(tmp_path, facts):
    (tmp_path / "g.safetensors").write_bytes(tensor_bytes({"a": torch.zeros(1)}, facts))
    assert "is not a ganpress model file" in _refusal(tmp_path / "g.safetensors", load_model)
