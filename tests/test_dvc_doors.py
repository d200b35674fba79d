"""The chain by DVC's commands: `dvc repro`, `dvc exp run` and the diffs work on the stages that the flow runs."""

import csv
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from ganpress.config.base import read_yaml
from ganpress.config.params import merge_overlay
from ganpress.executed_code.stages import CODE_STAGE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
FAMILIES = ("candidate", "student", "control", "compress", "export")
UPSTREAM_OF_TEACHER = {"validate", "prepare", "judge", "candidate@d2", "candidate@d3", "teacher"}
EXPERIMENT = "six-bits"
SETTING = "compress.items.subnet-int8.weight_bits"
RUN_NAMES = """
import json, mlflow
client = mlflow.MlflowClient()
ids = [one.experiment_id for one in client.search_experiments() if one.name == "ganpress"]
runs = client.search_runs(ids, max_results=500)
print(json.dumps([[run.info.run_name, run.info.status] for run in runs]))
"""


@dataclass(frozen=True)
class Clone:
    """A clone whose params.yaml is the smoke recipe's, and how commands run in it."""

    root: Path
    environment: dict[str, str]

    def run(self, *command: str, **variables: str) -> str:
        """Run a command and return what it printed on stdout."""
        done = subprocess.run(
            command, cwd=self.root, env=self.environment | variables, capture_output=True, text=True, timeout=900
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    def dvc(self, *arguments: str) -> str:
        return self.run(sys.executable, "-m", "dvc", *arguments)

    def git(self, *arguments: str) -> str:
        return self.run("git", "-c", "user.name=Test", "-c", "user.email=test@example.org", *arguments)

    def stages(self) -> set[str]:
        """Names of all stages, the items of families included."""
        params = read_yaml(self.root / "params.yaml")
        single = set(read_yaml(self.root / "dvc.yaml")["stages"]) - {CODE_STAGE, *FAMILIES}
        return single | {f"{stage}@{item}" for stage in FAMILIES for item in params[stage]["items"]}

    def locked(self) -> set[str]:
        """Stages whose results dvc.lock records, digests of code apart."""
        return set(read_yaml(self.root / "dvc.lock")["stages"]) - {CODE_STAGE}

    def tracked_runs(self) -> list[tuple[str, str]]:
        """Name and status of every MLflow run in the store beside the checkout, asked for from elsewhere."""
        store = f"sqlite:///{self.root}/mlflow/tracking.db"
        printed = self.run(sys.executable, "-c", RUN_NAMES, MLFLOW_TRACKING_URI=store)
        return [(name, status) for name, status in json.loads(printed.strip().splitlines()[-1])]


@pytest.fixture(scope="module")
def clone(tmp_path_factory, clone_checkout, clone_environment, ganpress):
    """The clone with the digits in it, committed, nothing run."""
    root = clone_checkout(tmp_path_factory.mktemp("doors") / "ganpress")
    params = merge_overlay(read_yaml(root / "params.yaml"), read_yaml(root / "recipes" / "smoke.yaml"))
    (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    clone = Clone(root, clone_environment(root))
    for name, value in (("user.name", "Test"), ("user.email", "test@example.org")):  # `dvc exp run` commits
        clone.git("config", name, value)
    ganpress(root, "data", "add", "digits")
    clone.git("add", "--all")
    clone.git("commit", "--quiet", "-m", "smoke parameters")
    return clone


@pytest.fixture(scope="module")
def teacher(clone):
    """After `dvc repro teacher`: what it printed, what dvc.lock recorded."""
    return clone.dvc("repro", "teacher"), clone.locked()


@pytest.fixture(scope="module")
def chain(clone, teacher):
    """After `dvc repro`, committed: what it printed, and MLflow's runs, before any flow has run."""
    printed = clone.dvc("repro")
    clone.git("add", "--all")
    clone.git("commit", "--quiet", "-m", "the whole chain")
    return printed, clone.tracked_runs()


@pytest.fixture(scope="module")
def experiment(clone, chain):
    """After an experiment on one late stage."""
    return clone.dvc("exp", "run", "--name", EXPERIMENT, "-S", f"{SETTING}=6", "compress@subnet-int8")


@pytest.mark.parametrize("arguments", [(), ("--mermaid",)])
def test_the_graph_names_all_stages(clone, arguments):
    printed = clone.dvc("dag", *arguments)
    assert {stage for stage in clone.stages() if stage not in printed} == set()


def test_repro_of_the_teacher_runs_what_it_needs_and_no_more(teacher):
    printed, locked = teacher
    assert locked == UPSTREAM_OF_TEACHER
    assert all(f"Running stage '{stage}'" in printed for stage in locked)


def test_repro_of_the_chain_runs_the_rest(clone, chain):
    printed, _ = chain
    assert clone.locked() == clone.stages()
    again = {stage for stage in UPSTREAM_OF_TEACHER if f"Running stage '{stage}'" in printed}
    assert again == set()
    assert "ganpress: smoke" in (clone.root / "artifacts" / "report" / "report.html").read_text(encoding="utf-8")


def test_the_store_has_the_runs_that_dvc_alone_executed(clone, chain):
    _, runs = chain
    assert sorted(runs) == sorted((stage, "FINISHED") for stage in clone.stages())


def test_the_flow_executes_nothing_after_dvc(clone, chain, ganpress):
    artifacts = [path for path in (clone.root / "artifacts").rglob("*") if path.is_file()]
    before = {path: path.stat().st_mtime_ns for path in artifacts}
    printed = ganpress(clone.root, "run").stdout
    count = len(clone.stages())
    assert printed.count("Cached") >= count, printed
    assert f"{count} stages: {count} " in printed
    assert " ran" not in printed.splitlines()[-2]
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_an_experiment_runs_one_stage_with_another_parameter(clone, experiment):
    assert "Running stage 'compress@subnet-int8'" in experiment
    assert experiment.count("Running stage") == 2
    assert "Running stage 'code'" in experiment
    record = json.loads((clone.root / "artifacts/compress/subnet-int8/compression.json").read_text(encoding="utf-8"))
    assert record["weight_bits"] == 6


def test_params_diff_shows_the_one_that_changed(clone, experiment):
    changes = json.loads(clone.dvc("params", "diff", "--json"))
    assert changes == {"params.yaml": {SETTING: {"old": 8, "new": 6, "diff": -2}}}


def test_metrics_diff_shows_what_it_did(clone, experiment):
    changes = json.loads(clone.dvc("metrics", "diff", "--json"))
    assert set(changes) == {"artifacts/compress/subnet-int8/metrics.json"}
    snr_db = changes["artifacts/compress/subnet-int8/metrics.json"]["snr_db"]
    assert snr_db["new"] < snr_db["old"]


def test_the_table_of_experiments_shows_it(clone, experiment):
    rows = list(csv.DictReader(clone.dvc("exp", "show", "--csv").splitlines()))
    (row,) = (row for row in rows if row["Experiment"] == EXPERIMENT)
    assert row[SETTING] == "6"
    assert any(name.endswith("snr_db") and value for name, value in row.items())
