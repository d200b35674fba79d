"""The command line: one clear line for each mistake, and help without heavy imports."""

import json
import socket
import subprocess
import sys

import pytest

HEAVY = ["torch", "torchvision", "mlflow", "prefect", "great_expectations", "pandas", "dvc"]


def refused(toy, *arguments: str, **variables: str) -> str:
    """Run a command that must end with exit code 2, and return its one line on stderr."""
    ended = toy.call(*arguments, **variables)
    assert ended.returncode == 2, ended.stderr
    assert "Traceback" not in ended.stderr
    lines = ended.stderr.strip().splitlines()
    assert len(lines) == 1, lines
    assert toy.executed() == []
    return lines[0]


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from typer.testing import CliRunner; from flows.__main__ import app\n"
        "result = CliRunner().invoke(app, ['--help']); assert result.exit_code == 0, result.output\n"
        "assert 'run' in result.output and 'serve' in result.output\n"
        f"print(sorted(set({HEAVY}) & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_dry_run_says_why_and_executes_nothing(done):
    done.edit("params.yaml", "images: 1000\n\nstudent", "images: 900\n\nstudent")
    (done.root / "artifacts" / "aside" / "out.txt").unlink()
    ended = done.call("run", "--dry-run")
    assert ended.returncode == 0, ended.stderr
    rows = {line.split()[0]: " ".join(line.split()[1:]) for line in ended.stdout.splitlines() if line.strip()}
    assert rows["first"] == "up to date"
    assert rows["many@a"] == "to run params.yaml: teacher.images 1000 -> 900"
    assert rows["aside"] == "to restore output artifacts/aside/out.txt missing"
    assert rows["last"] == "to run upstream many@a would run; upstream many@b would run"
    assert "5 stages: 1 up to date, 1 to restore, 3 to run" in ended.stdout
    assert done.executed() == []


def test_status_of_a_recipe_that_never_ran(done):
    ended = done.call("status", "--recipe", "small")
    assert ended.returncode == 0
    assert ended.stdout.startswith("nothing has run with these parameters")
    assert json.loads(done.call("status", "--recipe", "small", "--json").stdout) == {"workspace": None, "stages": {}}


def test_status_as_json(done):
    done.edit("params.yaml", "images: 1000\n\nstudent", "images: 900\n\nstudent")
    found = json.loads(done.call("status", "--json").stdout)
    assert found["workspace"] == str(done.root)
    assert found["stages"]["first"] == {"state": "up to date", "why": ""}
    assert found["stages"]["many@a"] == {"state": "to run", "why": "params.yaml: teacher.images 1000 -> 900"}


def test_failed_stage_is_one_line_and_exit_code_2(done, prefect_variable):
    (done.control / "fail-aside").touch()
    ended = done.call("run", "--stage", "aside", "--force")
    assert ended.returncode == 2
    assert ended.stderr.strip() == (
        "ganpress: stage aside failed: aside: the disk is made of cheese "
        "(the outputs of the other stages are kept; fix this and run again)"
    )
    assert "aside | working on aside" in ended.stdout
    assert "1 failed" in ended.stdout


def test_unknown_key_in_params(toy):
    toy.edit("params.yaml", "  min_accuracy: 0.95", "  min_acuracy: 0.95")
    line = refused(toy, "run")
    assert "judge.min_acuracy" in line
    assert "min_accuracy" in line


def test_unknown_key_in_recipe(toy):
    (toy.root / "recipes" / "wrong.yaml").write_text("teacher:\n  pictures: 5\n")
    line = refused(toy, "run", "--recipe", "wrong")
    assert "recipe wrong" in line
    assert "unknown key 'teacher.pictures' (allowed here: images, max_fid_ratio, metric, min_recall)" in line


def test_missing_recipe_names_those_there_are(toy):
    said = refused(toy, "run", "--recipe", "large")
    assert "no recipe 'large'; name one of recipes/ (" in said
    assert " small, smoke," in said  # the project's own, among those that come with ganpress


def test_malformed_setting(toy):
    assert "--set teacher.images: write section.key=value" in refused(toy, "run", "--set", "teacher.images")


def test_unknown_stage(toy):
    assert "no stage 'lost' in dvc.yaml; stages: first, many, aside, last" in refused(toy, "run", "--stage", "lost")


def test_outside_a_project(toy, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    ended = subprocess.run(
        toy.command("status"), cwd=tmp_path / "elsewhere", env=toy.environment(), capture_output=True, text=True
    )
    assert ended.returncode == 2
    assert "no dvc.yaml in" in ended.stderr


@pytest.fixture
def dead_port() -> int:
    """A port of this machine on which nothing listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_prefect_address_that_does_not_answer(toy, dead_port):
    address = f"http://127.0.0.1:{dead_port}/api"
    line = refused(toy, "run", PREFECT_API_URL=address)
    assert f"PREFECT_API_URL={address} does not answer (" in line


def test_mlflow_address_that_does_not_answer(toy, dead_port):
    address = f"http://127.0.0.1:{dead_port}"
    assert address in refused(toy, "run", MLFLOW_TRACKING_URI=address)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], 'give a time: either --cron "0 3 * * *" or --interval SECONDS'),
        (["--cron", "* * * * *", "--interval", "5"], "give a time"),
        (["--interval", "0"], "--interval is 0 s; it must be at least 1 s"),
        (["--cron", "whenever"], "--cron 'whenever' is not a cron expression"),
    ],
)
def test_impossible_schedule(toy, arguments, message):
    assert message in refused(toy, "serve", "--port", "0", *arguments)


def test_port_in_use(toy):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        line = refused(toy, "serve", "--interval", "60", "--port", str(port))
    assert f"port {port} cannot be used" in line
