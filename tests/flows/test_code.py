"""Stages that depend on digests of their code: by DVC, by the flow, and in a worktree."""

import json
import subprocess
import sys
import threading
import time

import pytest
import yaml

from flows.dvc_graph import read_graph
from flows.pipeline import StageFailed
from flows.stage_code import write_code
from flows.worktree import make_workspace
from ganpress.executed_code import versions
from ganpress.executed_code.digests import StageCode

WORDS = ("'''Words.'''", "'''Other words.'''")
CODE = ('"made by "', '"written by "')


def why(root, name="validate", **options):
    stage = read_graph(root, **options)[name]
    return stage.need, stage.why


def dvc(toy, *arguments):
    """Run dvc in the project; returns (exit code, everything that it printed)."""
    command = [sys.executable, "-m", "dvc", *arguments]
    done = subprocess.run(command, cwd=toy.root, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def edited_while_running(toy, edits, command, root=None):
    """Start a command, edit a file once the stage `validate` is at work, let it end."""
    hold = toy.control / "hold"
    hold.touch()
    process = subprocess.Popen(
        command, cwd=root or toy.root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    while not (toy.control / "log.txt").exists() and process.poll() is None:
        time.sleep(0.05)
    path = (root or toy.root) / "tasks/parts.py"
    for old, new in edits:
        path.write_text(path.read_text().replace(old, new))
    hold.unlink()
    output, _ = process.communicate(timeout=120)
    return process.returncode, output


def forced(stage):
    return [sys.executable, "-m", "dvc", "repro", "--force", "--single-item", stage]


def test_all_is_up_to_date_and_code_is_no_stage_of_its_own(coded):
    graph = read_graph(coded.root)
    assert graph.names() == ("validate", "prepare@a", "prepare@b")
    assert graph["validate"].upstream == ()
    assert {stage.why for stage in graph.stages} == {""}
    assert None not in {stage.key for stage in graph.stages}
    code, printed = dvc(coded, "repro")
    assert code == 0, printed
    assert coded.executed() == []
    assert "always changed" in dvc(coded, "status")[1]  # DVC alone cannot know whether the code is another


def test_without_the_files_of_digests_nothing_runs_either(coded):
    """As in a fresh clone: they are written anew, and are as dvc.lock says."""
    subprocess.run(["rm", "-r", coded.root / "artifacts/code"], check=True)
    assert {stage.need for stage in read_graph(coded.root).stages} == {"clean"}
    assert dvc(coded, "repro")[0] == 0
    assert coded.executed() == []


@pytest.mark.parametrize(
    ("old", "new", "executed"),
    [
        (*WORDS, []),
        ("# Of both", "# For both", []),
        ("return 1", "return 2", []),  # nobody calls it
        ("def text_of(stage, images):", "def text_of(stage: str, images: int) -> str:", []),
        (*CODE, ["prepare@a", "prepare@b", "validate"]),
    ],
)
def test_dvc_repro_runs_what_executes_the_edit(coded, old, new, executed):
    coded.edit("tasks/parts.py", old, new)
    needs = {stage.name for stage in read_graph(coded.root).stages if stage.need == "run"}
    assert sorted(needs) == executed
    code, printed = dvc(coded, "repro", "prepare")
    assert code == 0, printed
    assert coded.executed() == executed
    assert {stage.need for stage in read_graph(coded.root).stages} == {"clean"}


def test_the_code_of_one_item_alone(coded):
    coded.edit("tasks/prepare.py", "time.sleep(0.05)", "time.sleep(0.06)")
    assert why(coded.root) == ("clean", "")
    assert why(coded.root, "prepare@a") == ("run", "code changed: tasks/prepare.py")
    assert dvc(coded, "repro", "prepare@a")[0] == 0
    assert coded.executed() == ["prepare@a"]
    assert why(coded.root, "prepare@b") == ("run", "its code changed")  # `code` has written its digest by now


def test_an_experiment_runs_what_its_parameter_and_the_code_change(coded):
    coded.edit("tasks/prepare.py", "time.sleep(0.05)", "time.sleep(0.06)")
    code, printed = dvc(coded, "exp", "run", "-S", "teacher.images=7")
    assert code == 0, printed
    assert coded.executed() == ["prepare@a", "prepare@b"]
    assert (coded.root / "artifacts/prepare/a/out.txt").read_text() == "made by prepare7"


def test_code_edited_while_a_stage_runs_is_never_locked(coded):
    """The stage alone, as `code` would not run before it."""
    code, printed = edited_while_running(coded, [CODE], forced("validate"))
    assert code != 0
    assert "validate: tasks/parts.py changed while it ran, so its outputs are not kept; run again" in printed
    assert why(coded.root)[0] == "run"
    assert "code changed: tasks/parts.py" in why(coded.root)[1]


def test_words_edited_while_a_stage_runs_do_no_harm(coded):
    assert edited_while_running(coded, [WORDS], forced("validate"))[0] == 0
    assert why(coded.root) == ("clean", "")


def test_a_stage_alone_is_locked_with_the_code_that_it_executed(coded):
    """The file of its digest is of an earlier code: `--single-item` leaves `code` out."""
    coded.edit("tasks/parts.py", *CODE)
    time.sleep(0.2)  # an edit a tick before a process counts as one in it
    code, printed = dvc(coded, "repro", "--force", "--single-item", "validate")
    assert code == 0, printed
    assert (coded.root / "artifacts/validate/out.txt").read_text() == "written by validate0"
    assert why(coded.root) == ("clean", "")
    coded.edit("tasks/parts.py", *CODE[::-1])
    assert why(coded.root)[0] == "run"


def test_code_edited_while_a_stage_runs_in_a_worktree(coded):
    root = make_workspace(coded.root, "small").root
    command = [sys.executable, "-m", "dvc", "repro", "--force", "validate"]
    code, printed = edited_while_running(coded, [CODE], command, root)
    assert code != 0
    assert "tasks/parts.py changed while it ran" in printed
    assert why(root)[0] == "run"
    assert why(coded.root) == ("clean", "")


@pytest.mark.usefixtures("prefect_api")
def test_the_flow_refuses_what_was_edited_and_runs_it_again(coded):
    coded.edit("params.yaml", "seed: ", "seed: 1")
    (coded.control / "hold").touch()

    def edit():
        while not (coded.control / "log.txt").exists():
            time.sleep(0.05)
        coded.edit("tasks/parts.py", *CODE)
        (coded.control / "hold").unlink()

    editor = threading.Thread(target=edit)
    editor.start()
    with pytest.raises(StageFailed, match=r"stage validate failed: .*tasks/parts\.py changed while it ran"):
        coded.run()
    editor.join()
    coded.executed()
    assert set(coded.run().values()) == {"ran"}
    assert coded.executed() == ["prepare@a", "prepare@b", "validate"]
    assert set(coded.run().values()) == {"Cached"}


@pytest.mark.usefixtures("prefect_api")
def test_the_flow_restores_what_an_earlier_code_made(coded):
    coded.edit("tasks/prepare.py", "time.sleep(0.05)", "time.sleep(0.06)")
    assert coded.run() == {"validate": "Cached", "prepare@a": "ran", "prepare@b": "ran"}
    coded.edit("tasks/prepare.py", "time.sleep(0.06)", "time.sleep(0.05)")
    coded.executed()
    assert coded.run() == {"validate": "Cached", "prepare@a": "restored", "prepare@b": "restored"}
    assert coded.executed() == []


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_api")
def test_a_worktree_executes_the_code_of_the_main_checkout(coded):
    coded.edit("tasks/prepare.py", "time.sleep(0.05)", "time.sleep(0.06)")
    assert coded.run(recipe="small") == {"validate": "restored", "prepare@a": "ran", "prepare@b": "ran"}
    assert set(coded.run(recipe="small").values()) == {"Cached"}
    coded.edit("tasks/prepare.py", "time.sleep(0.06)", "time.sleep(0.07)")
    assert coded.run(recipe="small") == {"validate": "Cached", "prepare@a": "ran", "prepare@b": "ran"}


def test_a_lock_without_digests_runs_once(coded):
    lock = yaml.safe_load((coded.root / "dvc.lock").read_text())
    for stage in lock["stages"].values():
        stage["deps"] = [dep for dep in stage.get("deps", ()) if not dep["path"].startswith("artifacts/code")]
    (coded.root / "dvc.lock").write_text(yaml.safe_dump(lock))
    assert why(coded.root) == ("run", "dvc.lock does not record the code it ran with")
    assert dvc(coded, "repro")[0] == 0
    assert {stage.need for stage in read_graph(coded.root).stages} == {"clean"}


def test_a_digest_is_not_touched_while_dvc_runs_its_stage(coded):
    before = (coded.root / "artifacts/code/validate").read_text()
    hold = coded.control / "hold"
    hold.touch()
    process = subprocess.Popen(forced("validate"), cwd=coded.root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (coded.control / "log.txt").exists():
        time.sleep(0.05)
    assert write_code(coded.root, "validate", StageCode(coded.root))  # it stands there already
    coded.edit("tasks/parts.py", *CODE)
    assert not write_code(coded.root, "validate", StageCode(coded.root))
    assert (coded.root / "artifacts/code/validate").read_text() == before
    hold.unlink()
    process.wait(timeout=120)
    assert write_code(coded.root, "validate", StageCode(coded.root))
    assert (coded.root / "artifacts/code/validate").read_text() != before


@pytest.fixture
def with_versions(coded):
    """A stage that loads a runtime, as the one who made the result had it."""
    coded.edit("tasks/validate.py", "import os,", "import onnxruntime, os,")
    assert dvc(coded, "repro")[0] == 0
    coded.executed()
    return coded


def test_versions_are_recorded_and_a_difference_is_said(with_versions, monkeypatch):
    toy = with_versions
    recorded = json.loads((toy.root / "artifacts/versions/validate.json").read_text())
    assert list(recorded) == ["onnxruntime"]
    assert json.loads((toy.root / "artifacts/versions/prepare/a.json").read_text()) == {}
    assert why(toy.root) == ("clean", "")
    monkeypatch.setattr(versions, "version", lambda _name: "99.0")
    words = f"made with onnxruntime {recorded['onnxruntime']}, now 99.0"
    assert why(toy.root) == ("clean", words)
    assert why(toy.root, strict_versions=True) == ("run", words)
    assert why(toy.root, "prepare@a", strict_versions=True) == ("run", "upstream validate would run")


@pytest.mark.usefixtures("prefect_api")
def test_other_versions_run_nothing_again_unless_asked(with_versions, monkeypatch):
    toy = with_versions
    monkeypatch.setattr(versions, "version", lambda _name: "99.0")
    assert set(toy.run().values()) == {"Cached"}
    assert toy.run(strict_versions=True) == {"validate": "ran", "prepare@a": "Cached", "prepare@b": "Cached"}
    assert toy.executed() == ["validate"]


def test_status_counts_the_stages_without_code(coded):
    printed = coded.call("status").stdout
    assert "3 stages: 3 up to date" in printed
    coded.edit("tasks/prepare.py", "time.sleep(0.05)", "time.sleep(0.06)")
    printed = coded.call("status").stdout
    assert "3 stages: 1 up to date, 2 to run" in printed
    assert "code changed: tasks/prepare.py" in " ".join(printed.split())


def test_code_that_is_no_python_is_named(coded):
    (coded.root / "tasks/parts.py").write_text("def (\n")
    done = coded.call("status")
    assert done.returncode == 2
    assert "tasks/parts.py is not valid Python" in " ".join(done.stderr.split())
    code, printed = dvc(coded, "repro", "validate")
    assert code != 0
    assert "code: " in printed
    assert "tasks/parts.py is not valid Python" in printed
