"""Real stores of a team: two clones, DVC's remote in an S3-compatible server, MLflow on PostgreSQL."""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from flows import team_check
from flows.environment import environment
from flows.team_check import check_team, missing_plugin
from flows.team_file import read_team
from flows.team_setup import set_up
from ganpress.errors import ConfigError

CHECKOUT = Path(__file__).resolve().parents[2]
POSTGRES = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"))), None)
KEYS = {"AWS_ACCESS_KEY_ID": "team", "AWS_SECRET_ACCESS_KEY": "team-secret", "AWS_DEFAULT_REGION": "us-east-1"}
BUCKET = "team"


def git(root, *arguments):
    identity = ["-c", "user.name=toy", "-c", "user.email=toy@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *arguments], cwd=root, check=True, capture_output=True)


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def wait_for(answers, process, seconds=120):
    deadline = time.monotonic() + seconds
    while not answers():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.2)


@contextlib.contextmanager
def started(command, answers, env=None):
    process = subprocess.Popen(command, env={**os.environ, **(env or {})}, start_new_session=True)
    try:
        wait_for(answers, process)
        yield
    finally:
        process.terminate()
        process.wait(30)


def answers_http(address):
    def ask():
        try:
            with urllib.request.urlopen(address, timeout=5):
                return True
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False

    return ask


@pytest.fixture(scope="module")
def store():
    """Address of an S3-compatible server with one bucket."""
    if find_spec("moto") is None or find_spec("dvc_s3") is None:
        pytest.skip("an S3-compatible server needs moto[server] and dvc-s3: uv sync --all-extras")
    import boto3

    port = free_port()
    address = f"http://127.0.0.1:{port}"
    with started([sys.executable, "-m", "moto.server", "-p", str(port)], answers_http(address)):
        boto3.client("s3", endpoint_url=address, aws_access_key_id="team", aws_secret_access_key="team-secret",
                     region_name="us-east-1").create_bucket(Bucket=BUCKET)  # fmt: skip
        yield address


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """Address of a PostgreSQL database; its server refuses to run as root."""
    if POSTGRES is None:
        pytest.skip("there is no PostgreSQL here: apt-get install postgresql")
    folder, port = tmp_path_factory.mktemp("postgres") / "data", free_port()
    as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    folder.mkdir()
    if as_user:
        shutil.chown(folder, "postgres")
        for above in (folder.parent, *folder.parent.parents[:2]):
            above.chmod(above.stat().st_mode | 0o711)
    initdb = [*as_user, str(POSTGRES / "initdb"), "-D", str(folder), "-U", "mlflow", "-A", "trust", "-E", "UTF8"]
    subprocess.run(initdb, check=True, capture_output=True, cwd="/")
    server = [*as_user, str(POSTGRES / "postgres"), "-D", str(folder), "-p", str(port), "-h", "127.0.0.1", "-k", "/tmp"]
    ready = [str(POSTGRES / "pg_isready"), "-h", "127.0.0.1", "-p", str(port), "-q"]
    with started(server, lambda: subprocess.run(ready).returncode == 0):
        yield f"postgresql://mlflow@127.0.0.1:{port}/postgres"


