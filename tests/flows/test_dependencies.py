"""dvc.yaml, tasks/ and params.yaml agree."""

from pathlib import Path

import pytest
import yaml

from ganpress.executed_code.stages import CODE_STAGE

ROOT = Path(__file__).resolve().parents[2]
MAX_LINES = 350


@pytest.fixture(scope="module")
def stages():
    """The stages but for `code`; of a foreach stage what it does."""
    entries = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    return {name: entry.get("do", entry) for name, entry in entries.items() if name != CODE_STAGE}


def _paths(entries):
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries or []]


def test_people_write_dvc_yaml():
    assert len((ROOT / "dvc.yaml").read_text().splitlines()) < MAX_LINES


def test_code_runs_always_and_leaves_its_files_where_they_are():
    entry = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"][CODE_STAGE]
    assert entry == {
        "cmd": "python -m tasks.code",
        "always_changed": True,
        "outs": [{"artifacts/code": {"cache": False, "persist": True}}],
    }


def test_each_stage_depends_on_its_digest_and_on_no_source(stages):
    for name, entry in stages.items():
        deps = _paths(entry["deps"])
        digest = f"artifacts/code/{name}"
        assert [dep for dep in deps if dep.startswith("artifacts/code")] in ([digest], [f"{digest}/${{key}}"]), name
        assert [dep for dep in deps if dep.endswith(".py") or dep.startswith(("ganpress", "models", "tasks"))] == []


def test_dvc_tasks_and_params_name_the_same_stages(stages):
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    assert set(stages) == set(params) - {"seed", "data"}
    mains = {path.stem for path in (ROOT / "tasks").glob("*.py") if '_main("' in path.read_text()}
    assert mains - {"stage"} == set(stages)
    for name, entry in stages.items():
        # Nothing of params.yaml: DVC gives commands to a shell. The item comes through DVC_STAGE.
        assert entry["cmd"] == f"python -m tasks.{name}"


def test_every_output_lies_below_artifacts(stages):
    for name, entry in stages.items():
        outs = [path for kind in ("outs", "metrics", "plots") for path in _paths(entry.get(kind))]
        assert outs, name
        versions = [path for path in outs if path.startswith(f"artifacts/versions/{name}")]
        own = [path for path in outs if path.startswith(f"artifacts/{name}")]
        assert len(versions) == 1, name
        assert len(own) == len(outs) - 1, name
