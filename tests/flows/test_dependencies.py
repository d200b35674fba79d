"""dvc.yaml, tasks/, params.yaml and the imports agree."""

from pathlib import Path

import pytest
import yaml

from flows.source_dependencies import compare_sources, source_closure, write_sources
from ganpress.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def stages():
    entries = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    return {name: entry.get("do", entry) for name, entry in entries.items()}


def _paths(entries):
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries or []]


def test_each_stage_lists_exactly_the_sources_that_it_imports():
    wrong = {
        stage.stage: {"missing": stage.missing, "surplus": stage.surplus}
        for stage in compare_sources(ROOT)
        if stage.missing or stage.surplus
    }
    assert not wrong, f"run `ganpress doctor --fix`: {wrong}"


def test_dvc_tasks_and_params_name_the_same_stages(stages):
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    assert set(stages) == set(params) - {"seed", "data"}
    mains = {path.stem for path in (ROOT / "tasks").glob("*.py") if "stage_main(" in path.read_text()}
    assert mains - {"stage"} == set(stages)
    for name, entry in stages.items():
        # Nothing of params.yaml: DVC gives commands to a shell. The item comes through DVC_STAGE.
        assert entry["cmd"] == f"python -m tasks.{name}"


def test_every_output_lies_below_artifacts(stages):
    for name, entry in stages.items():
        outs = [path for kind in ("outs", "metrics", "plots") for path in _paths(entry.get(kind))]
        assert outs, name
        assert all(path.startswith(f"artifacts/{name}") for path in outs), name


@pytest.fixture
def project(tmp_path):
    files = {
        "tasks/__init__.py": '"""Only words."""\n',
        "tasks/one.py": "from ganpress.tracking import run\nfrom ganpress import top\nimport numpy\n",
        "tasks/two.py": "def work():\n    import ganpress.deep.inner\n",
        "ganpress/__init__.py": "",
        "ganpress/top.py": "import ganpress.progress\nfrom models.net import Net\n",
        "ganpress/progress.py": "import ganpress.hidden\n",
        "ganpress/hidden.py": "",
        "ganpress/tracking/__init__.py": "import ganpress.hidden\n",
        "ganpress/deep/__init__.py": "from ganpress.deep import other\n",
        "ganpress/deep/inner.py": "",
        "ganpress/deep/other.py": "",
        "models/net.py": "",
        "dvc.yaml": "# first words\nstages:\n  one:  # of one\n    cmd: python -m tasks.one\n    deps:\n      - data\n"
        "      - ganpress/gone.py\n    params:\n      - seed\n  two:\n    foreach: ${two.items}\n    do:\n"
        "      cmd: python -m tasks.two ${key}\n      deps:\n        - artifacts/one  # keep me\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_closure_follows_functions_and_packages_but_not_observers(project):
    assert source_closure(project, project / "tasks/one.py") == ("ganpress/top.py", "models/net.py", "tasks/one.py")
    assert source_closure(project, project / "tasks/two.py") == (
        "ganpress/deep/__init__.py",
        "ganpress/deep/inner.py",
        "ganpress/deep/other.py",
        "tasks/two.py",
    )


def test_fix_rewrites_sources_only_and_once(project):
    assert write_sources(project) == ["one", "two"]
    assert write_sources(project) == []
    assert not any(stage.missing or stage.surplus for stage in compare_sources(project))
    text = (project / "dvc.yaml").read_text()
    assert all(comment in text for comment in ("# first words", "# of one", "# keep me"))
    stages = yaml.safe_load(text)["stages"]
    assert stages["one"]["deps"] == ["ganpress/top.py", "models/net.py", "tasks/one.py", "data"]
    assert stages["two"]["do"]["deps"][-1] == "artifacts/one"
    assert stages["two"]["do"]["cmd"] == "python -m tasks.two ${key}"


def test_a_relative_import_is_refused_with_its_place(project):
    (project / "ganpress/top.py").write_text("\nfrom . import hidden\n")
    with pytest.raises(ConfigError, match=r"ganpress/top\.py:2 uses a relative import; write the full name"):
        source_closure(project, project / "tasks/one.py")


def test_a_stage_without_a_module_is_named(project):
    (project / "tasks/two.py").unlink()
    with pytest.raises(ConfigError, match=r"a stage 'two', but tasks/two\.py does not exist"):
        compare_sources(project)
