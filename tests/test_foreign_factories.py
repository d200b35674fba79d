"""A model file names the function that builds it; a stranger's is not imported, a pinned one is."""

import hashlib
import json
import sys

import pytest
import torch
import zstandard

from ganpress.compression.packed.ganpack2 import MAGIC
from ganpress.compression.packed.packing import load_packed
from ganpress.errors import CheckpointError, ConfigError
from ganpress.files.checkpoint import load_model
from ganpress.files.import_pins import allow_factory
from ganpress.imported.import_card import load_imported, read_card
from ganpress.imported.importing import ImportRequest, import_generator
from models import factory_pins
from models.builders import Blueprint
from models.factory_pins import sources_of
from models.user_modules import find_source

NETWORK = """
import pathlib
pathlib.Path({mark!r}).touch()
from torch import nn
from {blocks} import conv


def build():
    return nn.Sequential(conv(3, 4), nn.ReLU(), conv(4, 3))
"""
BLOCKS = "from torch import nn\n\n\ndef conv(a, b):\n    return nn.Conv2d(a, b, 3, padding=1)\n"
FACTORIES = (
    "os:abort",
    "sys:exit",
    "builtins:exec",
    "antigravity:geohash",
    "mine:build",
    "inside.deep.net:build",
    "nothing:f",
)
MALFORMED = ("", "mine", "mine:", ":build", "mine:build.x", "..mine:build", "mine:build;import os", "mi ne:build")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with modules that leave a mark when they are imported; none is known to this process."""
    mark = str(tmp_path / "RAN")
    (tmp_path / "mine.py").write_text(NETWORK.format(mark=mark, blocks="my_blocks"))
    (tmp_path / "my_blocks.py").write_text(BLOCKS)
    (tmp_path / "inside" / "deep").mkdir(parents=True)
    for package in ("inside", "inside/deep"):
        (tmp_path / package / "__init__.py").write_text(f"import pathlib\npathlib.Path({mark!r}).touch()\n")
    (tmp_path / "inside" / "deep" / "net.py").write_text(NETWORK.format(mark=mark, blocks="inside.deep.blocks"))
    (tmp_path / "inside" / "deep" / "blocks.py").write_text(BLOCKS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    _forget(monkeypatch)
    yield tmp_path
    _forget(monkeypatch)


def _forget(monkeypatch):
    """What another process would know: nothing."""
    monkeypatch.setattr(factory_pins, "_pinned", {})
    monkeypatch.setattr(factory_pins, "_verified", set())
    for name in [one for one in sys.modules if one.split(".")[0] in ("mine", "my_blocks", "inside")]:
        del sys.modules[name]


def _arguments(factory):
    ranges = {"input_range": [-1.0, 1.0], "output_range": [-1.0, 1.0]}
    return {"factory": factory, "spec": "100", "groups": {}, "example": [1, 3, 8, 8], **ranges}


def _file(folder, builder, arguments):
    content = {"format": "ganpress-model", "version": 1, "builder": builder, "arguments": arguments, "state_dict": {}}
    torch.save(content, folder / "stranger.pt")
    return folder / "stranger.pt"


def _refused(folder, read, path):
    before = set(sys.modules)
    with pytest.raises(CheckpointError) as caught:
        read(path)
    assert str(caught.value).isprintable()
    assert not (folder / "RAN").exists()
    assert not {one.split(".")[0] for one in set(sys.modules) - before} & {"mine", "inside", "antigravity"}
    return str(caught.value)


@pytest.mark.parametrize("factory", FACTORIES)
def test_a_file_of_a_strangers_imports_nothing(folder, factory):
    line = _refused(folder, load_model, _file(folder, "imported", _arguments(factory)))
    assert f"built by '{factory}', code that is not pinned in this project, and nothing of it was run" in line
    assert f"run `ganpress import {factory} …`" in line


@pytest.mark.parametrize("factory", FACTORIES)
@pytest.mark.parametrize("outer", ["elastic", "quantized", "both"])
def test_nor_does_one_inside_another_network(folder, factory, outer):
    inner = {"builder": "imported", "arguments": _arguments(factory)}
    bits = {"layers": [], "folded": [], "weight_bits": 8, "activation_bits": 8}
    made = {
        "elastic": ("elastic", {"base": inner, "widths": [[50, 100]]}),
        "quantized": ("quantized", {"base": inner, **bits}),
        "both": ("quantized", {"base": {"builder": "elastic", "arguments": {"base": inner, "widths": []}}, **bits}),
    }
    assert "not pinned" in _refused(folder, load_model, _file(folder, *made[outer]))


@pytest.mark.parametrize("factory", FACTORIES)
def test_nor_does_a_packed_file(folder, factory):
    described = {"blueprint": {"builder": "imported", "arguments": _arguments(factory)}, "tensors": []}
    header = zstandard.ZstdCompressor().compress(json.dumps(described).encode())
    whole = MAGIC + len(header).to_bytes(4, "little") + header
    (folder / "g.ganpack").write_bytes(whole + hashlib.sha256(whole).digest())
    assert "not pinned" in _refused(folder, load_packed, folder / "g.ganpack")


@pytest.mark.parametrize("factory", MALFORMED)
def test_what_names_no_function_is_refused(folder, factory):
    _refused(folder, load_model, _file(folder, "imported", _arguments(factory)))
    with pytest.raises(ValueError, match="does not name a function"):
        sources_of(factory)


def test_a_blueprint_that_came_from_elsewhere_builds_nothing(folder):
    with pytest.raises(ValueError, match="not pinned in this project"):
        Blueprint("imported", _arguments("mine:build")).build()
    assert not (folder / "RAN").exists()


def _import(folder, monkeypatch, factory="mine:build"):
    import_generator(folder, ImportRequest(factory, None, (1, 3, 8, 8), "net"))
    (folder / "RAN").unlink()
    _forget(monkeypatch)
    return folder / "imported" / "net" / "generator.safetensors"


@pytest.mark.parametrize("factory", ["mine:build", "inside.deep.net:build"])
def test_what_the_user_imported_is_loaded_by_another_process(folder, monkeypatch, factory):
    path = _import(folder, monkeypatch, factory)
    load_model(path)
    assert (folder / "RAN").exists()
    _forget(monkeypatch)
    load_imported(folder, "net")


@pytest.mark.parametrize("edited", ["mine.py", "my_blocks.py"])
def test_an_edited_source_runs_nothing_and_says_so(folder, monkeypatch, edited):
    path = _import(folder, monkeypatch)
    (folder / edited).write_text((folder / edited).read_text() + "# edited\n")
    assert f"{edited} has changed since the import; nothing was run" in _refused(folder, load_model, path)
    with pytest.raises(ConfigError, match=f"{edited} has changed since the import, so the network may be another"):
        load_imported(folder, "net")
    assert not (folder / "RAN").exists()


@pytest.mark.parametrize("package", ["inside", "inside/deep"])
def test_the_packages_above_are_pinned(folder, monkeypatch, package):
    path = _import(folder, monkeypatch, "inside.deep.net:build")
    (folder / package / "__init__.py").write_text("raise SystemExit\n")
    assert "__init__.py has changed since the import" in _refused(folder, load_model, path)


def test_a_package_that_comes_in_between_is_refused(folder, monkeypatch):
    (folder / "inside" / "__init__.py").unlink()
    path = _import(folder, monkeypatch, "inside.deep.net:build")
    (folder / "inside" / "__init__.py").write_text("raise SystemExit\n")
    assert "__init__.py was not there at the import" in _refused(folder, load_model, path)


def test_a_module_that_hides_the_pinned_one_is_refused(folder, monkeypatch):
    path = _import(folder, monkeypatch)
    (folder / "mine").mkdir()
    (folder / "mine" / "__init__.py").write_text("raise SystemExit\n")
    assert "has changed since the import" in _refused(folder, load_model, path)


def test_cards_of_earlier_versions_pin_their_one_file(folder, monkeypatch):
    path = _import(folder, monkeypatch)
    card = json.loads((path.parent / "import.json").read_text())
    del card["modules"]
    (path.parent / "import.json").write_text(json.dumps(card))
    load_model(path)
    assert read_card(folder, "net").modules == {}


@pytest.mark.parametrize(
    "wrong", [{"source": "os:abort"}, {"source_sha256": None, "modules": {}}, {"modules": {"mine": "0"}}]
)
def test_a_card_that_pins_something_else_pins_nothing(folder, monkeypatch, wrong):
    path = _import(folder, monkeypatch)
    card = json.loads((path.parent / "import.json").read_text())
    (path.parent / "import.json").write_text(json.dumps(card | wrong))
    _refused(folder, load_model, path)


def test_a_worktree_trusts_what_its_project_pinned(folder, monkeypatch):
    path = _import(folder, monkeypatch)
    copy = folder / ".ganpress" / "worktrees" / "abc"
    copy.mkdir(parents=True)
    for name in ("mine.py", "my_blocks.py"):
        (copy / name).write_bytes((folder / name).read_bytes())
    (copy / "dvc.yaml").touch()
    monkeypatch.chdir(copy)
    load_model(path)


def test_a_program_of_the_users_own_allows_a_function(folder, monkeypatch):
    path = _import(folder, monkeypatch)
    (path.parent / "import.json").unlink()
    assert "not pinned" in _refused(folder, load_model, path)
    allow_factory("mine:build")
    assert not (folder / "RAN").exists()
    load_model(path)


@pytest.mark.parametrize("factory", ["os:abort", "sys:exit", "nothing:f"])
def test_what_has_no_source_file_cannot_be_allowed(folder, factory):
    with pytest.raises(ValueError, match="has no source file that could be pinned"):
        allow_factory(factory)


def test_finding_a_module_imports_none(folder):
    assert find_source("inside.deep.net") == folder / "inside" / "deep" / "net.py"
    assert find_source("inside") == folder / "inside" / "__init__.py"
    assert find_source("inside.deep.none") is None
    assert find_source("mine.none") is None
    assert not (folder / "RAN").exists()


def test_a_file_may_bear_any_name_and_is_pinned_with_what_lies_beside_it(tmp_path, monkeypatch):
    """`models` means the user's file while it is imported, and this project's package before and afterwards."""
    (tmp_path / "gen").mkdir()
    (tmp_path / "gen" / "models.py").write_text(BLOCKS)
    (tmp_path / "gen" / "tasks.py").write_text(
        "from torch import nn\nfrom models import conv\n\n\n"
        "def build():\n    from models import conv as again\n    return nn.Sequential(conv(3, 4), again(4, 3))\n"
    )
    monkeypatch.chdir(tmp_path)
    ours = sys.modules["models"]
    card = import_generator(tmp_path, ImportRequest("gen/tasks.py:build", None, (1, 3, 8, 8), "mine"))
    assert sys.modules["models"] is ours
    assert set(card.modules) == {"gen/tasks.py", "models"}
    assert load_imported(tmp_path, "mine")[0](torch.zeros(2, 3, 8, 8)).shape == (2, 3, 8, 8)
    with (tmp_path / "gen" / "models.py").open("a") as file:
        file.write("# edited\n")
    with pytest.raises(ConfigError, match=r"gen/models.py has changed since the import"):
        load_imported(tmp_path, "mine")


def test_a_module_that_reads_its_command_line_sees_none(tmp_path, monkeypatch):
    text = "import argparse\n\nfrom torch import nn\n\nargparse.ArgumentParser().parse_args()\n\n\n"
    (tmp_path / "mine.py").write_text(text + "def build():\n    return nn.Conv2d(3, 3, 1)\n")
    (tmp_path / "ends.py").write_text("import sys\n\nsys.exit('usage: ends.py CONFIG')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["ganpress", "import", "mine.py:build"])
    assert import_generator(tmp_path, ImportRequest("mine.py:build", None, (1, 3, 8, 8))).name == "mine"
    assert sys.argv[1] == "import"
    with pytest.raises(ConfigError, match=r"it ends the program \(usage: ends.py CONFIG\): put what reads the command"):
        import_generator(tmp_path, ImportRequest("ends.py:build", None, (1, 3, 8, 8)))
