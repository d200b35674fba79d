"""A toy DVC project that counts what it executes, and one Prefect server for all tests of flows."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flows.console import StageResult
from flows.environment import environment

if TYPE_CHECKING:
    from flows.prefect_server import PrefectServer

CHECKOUT = Path(__file__).resolve().parents[2]

DVC_YAML = """\
stages:
  first:
    cmd: python step.py first raw.txt
    deps: [step.py, raw.txt]
    params: [seed]
    outs: [artifacts/first/out.txt]
  many:
    foreach: {a: {n: 1}, b: {n: 2}}
    do:
      cmd: python step.py many/${key} artifacts/first/out.txt
      deps: [step.py, many.py, artifacts/first/out.txt]
      params: [teacher.images]
      outs:
        - artifacts/many/${key}/out.txt
  aside:
    cmd: python step.py aside artifacts/first/out.txt
    deps: [step.py, artifacts/first/out.txt]
    outs: [artifacts/aside/out.txt]
  last:
    cmd: python step.py last artifacts/many/a/out.txt artifacts/many/b/out.txt
    deps: [step.py, artifacts/many]
    params: [report.title]
    outs: [artifacts/last/out.txt]
    metrics: [artifacts/last/metrics.json]
"""

# Writes its name to a log outside the outs, so executions can be counted; behaves as the control files beside say.
STEP = """\
import os, pathlib, sys, time
import yaml
name, *inputs = sys.argv[1:]
control = pathlib.Path(os.environ["TOY_CONTROL"])
with open(control / "log.txt", "a") as log:
    log.write(name + "\\n")
print("working on", name)
while (control / "hold").exists():
    time.sleep(0.05)
out = pathlib.Path("artifacts", name)
out.mkdir(parents=True, exist_ok=True)
params = yaml.safe_load(open("params.yaml"))
text = name + str(params["teacher"]["images"]) + "".join(pathlib.Path(path).read_text() for path in inputs)
(out / "out.txt").write_text(text)
if (control / ("fail-" + name.replace("/", "-"))).exists():
    print("a line before", file=sys.stderr)
    sys.exit(f"{name}: the disk is made of cheese")
if name == "last":
    (out / "metrics.json").write_text('{"length": %d}' % len(text))
"""


CODED_YAML = """\
stages:
  code:
    cmd: python -m tasks.code
    always_changed: true
    outs:
      - artifacts/code:
          cache: false
          persist: true
  validate:
    cmd: python -m tasks.validate
    deps: [artifacts/code/validate, raw.txt]
    params: [seed]
    outs: [artifacts/versions/validate.json, artifacts/validate/out.txt]
  prepare:
    foreach: {a: {n: 1}, b: {n: 2}}
    do:
      cmd: python -m tasks.prepare
      deps: ["artifacts/code/prepare/${key}", artifacts/validate/out.txt]
      params: [teacher.images]
      outs: ["artifacts/versions/prepare/${key}.json", "artifacts/prepare/${key}/out.txt"]
"""

# As STEP, but through the seam of all stages.
CODED_STAGE = """\
import os, pathlib, time
from tasks.parts import text_of
from tasks.shared.stage import stage_main

def work(stage, run):
    control = pathlib.Path(os.environ["TOY_CONTROL"])
    with open(control / "log.txt", "a") as log:
        log.write(stage.label + "\\n")
    while (control / "hold").exists():
        time.sleep(0.05)
    (stage.out / "out.txt").write_text(text_of(stage.name, stage.params["teacher"]["images"]))

if __name__ == "__main__":
    raise SystemExit(stage_main("NAME", work))
"""

CODED_PARTS = """\
# Of both stages.
def text_of(stage, images):
    '''Words.'''
    return prefix() + stage + str(images if stage == "prepare" else 0)

def prefix():
    return "made by "

def unused():
    return 1
"""


@dataclass(frozen=True)
class Toy:
    """A small chain below `root`: first -> (many@a, many@b) -> last, and first -> aside."""

    root: Path
    control: Path

    def executed(self) -> list[str]:
        """Names of the steps executed since the last call, sorted."""
        log = self.control / "log.txt"
        names = sorted(log.read_text().split()) if log.exists() else []
        log.unlink(missing_ok=True)
        return names

    def run(self, **options: object) -> dict[str, str]:
        """Run the real flow in this process and return each stage's outcome; the error of a failed run is raised."""
        from flows.pipeline import ganpress_pipeline

        results: list[StageResult] = ganpress_pipeline(**options, return_state=True).result()
        return {result.stage: result.outcome for result in results}

    def command(self, *arguments: str) -> list[str]:
        """Arguments that start the command line in a process of its own."""
        return [sys.executable, "-m", "flows", *arguments]

    def environment(self) -> dict[str, str]:
        """Environment for that, which must find the package from the toy's folder."""
        return {**os.environ, "PYTHONPATH": str(CHECKOUT)}

    def call(self, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        """Run the command line to its end."""
        env = {**self.environment(), **variables}
        return subprocess.run(self.command(*arguments), cwd=self.root, env=env, capture_output=True, text=True)

    def dvc(self, *arguments: str) -> None:
        """Run dvc itself."""
        command = [sys.executable, "-m", "dvc", *arguments]
        ended = subprocess.run(command, cwd=self.root, capture_output=True, text=True)
        assert ended.returncode == 0, ended.stdout + ended.stderr

    def edit(self, name: str, old: str, new: str) -> None:
        """Replace text in a file of the project."""
        path = self.root / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))


