"""State files that are empty, cut off or noise: they are repaired, or one line names the file and the remedy."""

import json
import shutil
import sqlite3
import subprocess
from pathlib import Path

import pytest

from flows.state_files import explain, find_damage, heal, heal_locks
from flows.worktree import make_workspace
from ganpress.basics.whole_files import put_aside, whole_folder, write_whole
from ganpress.errors import StateDamaged
from ganpress.files.sqlite_files import mark_made, remove_half_made, sqlite_damage

DAMAGES = {
    "empty": lambda content: b"",
    "half": lambda content: content[: len(content) // 2],
    "noise": lambda content: bytes((7 * place + 129) % 256 for place in range(len(content))),
}
GIT = ("git", "-c", "user.name=toy", "-c", "user.email=toy@example.org", "-c", "commit.gpgsign=false")
COMMITTED = ("params.yaml", "dvc.yaml", ".dvc/config")
WRITTEN = ("dvc.lock", "data.dvc")
DATABASES = ("mlflow/tracking.db", ".prefect/prefect.db")
LOCKS = (".dvc/tmp/rwlock", ".dvc/tmp/rwlock.lock", ".dvc/tmp/lock")
COMMANDS = (["status"], ["run"], ["doctor"], ["compare"])


def damage(path: Path, kind: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(DAMAGES[kind](path.read_bytes() if path.exists() else b'{"read": {}, "write": {}}'))


def make_database(path: Path, rows: int = 400) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE runs (text TEXT)")
        connection.executemany("INSERT INTO runs VALUES (?)", [("x" * 200,)] * rows)
    connection.close()


@pytest.fixture
def whole(done):
    """A project in which everything is up to date, with both databases and pinned data."""
    (done.root / "data.dvc").write_text(f"outs:\n- md5: {'0' * 32}.dir\n  path: data\nmeta:\n  source: digits\n")
    for name in DATABASES:
        make_database(done.root / name)
    (done.root / ".dvc/config").write_text("[core]\n    analytics = false\n    check_update = false\n")
    subprocess.run([*GIT, "commit", "--quiet", "--all", "-m", "settings of DVC"], cwd=done.root, check=True)
    return done


def test_sound_files_are_not_touched(whole):
    assert list(find_damage(whole.root)) == []
    assert heal(whole.root) == []


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_table_of_locks_heals(whole, kind):
    table = whole.root / ".dvc/tmp/rwlock"
    damage(table, kind)
    (line,) = heal(whole.root)
    assert line.startswith(f"{table} was damaged (")
    assert not table.exists()
    assert not heal_locks(whole.root)


@pytest.mark.parametrize("content", ["[]", '{"read": []}', "null", "7"])
def test_a_table_of_locks_that_is_json_but_no_table(whole, content):
    (whole.root / ".dvc/tmp/rwlock").write_text(content)
    assert heal_locks(whole.root)


def test_a_table_in_use_stays(whole):
    table = whole.root / ".dvc/tmp/rwlock"
    table.write_text(json.dumps({"read": {}, "write": {str(whole.root / "x"): {"pid": 1, "cmd": "dvc repro"}}}))
    assert not heal_locks(whole.root)
    assert table.exists()


@pytest.mark.parametrize("kind", DAMAGES)
@pytest.mark.parametrize("name", [*COMMITTED, *WRITTEN, "mlflow/tracking.db"])
def test_what_holds_work_is_named_with_its_remedy_and_mended(whole, name, kind):
    path = whole.root / name
    sound = path.read_bytes()
    damage(path, kind)
    if name in (".dvc/config", "mlflow/tracking.db") and kind == "empty":
        assert explain(whole.root) is None  # as git, DVC and SQLite make them
        return
    error = explain(whole.root)
    if (name, kind) == ("dvc.lock", "half") and error is None:
        return  # cut behind a whole entry: DVC takes the others for never run, and restores them
    assert isinstance(error, StateDamaged)
    assert str(error).startswith(f"{path} is damaged (")
    assert "`ganpress doctor --fix` moves it aside" in str(error)
    broken = path.read_bytes()
    for one in find_damage(whole.root):
        one.repair()
    assert path.with_name(f"{path.name}.damaged").read_bytes() == broken
    assert (path.read_bytes() == sound) if name in COMMITTED else not path.exists()
    assert explain(whole.root) is None


def test_a_file_that_dvc_is_writing_is_sound(whole, monkeypatch):
    path = whole.root / "dvc.lock"
    sound = path.read_bytes()
    path.write_bytes(b"")
    monkeypatch.setattr("flows.state_files.time.sleep", lambda _: path.write_bytes(sound))
    assert heal(whole.root) == []
    assert explain(whole.root) is None


@pytest.mark.parametrize("kind", ["half", "noise"])
def test_prefects_history_heals(whole, kind):
    path = whole.root / ".prefect/prefect.db"
    damage(path, kind)
    (line,) = heal(whole.root)
    assert line.endswith("held no work: it was moved aside, and Prefect starts a new history of flow runs")
    assert not path.exists()
    assert heal(whole.root) == []


def test_a_mistake_of_the_users_is_no_damage(whole):
    text = (whole.root / "params.yaml").read_text()
    (whole.root / "params.yaml").write_text(text.replace("seed: 1", "seed: [1") + "\nmore: true\n")
    assert explain(whole.root) is None


def test_a_database_in_use_is_sound(tmp_path):
    path = tmp_path / "a.db"
    make_database(path)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=WAL")
    with connection:
        connection.executemany("INSERT INTO runs VALUES (?)", [("y" * 200,)] * 2000)
    assert sqlite_damage(path) is None  # most of its pages lie in the log beside it
    connection.close()


def test_half_made_databases_go_and_others_stay(tmp_path):
    half, whole, old, other = (tmp_path / f"{name}.db" for name in ("half", "whole", "old", "other"))
    for path in (half, whole, old):
        make_database(path, rows=0 if path != old else 1)
    mark_made(whole)
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE something (text TEXT)")
    connection.close()
    for path in (half, whole, old, other):
        remove_half_made(path, "runs")
    assert [path.exists() for path in (half, whole, old, other)] == [False, True, True, False]


def test_put_aside_never_overwrites(tmp_path):
    for text in ("a", "b"):
        write_whole(tmp_path / "x", text)
        put_aside(tmp_path / "x")
    assert [(tmp_path / f"x.damaged{number}").read_text() for number in ("", 2)] == ["a", "b"]


def test_leftovers_of_killed_writers_go(tmp_path):
    ended = subprocess.Popen(["true"])
    ended.wait()
    (tmp_path / f".x.{ended.pid}.partial").write_text("half")
    (tmp_path / f".x.y.{ended.pid}.partial").write_text("half of another")
    write_whole(tmp_path / "x", "whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == [f".x.y.{ended.pid}.partial", "x"]


def test_a_folder_goes_back_where_its_writer_was_killed_between_two_renames(tmp_path):
    ended = subprocess.Popen(["true"])
    ended.wait()
    former = tmp_path / f".x.{ended.pid}.partial" / "former"
    former.mkdir(parents=True)
    (former / "a").touch()
    with pytest.raises(FileNotFoundError), whole_folder(tmp_path / "x") as fresh:
        (fresh / "none" / "b").touch()
    assert [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob("*"))] == ["x", "x/a"]
    with whole_folder(tmp_path / "x") as fresh:
        (fresh / "b").touch()
    assert [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob("*"))] == ["x", "x/b"]


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_worktree_that_git_does_not_know_any_more_is_made_anew(done, kind):
    first = make_workspace(done.root, None, ["teacher.images=500"])
    (first.root / "dvc.lock").write_text("schema: '2.0'\nstages: {}\n")
    damage(first.root / ".git", kind)
    again = make_workspace(done.root, None, ["teacher.images=500"])
    assert again.root == first.root
    assert (again.root / "dvc.lock").read_text() == "schema: '2.0'\nstages: {}\n"
    assert "dir = " in (again.root / ".dvc" / "config.local").read_text()


def test_a_worktree_whose_making_was_killed_gets_the_shared_cache(done):
    first = make_workspace(done.root, None, ["teacher.images=500"])
    (first.root / ".dvc" / "config.local").unlink()
    make_workspace(done.root, None, ["teacher.images=500"])
    assert "dir = " in (first.root / ".dvc" / "config.local").read_text()


@pytest.fixture
def tracked(done, monkeypatch):
    """The toy after a real run that was tracked: both databases are real ones."""
    monkeypatch.setenv("GANPRESS_TRACKING", "direct")
    assert done.call("run").returncode == 0
    assert all((done.root / name).exists() for name in DATABASES)
    return done


@pytest.mark.slow
@pytest.mark.parametrize("kind", DAMAGES)
@pytest.mark.parametrize("name", [*COMMITTED, "dvc.lock", *DATABASES, *LOCKS])
def test_every_command_on_every_damage(tracked, name, kind, tmp_path):
    """Each command ends with 0, or with 2 and one line; after `doctor --fix` a run makes nothing anew."""
    copy = tmp_path / "sound"
    shutil.copytree(tracked.root, copy, symlinks=True)
    tracked.executed()
    for arguments in COMMANDS:
        shutil.rmtree(tracked.root)
        shutil.copytree(copy, tracked.root, symlinks=True)
        damage(tracked.root / name, kind)
        ended = tracked.call(*arguments)
        said = f"{arguments}: {ended.returncode}\n{ended.stdout}{ended.stderr}"
        assert "Traceback" not in ended.stdout + ended.stderr, said
        assert ended.returncode in (0, 2), said
        if ended.returncode == 2 and arguments in (["status"], ["run"]):
            (line,) = [one for one in ended.stderr.splitlines() if one.strip()]
            assert Path(name).name in line, said
    fixed = tracked.call("doctor", "--fix")
    assert "Traceback" not in fixed.stdout + fixed.stderr, fixed.stdout + fixed.stderr
    again = tracked.call("run")
    assert again.returncode == 0, again.stdout + again.stderr
    assert tracked.executed() == []
