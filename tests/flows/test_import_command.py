"""The command `ganpress import`."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from flows.__main__ import main
from flows.imported_pin import ensure_imported
from ganpress.errors import DataError

CHECKOUT = Path(__file__).resolve().parents[2]
FOREIGN = CHECKOUT / "tests" / "foreign"


@pytest.fixture
def project(toy):
    """The toy project with a user's module in it, and with the folder for imports."""
    shutil.copy(FOREIGN / "odd_networks.py", toy.root / "my_module.py")
    (toy.root / "imported").mkdir()
    shutil.copy(CHECKOUT / "imported" / ".gitignore", toy.root / "imported")
    return toy


def test_import_writes_pins_and_says_what_it_found(project):
    ended = project.call("import", "my_module:global_residual", "--example-input", "1x3x16x16", "--output-range", "0,1")
    assert ended.returncode == 0, ended.stderr
    lines = ended.stdout.splitlines()
    assert lines[0] == "imported/my_module is my_module:global_residual: 1x3x16x16 in [-1, 1] -> 1x3x16x16 in [0, 1]"
    parameters = 3 * 8 * 9 + 8 + 8 * 3 * 9 + 3
    assert lines[1] == f"{parameters} parameters, {2 * 3 * 8 * 9 * 16 * 16:,} MACs, {4 * parameters:,} bytes"
    assert lines[2] == "1 channel group; a spec is imported:50, in percent of each group"
    assert lines[3].split() == ["1", "a", "8", "units", "in", "2", "layers"]
    assert lines[4].strip() == "cannot be pruned: b: its channels are tied to those of the input"
    assert lines[5] == "note: no weights were given: those of the network that the function returns are used"

    folder = project.root / "imported" / "my_module"
    card = json.loads((folder / "import.json").read_text())
    assert card["source"] == "my_module:global_residual"
    assert [group["name"] for group in card["groups"]] == ["a"]
    assert {path.name for path in folder.iterdir()} == {"generator.safetensors", "import.json"}
    assert (project.root / "imported" / "my_module.dvc").is_file()

    before = (folder / "generator.safetensors").read_bytes()
    shutil.rmtree(folder)
    ensure_imported(project.root, project.root, "imported/my_module")
    assert (folder / "generator.safetensors").read_bytes() == before


def test_pin_is_for_git_and_the_folder_is_not(project):
    (project.root / "imported" / "net").mkdir()
    (project.root / "imported" / "net.dvc").touch()
    ignored = subprocess.run(
        ["git", "check-ignore", "imported/net", "imported/net.dvc", "imported/.gitignore"],
        cwd=project.root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ignored.stdout.split() == ["imported/net"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["my_module:lost", "--example-input", "1x3x8x8"], "has no function 'lost'"),
        (["my_module:grouped"], "my_module:grouped: a network of your own needs --example-input"),
        (
            ["my_module:grouped", "--example-input", "3,8,8"],
            "--example-input '3,8,8' is not two to six numbers joined by 'x'",
        ),
        (["my_module:grouped", "--example-input", "1x3x8x8", "--input-range", "one"], "--input-range 'one' is not two"),
        (["my_module:grouped", "--example-input", "1x3x8x8", "--weights", "lost.pt"], "lost.pt does not exist"),
        (["resnet_9blocks", "--keys", "cyclegan"], "--keys renames the tensors of a file: give it with --weights FILE"),
        (["resnet_8blocks", "--keys", "cyclegan", "--weights", "lost.pt"], "unknown generator 'resnet_8blocks'"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(project, monkeypatch, capsys, arguments, message):
    monkeypatch.setattr(sys, "argv", ["ganpress", "import", *arguments])
    monkeypatch.setattr(sys, "path", [*sys.path])
    with pytest.raises(SystemExit, match="2"):
        main()
    sys.modules.pop("my_module", None)
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    assert message in lines[0]
    assert [path.name for path in (project.root / "imported").iterdir()] == [".gitignore"]


def test_ensure_without_a_pin_says_how_to_import(project):
    with pytest.raises(DataError, match="no imported generator at .*imported/net; import it with `ganpress import`"):
        ensure_imported(project.root, project.root, "imported/net")
