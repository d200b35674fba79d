"""`ganpress lineage`: the way from the data to a file, wherever it is, and one line for an unknown file."""

import json
import shutil
import sys

import pytest

from flows.__main__ import main
from ganpress.files.checkpoint import file_digest


@pytest.fixture
def ask(monkeypatch, capsys):
    """Run the command; its exit code, what it printed and what it complained of."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["ganpress", "lineage", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, *capsys.readouterr()

    return run


def steps(printed):
    return [(one["stage"], one["made"], one["made_from"]) for one in json.loads(printed)["steps"]]


FIRST = [(None, "step.py", []), (None, "raw.txt", [])]
A = [("first", "artifacts/first/out.txt", ["raw.txt", "step.py"]), ("many@a", "artifacts/many/a/out.txt", ["first"])]


def test_the_way_to_a_file_of_artifacts(done, ask):
    code, printed, _ = ask("artifacts/many/a/out.txt", "--json")
    assert code == 0
    answer = json.loads(printed)
    md5 = file_digest(done.root / "artifacts/many/a/out.txt", "md5")
    assert (answer["md5"], answer["found_in"], answer["stage"]) == (md5, "dvc.lock", "many@a")
    assert answer["notes"] == []
    made = {name: (path, sorted(parents)) for name, path, parents in steps(printed) if name}
    assert made["first"] == ("artifacts/first/out.txt", ["raw.txt", "step.py"])
    assert made["many@a"] == ("artifacts/many/a/out.txt", ["first", "many.py", "step.py"])
    assert set(made) == {"first", "many@a"}
    assert {path for name, path, _ in steps(printed) if name is None} == {"raw.txt", "step.py", "many.py"}
    code, printed, _ = ask("artifacts/many/a/out.txt")
    assert code == 0
    assert f"md5 {md5}, as dvc.lock records of artifacts/many/a/out.txt" in printed
    assert md5[:8] in printed


def test_a_file_that_lies_alone_is_found_by_its_digest(done, ask, tmp_path):
    alone = shutil.copy(done.root / "artifacts/last/out.txt", tmp_path / "mailed.onnx")
    code, printed, _ = ask(alone, "--json")
    assert code == 0
    answer = json.loads(printed)
    assert (answer["stage"], answer["path"]) == ("last", "artifacts/last/out.txt")
    assert {name for name, _, _ in steps(printed)} == {None, "first", "many@a", "many@b", "last"}


def test_a_file_that_its_stage_did_not_make_so_is_one_line(done, ask):
    out = done.root / "artifacts/aside/out.txt"
    out.unlink()
    out.write_text("tampered")
    code, _, said = ask(out)
    assert code == 2
    (line,) = said.strip().splitlines()
    assert line.startswith("ganpress: artifacts/aside/out.txt has changed since its stage wrote it: its md5 is ")
    assert line.endswith("`dvc checkout artifacts/aside/out.txt` restores it")
    out.write_bytes((done.root / "artifacts/first/out.txt").read_bytes())
    code, printed, _ = ask(out, "--json")
    (note,) = json.loads(printed)["notes"]
    assert note.startswith(
        "artifacts/aside/out.txt is not the file that dvc.lock records for that path; it has the content of "
    )
    assert note.endswith("artifacts/first/out.txt")


def test_what_was_made_anew_after_it_was_read_is_said(done, ask):
    done.edit("step.py", "text = name", "text = 'other ' + name")
    done.dvc("repro", "--quiet", "--single-item", "first")
    code, printed, _ = ask("artifacts/aside/out.txt", "--json")
    assert code == 0
    (note,) = json.loads(printed)["notes"]
    assert note.startswith("out of date: artifacts/first/out.txt")


def write_card(folder, content, **lineage):
    folder.mkdir()
    (folder / "generator.onnx").write_bytes(content)
    md5 = file_digest(folder / "generator.onnx", "md5")
    (folder / "card.json").write_text(json.dumps({"md5": md5, "lineage": lineage}))
    return folder / "generator.onnx"


def test_the_card_beside_a_file_leads_to_its_generator(done, ask, tmp_path):
    source = file_digest(done.root / "artifacts/many/b/out.txt", "md5")
    path = write_card(tmp_path / "out", b"edge", source="many/b", source_md5=source)
    code, printed, _ = ask(path, "--json")
    assert code == 0
    assert [name for name, _, _ in steps(printed) if name] == ["first", "many@b", "export"]
    path = write_card(tmp_path / "foreign", b"edge 2", source="subnet", source_md5="0" * 32, data_md5="1" * 32)
    code, printed, _ = ask(path, "--json")
    assert steps(printed) == [
        (None, "prepared data", []), ("subnet", "generator.safetensors", []), ("export", "generator.onnx", ["subnet"])
    ]  # fmt: skip
    path.write_bytes(b"edge 3")
    code, _, said = ask(path)
    assert code == 2
    assert "does not match the card beside it: its md5 is " in said


@pytest.mark.parametrize("name", ["no/such/file", "\udcff", "x" * 5000, "", ".", "/", "/dev/zero", "raw.txt"])
def test_what_is_not_there_or_unknown_is_one_line(done, ask, name):
    code, _, said = ask(name)
    assert code == 2
    assert len(said.strip().splitlines()) == 1
    assert len(said) < 1000
