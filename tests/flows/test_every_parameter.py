"""Every parameter, changed alone: DVC runs exactly the stages that declare it, and restores no result of another value.

The graph is the real dvc.yaml and the values are the real params.yaml. The commands are replaced by one that writes
down the parameters of its stage, so that each output says which values it was made with.
"""

import contextlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ganpress.config.params import Params
from ganpress.executed_code.stages import CODE_FOLDER, CODE_STAGE

CHECKOUT = Path(__file__).resolve().parents[2]

RECORD = """\
import json, os, pathlib
stage = json.load(open(os.environ["PLAN"]))[os.environ["DVC_STAGE"]]
log = open(os.environ["PLAN"] + ".log", "a")
log.write(os.environ["DVC_STAGE"] + "\\n")
content = json.load(open("params.json"))
def find(dotted):
    value = content
    for key in dotted.split("."):
        value = value[key]
    return value
made = json.dumps({name: find(name) for name in stage["params"]}, sort_keys=True)
for out in stage["outs"]:
    path = pathlib.Path(out)
    if path.suffix:
        path.parent.mkdir(parents=True, exist_ok=True)
    else:
        path.mkdir(parents=True, exist_ok=True)
        path = path / "made.json"
    path.write_text(made)
"""


def read_params() -> dict:
    """params.yaml with every default written out, so that parameters that it leaves away are changed, too."""
    return Params.model_validate(yaml.safe_load((CHECKOUT / "params.yaml").read_text())).model_dump(
        mode="json", by_alias=True
    )