@pytest.fixture(scope="module")
def tracking(store, database):
    """Address of an MLflow server on both."""
    if find_spec("psycopg2") is None:
        pytest.skip("MLflow needs psycopg2-binary for PostgreSQL")
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    env = {**KEYS, "MLFLOW_S3_ENDPOINT_URL": store, "MLFLOW_BACKEND_STORE_URI": database,
           "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # fmt: skip
    command = [sys.executable, "-m", "mlflow", "server", "--artifacts-destination", f"s3://{BUCKET}/mlflow"]
    with started([*command, "--port", str(port), "--workers", "1"], answers_http(f"{address}/health"), env):
        yield address


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("prefect_variable")
def test_two_clones_share_results_runs_and_what_nobody_committed(coded, store, tracking, tmp_path, monkeypatch):
    for name in ("MLFLOW_TRACKING_URI", "GANPRESS_CHECKPOINTS"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("GANPRESS_TRACKING", "direct")
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    shared = tmp_path / "shared"
    git(tmp_path, "init", "--quiet", "--bare", "origin.git")
    git(coded.root, "remote", "add", "origin", str(tmp_path / "origin.git"))
    stores = ("--endpoint", store, "--mlflow", tracking, "--checkpoints", str(shared))
    done = coded.call("remote", "init", f"s3://{BUCKET}/dvc", *stores)
    assert done.returncode == 0, done.stderr
    coded.edit("params.yaml", "images: 1000\n\nstudent", "images: 900\n\nstudent")
    assert coded.call("run").returncode == 0
    assert coded.executed() == ["prepare@a", "prepare@b"]
    assert list(commands_of(coded)) == ["commit", "results"]
    git(coded.root, "add", "--all")
    git(coded.root, "commit", "--quiet", "-m", "a whole run")
    git(coded.root, "push", "--quiet", "origin", "HEAD")
    shell(coded, commands_of(coded)["results"])
    assert commands_of(coded) == {}
    assert {"prepare", "flow"} <= stages_in(tracking)

    # The colleague: what the table says is done, and nothing is executed.
    git(tmp_path, "clone", "--quiet", str(tmp_path / "origin.git"), "colleague")
    colleague = replace(coded, root=tmp_path / "colleague")
    assert list(commands_of(colleague)) == ["results"]
    shell(colleague, commands_of(colleague)["results"])
    assert commands_of(colleague) == {}
    assert "Cached" in colleague.call("run").stdout
    assert colleague.executed() == []
    for path in (coded.root / "artifacts/prepare").rglob("out.txt"):
        assert (colleague.root / path.relative_to(coded.root)).read_bytes() == path.read_bytes()

    # Parameters that nobody committed: the run cache knows what they gave.
    coded.edit("params.yaml", "images: 900\n\nstudent", "images: 800\n\nstudent")
    assert coded.call("run").returncode == 0
    shell(coded, "dvc push --run-cache")
    assert coded.executed() == ["prepare@a", "prepare@b"]
    colleague.edit("params.yaml", "images: 900\n\nstudent", "images: 800\n\nstudent")
    shell(colleague, "dvc fetch --run-cache && dvc repro --pull --allow-missing")
    assert "Cached" in colleague.call("run").stdout
    assert colleague.executed() == []


def commands_of(project):
    """What is missing -> the command that the table shows."""
    done = project.call("remote", "check", COLUMNS="400")
    rows = [re.split(r"\s{2,}", line.strip()) for line in done.stdout.splitlines() if "  error  " in line]
    assert done.returncode == (2 if rows else 0), done.stdout + done.stderr
    return {row[0]: row[-1] for row in rows}


def shell(project, command):
    done = subprocess.run(
        command, shell=True, cwd=project.root, env=project.environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def stages_in(tracking):
    from mlflow import MlflowClient

    client = MlflowClient(tracking)
    experiments = [one.experiment_id for one in client.search_experiments()]
    return {run.info.run_name.partition("@")[0] for run in client.search_runs(experiments)}


def test_what_is_set_up_is_read_by_runs_of_every_clone(done):
    assert set_up(done.root, "store", "team", None, "http://mlflow:5000", str(done.root / "shared")) == [
        ".dvc/config", "team.yaml",
    ]  # fmt: skip
    found = environment(done.root)
    assert found["MLFLOW_TRACKING_URI"] == "http://mlflow:5000"
    assert found["GANPRESS_CHECKPOINTS"] == str(done.root / "shared")
    set_up(done.root, None, "team", None, "https://other")
    assert read_team(done.root).checkpoints == str(done.root / "shared")
    assert f"url = {done.root / 'store'}" in (done.root / ".dvc/config").read_text()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "there is nothing to set up; name DVC's remote, --mlflow or --checkpoints"),
        ({"endpoint": "http://s3"}, "there is nothing to set up"),
        ({"url": "store", "endpoint": "http://s3"}, "--endpoint belongs to a remote s3://BUCKET/FOLDER"),
        (
            {"url": "https://me:secret@host/x"},
            "the remote's address has a login, but it is written to a committed file",
        ),
        ({"url": "store", "name": "a b"}, "--name 'a b' must be letters"),
        ({"mlflow": "mlflow:5000"}, "mlflow must be http://HOST:PORT or https://HOST, without a login"),
        ({"mlflow": "http://me:secret@host"}, "mlflow must be http://HOST:PORT or https://HOST, without a login"),
        ({"checkpoints": "here"}, "checkpoints must be an absolute path"),
        ({"checkpoints": "/proc/here"}, "--checkpoints '/proc/here' cannot be created"),
        ({"url": "gopher://x"}, "DVC does not know this remote"),
    ],
    ids=str,
)
def test_what_is_wrong_is_refused_and_nothing_written(done, given, words):
    before = (done.root / ".dvc/config").read_bytes()
    with pytest.raises(ConfigError, match=words):
        set_up(done.root, **{"url": None, "name": "team", **given})
    assert (done.root / ".dvc/config").read_bytes() == before
    assert not (done.root / "team.yaml").exists()


def test_a_remote_without_its_plugin_names_the_package(monkeypatch):
    monkeypatch.setattr(team_check.importlib.util, "find_spec", lambda name: None)
    assert missing_plugin("s3://bucket/x") == "dvc-s3"
    assert missing_plugin("/mnt/store") is None


def test_the_table_of_a_project_that_shares_nothing(done):
    found = {line.check: line for line in check_team(done.root)}
    assert {name: (line.state, line.command) for name, line in found.items()} == {
        "git": ("error", "git remote add origin URL && git push -u origin HEAD"),
        "commit": ("error", "git add dvc.lock && git commit -m results && git push"),
        "DVC remote": ("error", "ganpress remote init s3://BUCKET/FOLDER"),
        "MLflow": ("error", "ganpress remote init --mlflow http://HOST:5000"),
        "checkpoints": ("error", "ganpress remote init --checkpoints /mnt/FOLDER"),
    }


def test_files_for_slurm_and_kubernetes_are_whole():
    folder = CHECKOUT / "docs/deploy"
    script = (folder / "slurm.sh").read_text()
    assert subprocess.run(["bash", "-n", folder / "slurm.sh"]).returncode == 0
    directives = [line.removeprefix("#SBATCH ") for line in script.splitlines() if line.startswith("#SBATCH")]
    assert len(directives) >= 5
    assert all(re.fullmatch(r"--[a-z-]+=\S+", line) for line in directives)
    job = yaml.safe_load((folder / "kuberay.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    cluster = job["spec"]["rayClusterSpec"]
    pinned = next(one for one in read_lock()["package"] if one["name"] == "ray")
    assert cluster["rayVersion"] == pinned["version"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        (container,) = group["template"]["spec"]["containers"]
        volumes = {volume["name"] for volume in group["template"]["spec"]["volumes"]}
        assert {mount["name"] for mount in container["volumeMounts"]} == volumes
        assert {mount["mountPath"] for mount in container["volumeMounts"]} == {"/project"}
    for command in (script, job["spec"]["entrypoint"]):
        assert "ganpress run --cluster" in command


def read_lock():
    import tomllib

    return tomllib.loads((CHECKOUT / "uv.lock").read_text())
