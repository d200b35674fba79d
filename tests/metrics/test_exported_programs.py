"""A `.pt2` file of a judge runs nothing while it is opened."""

import io
import json
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

from ganpress.errors import CheckpointError
from ganpress.metrics.judges.exported_programs import EXPRESSION, check_exported


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "network.pt2"
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)).eval()
    sizes = ({0: torch.export.Dim("batch")},)
    torch.export.save(torch.export.export(network, (torch.zeros(2, 3, 8, 8),), dynamic_shapes=sizes), path)
    return path


class _Touch:
    def __reduce__(self):
        return Path.touch, (Path("RAN"),)


def _changed(saved, place, change):
    """The archive with one entry changed; `change` takes parsed JSON or bytes."""
    made = io.BytesIO()
    with zipfile.ZipFile(saved) as origin, zipfile.ZipFile(made, "w") as target:
        for name in origin.namelist():
            content = origin.read(name)
            if name.endswith(place):
                content = json.dumps(change(json.loads(content))) if name.endswith(".json") else change(content)
            target.writestr(name, content)
    return made.getvalue()


def _replaced(old, new):
    return lambda value: json.loads(json.dumps(value).replace(old, new))


CHANGES = {
    "pickled weights": ("weights_config.json", _replaced('"use_pickle": false', '"use_pickle": true')),
    "pickled objects": ("constants_config.json", lambda _: {"config": {"x": {"path_name": "opaque_obj_0"}}}),
    "objects": ("constants_config.json", lambda _: {"config": {"x": {"path_name": "custom_obj_0"}}}),
    "expressions": ("model.json", _replaced("Symbol('s", "__import__('os').system('touch RAN') or Symbol('s")),
    "calls": ("model.json", _replaced("torch.ops.aten.conv2d.default", "torch.hub.load")),
    "guards": ("model.json", _replaced('"guards_code": []', "\"guards_code\": [\"open('RAN', 'w')\"]")),
    "inputs": ("sample_inputs/model.pt", lambda _: pickle.dumps(_Touch())),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_what_would_run_while_it_is_opened_is_refused(saved, tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    content = _changed(saved, *CHANGES[kind])
    assert content != saved.read_bytes()
    (tmp_path / "evil.pt2").write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        check_exported(tmp_path / "evil.pt2")
    assert str(caught.value).isprintable()
    assert not (tmp_path / "RAN").exists()


def test_honest_networks_are_let_through(saved):
    check_exported(saved)


@pytest.mark.parametrize(
    "text", ["s0", "Symbol('s31', positive=True, integer=True)", "Add(Integer(1), Mul(s0, s1))", "2*s0"]
)
def test_sizes(text):
    assert EXPRESSION.fullmatch(text)


@pytest.mark.parametrize("text", ["open('x')", "().__class__", "exec(s0)", "s" + "1s" * 10**5 + "!"])
def test_what_is_no_size(text):
    assert not EXPRESSION.fullmatch(text)