def leaves(content: object, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Paths of all values that are no mapping."""
    if not isinstance(content, dict):
        return [path]
    return [leaf for key, value in content.items() for leaf in leaves(value, (*path, key))]


ALL = read_params()
LEAVES = [leaf for leaf in leaves(ALL) if leaf[0] != "data" and leaf[-1] != "generator"]
"""A changed `generator` is another graph, and the data section is DVC's only in the report; data.dvc follows it."""


def changed(value: object) -> object:
    """Another value that DVC can tell from this one; whether it makes sense is not asked."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, list):
        return [*value, value[-1]] if value and not isinstance(value[-1], str) else [*value, "more"]
    return 1 if value is None else f"{value}-other"


class Recorded:
    """A project whose stages write down what they were told."""

    def __init__(self, root: Path) -> None:
        self.root, self.content = root, json.loads(json.dumps(ALL))

    def write(self) -> None:
        text = json.dumps(self.content)
        (self.root / "params.yaml").write_text(text)  # JSON is YAML
        (self.root / "params.json").write_text(text)

    def plan(self) -> dict[str, dict[str, list[str]]]:
        """Of each stage: the parameters that it declares, and its outputs."""
        from dvc.repo import Repo

        with Repo(str(self.root)) as repo:
            return {
                stage.name: {
                    "params": [one for dep in stage.deps for one in getattr(dep, "params", [])],
                    "outs": [out.def_path for out in stage.outs],
                }
                for stage in repo.index.stages
                if stage.cmd
            }

    def changed_stages(self, repo: object) -> set[str]:
        """Stages that DVC would run because of their own parameters."""
        params = [(stage.name, dep) for stage in repo.index.stages for dep in stage.deps if hasattr(dep, "params")]
        return {name for name, dep in params if dep.workspace_status()}

    def reproduce(self, *stages: str) -> list[str]:
        """`dvc repro`, of these stages alone if there are any; returns those that were executed, not the restored ones.

        In this process, since starting DVC takes longer than all that is asked of it, and there are hundreds of calls.
        """
        from dvc.repo import Repo

        log = self.root / "plan.json.log"
        log.unlink(missing_ok=True)
        with contextlib.chdir(self.root), Repo(str(self.root)) as repo:
            repo.reproduce(list(stages) or None, single_item=bool(stages))
        return log.read_text().split() if log.exists() else []

    def made_with(self, stage: dict[str, list[str]]) -> dict[str, object]:
        """What the first output of a stage says."""
        path = self.root / stage["outs"][0]
        return json.loads((path if path.is_file() else path / "made.json").read_text())


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """The project after a whole run."""
    root = tmp_path_factory.mktemp("recorded")
    content = yaml.safe_load((CHECKOUT / "dvc.yaml").read_text())
    del content["stages"][CODE_STAGE]
    for entry in content["stages"].values():
        body = entry.get("do", entry)
        body["cmd"] = f"{sys.executable} -I -S record.py"
        body["deps"] = [dep for dep in body.get("deps", []) if not dep.startswith(CODE_FOLDER)]
        body["deps"] = [dep for dep in body["deps"] if not dep.startswith(("data", "${candidate.imported}"))]
    (root / "dvc.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    (root / "record.py").write_text(RECORD)
    for command in (["git", "init", "--quiet"], [sys.executable, "-m", "dvc", "init", "--quiet"]):
        subprocess.run(command, cwd=root, check=True)
    project = Recorded(root)
    project.write()
    plan = project.plan()
    (root / "plan.json").write_text(json.dumps(plan))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLAN", str(root / "plan.json"))
        assert sorted(project.reproduce()) == sorted(plan)
        yield project


def covers(declared: str, leaf: tuple[str, ...]) -> bool:
    parts = tuple(declared.split("."))
    return leaf[: len(parts)] == parts


def with_changed(content: dict, leaf: tuple[str, ...]) -> dict:
    *parents, last = leaf
    copy = json.loads(json.dumps(content))
    place = copy
    for key in parents:
        place = place[key]
    place[last] = changed(place[last])
    return copy


@pytest.mark.slow  # two minutes of CPU
def test_every_parameter_is_a_reason_for_exactly_the_stages_that_declare_it(recorded):
    from dvc.repo import Repo

    plan, wrong = recorded.plan(), {}
    with Repo(str(recorded.root)) as repo:
        for leaf in LEAVES:
            recorded.content = with_changed(ALL, leaf)
            recorded.write()
            expected = {name for name, stage in plan.items() if any(covers(one, leaf) for one in stage["params"])}
            assert expected, f"no stage reads {'.'.join(leaf)}"
            found = recorded.changed_stages(repo)
            if found != expected:
                wrong[".".join(leaf)] = sorted(found ^ expected)
    recorded.content = ALL
    recorded.write()
    assert wrong == {}
    assert len(LEAVES) > 150


def groups(readers: dict[tuple[str, ...], list[str]]) -> list[list[tuple[str, ...]]]:
    """Parameters of which no stage reads two: changed together, each is changed alone for whoever reads it.

    But for the report, which reads all of them.
    """
    found: list[tuple[list[tuple[str, ...]], set[str]]] = []
    for leaf, every in readers.items():
        names = set(every) - {"report"}
        for leaves_of, taken in found:
            if taken.isdisjoint(names):
                leaves_of.append(leaf)
                taken.update(names)
                break
        else:
            found.append(([leaf], names))
    return [leaves_of for leaves_of, _ in found]


@pytest.mark.slow  # minutes of CPU
@pytest.mark.timeout(3600)
def test_no_parameters_value_is_restored_for_another(recorded):
    """With a warm run cache: there and back, twice; every output was made with the value that is set."""
    plan = recorded.plan()
    readers = {
        leaf: [name for name, stage in plan.items() if any(covers(one, leaf) for one in stage["params"])]
        for leaf in LEAVES
    }
    for group in groups(readers):
        told_something = {name for leaf in group for name in readers[leaf]}
        names = [name for name in plan if name in told_something]  # a stage behind those that it reads
        other = ALL
        for leaf in group:
            other = with_changed(other, leaf)
        for content, may_run in ((other, True), (ALL, False), (other, False), (ALL, False)):
            recorded.content = content
            recorded.write()
            ran = recorded.reproduce(*names)
            assert sorted(ran) == (sorted(names) if may_run else []), group
            for name in names:
                told = {one: _find(content, one) for one in plan[name]["params"]}
                assert recorded.made_with(plan[name]) == told, (group, name)
    recorded.content = ALL
    recorded.write()
    recorded.reproduce()


def _find(content: object, dotted: str) -> object:
    for key in dotted.split("."):
        content = content[key]
    return content


def test_a_parameter_with_a_name_that_dvc_leaves_out_would_be_restored_for_another(tmp_path):
    """Why no parameter may be called so: the run cache takes two values for one (treeverse/dvc#10296)."""
    root = tmp_path / "stale"
    root.mkdir()
    stage = {"cmd": "cp params.yaml out.txt", "deps": ["in.txt"], "params": ["p"], "outs": ["out.txt"]}
    for name in ("size", "image_size"):
        (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"one": stage}}))
        (root / "in.txt").write_text("in")
        for command in (["git", "init", "--quiet"], [sys.executable, "-m", "dvc", "init", "--quiet", "--force"]):
            subprocess.run(command, cwd=root, check=True)
        for value in (32, 64):
            (root / "params.yaml").write_text(f"p: {{{name}: {value}}}\n")
            subprocess.run([sys.executable, "-m", "dvc", "repro", "--quiet"], cwd=root, check=True)
        # If this fails for `size`, DVC has fixed it and the guard on names can go.
        assert (root / "out.txt").read_text() == f"p: {{{name}: {32 if name == 'size' else 64}}}\n"
        shutil.rmtree(root / ".dvc")
        (root / "dvc.lock").unlink()