def git(root: Path, *arguments: str) -> None:
    """Run git without the user's settings."""
    identity = ["-c", "user.name=toy", "-c", "user.email=toy@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *arguments], cwd=root, check=True, capture_output=True)


@pytest.fixture(scope="session")
def toy_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy project, committed and never run."""
    root = tmp_path_factory.mktemp("template") / "toy"
    root.mkdir()
    shutil.copy(CHECKOUT / "params.yaml", root)
    (root / "dvc.yaml").write_text(DVC_YAML)
    (root / "step.py").write_text(STEP)
    (root / "many.py").write_text("FACTOR = 2\n")
    (root / "raw.txt").write_text("raw\n")
    (root / ".gitignore").write_text("/artifacts/\n/.ganpress/\n/.prefect/\n/mlflow/\n")
    (root / "recipes").mkdir()
    (root / "recipes" / "small.yaml").write_text("teacher:\n  images: 500\n")
    git(root, "init", "--quiet")
    subprocess.run([sys.executable, "-m", "dvc", "init", "--quiet"], cwd=root, check=True)
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "-m", "toy")
    return root


@pytest.fixture(scope="session")
def done_template(toy_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy project after a whole `dvc repro`."""
    folder = tmp_path_factory.mktemp("done")
    shutil.copytree(toy_template, folder / "toy", symlinks=True)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    env = {**os.environ, "PATH": path, "TOY_CONTROL": str(folder)}
    subprocess.run([sys.executable, "-m", "dvc", "repro", "--quiet"], cwd=folder / "toy", env=env, check=True)
    return folder / "toy"


def make_toy(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toy:
    """Copy a template, make it the working directory, and give it the environment of a run."""
    root, control = tmp_path / "toy", tmp_path / "control"
    shutil.copytree(template, root, symlinks=True)
    control.mkdir()
    monkeypatch.chdir(root)
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    for name, value in environment(root).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TOY_CONTROL", str(control))
    monkeypatch.setenv("GANPRESS_TRACKING", "off")
    return Toy(root, control)


@pytest.fixture(scope="session")
def coded_template(toy_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose stages depend on digests of their code, after a whole `dvc repro`."""
    folder = tmp_path_factory.mktemp("coded")
    root = folder / "toy"
    shutil.copytree(toy_template, root, symlinks=True)
    (root / "tasks").mkdir()
    for name in ("__init__.py", "code.py"):
        shutil.copy(CHECKOUT / "tasks" / name, root / "tasks")
    shutil.copytree(CHECKOUT / "tasks/shared", root / "tasks/shared", ignore=shutil.ignore_patterns("__pycache__"))
    for stage in ("validate", "prepare"):
        (root / "tasks" / f"{stage}.py").write_text(CODED_STAGE.replace("NAME", stage))
    (root / "tasks" / "parts.py").write_text(CODED_PARTS)
    (root / "dvc.yaml").write_text(CODED_YAML)
    (root / ".gitignore").write_text((root / ".gitignore").read_text() + "__pycache__/\n")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    ours = {"PATH": path, "PYTHONPATH": str(CHECKOUT), "TOY_CONTROL": str(folder), "GANPRESS_TRACKING": "off"}
    command = [sys.executable, "-m", "dvc", "repro", "--quiet"]
    subprocess.run(command, cwd=root, env={**os.environ, **ours}, check=True)
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "-m", "stages with digests")
    return root


@pytest.fixture
def coded(coded_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toy:
    """A copy of that project, in which everything is up to date."""
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))
    return make_toy(coded_template, tmp_path, monkeypatch)


@pytest.fixture(scope="session", autouse=True)
def bytecode(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let the many interpreters that these tests start share what they compile, also where nothing may be written."""
    with pytest.MonkeyPatch.context() as patch:
        if os.environ.get("PYTHONDONTWRITEBYTECODE"):
            patch.delenv("PYTHONDONTWRITEBYTECODE")
            patch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path_factory.mktemp("pycache")))
        yield


@pytest.fixture(autouse=True)
def no_standing_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start from a machine on which nobody has named a Prefect server."""
    monkeypatch.delenv("PREFECT_API_URL", raising=False)


@pytest.fixture
def toy(toy_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toy:
    """A fresh copy of the toy project, never run, as the working directory."""
    return make_toy(toy_template, tmp_path, monkeypatch)


@pytest.fixture
def done(done_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toy:
    """A copy of the toy project in which everything is up to date."""
    return make_toy(done_template, tmp_path, monkeypatch)


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator["PrefectServer"]:
    """A server that stands for the whole session."""
    from flows.prefect_server import local_prefect

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_HOME", str(tmp_path_factory.mktemp("prefect")))
        patch.setenv("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
        patch.setenv("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
        patch.delenv("PREFECT_API_URL", raising=False)
        with local_prefect() as server:
            from prefect.context import refresh_global_settings_context

            assert server is not None
            server.wait_until_ready()
            refresh_global_settings_context()  # Prefect may have been imported before
            for name in ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING"):
                patch.delenv(name)  # other tests want to know nothing of it
            yield server


@pytest.fixture
def prefect_api(prefect_server: "PrefectServer", tmp_path: Path) -> Iterator[str]:
    """Let this process use the session's server, with result records of this test alone."""
    from prefect.settings import PREFECT_HOME, PREFECT_LOCAL_STORAGE_PATH, temporary_settings

    home = tmp_path / "prefect"
    with temporary_settings({PREFECT_HOME: home, PREFECT_LOCAL_STORAGE_PATH: home / "storage"}):
        yield prefect_server.api_url


@pytest.fixture
def prefect_variable(prefect_api: str, prefect_server: "PrefectServer", monkeypatch: pytest.MonkeyPatch) -> str:
    """The same for processes that a test starts."""
    monkeypatch.setenv("PREFECT_API_URL", prefect_api)
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", prefect_server.secret)
    return prefect_api
