"""No false "up to date": whatever line a stage really executed, another line there changes the digest of that stage.

The smallest chain runs once under a trace of its lines. Changes are drawn at random from code that was executed, from
all packages in turn. Functions that run only because a module is imported are left out (a stage sees what it names of
what they make), and so are observers with what they call.
"""

import ast
import json
import random
import shutil
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from ganpress.config.base import read_yaml
from ganpress.config.params import merge_overlay
from ganpress.executed_code.digests import StageCode
from ganpress.executed_code.modules import OBSERVERS, Modules
from ganpress.executed_code.stages import CODE_STAGE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
CHANGES = 90
SEED = 20261129
PACKAGES = ("ganpress/", "models/", "tasks/")

# Loaded by each interpreter that starts; a stage's own processes have its DVC_STAGE, too.
TRACE = """
import atexit, json, os, sys, threading
root, stage = os.environ.get("TRACE_ROOT"), os.environ.get("DVC_STAGE")
if root and stage:
    inside = tuple(os.path.join(root, one) for one in ("ganpress", "models", "tasks"))
    lines, loaded = set(), {}

    observers = tuple(os.path.join(root, *one.split(".")) for one in os.environ["TRACE_OBSERVERS"].split())

    def without_effect(frame):
        while frame is not None:
            importing = not frame.f_code.co_flags & 1 and frame.f_globals.get("__name__") != "__main__"
            if importing or frame.f_code.co_filename.startswith(observers):
                return True
            frame = frame.f_back
        return False

    def local(frame, event, argument):
        if event == "line":
            lines.add((frame.f_code.co_filename, frame.f_lineno))
        return local

    def trace(frame, event, argument):
        name = frame.f_code.co_filename
        if not name.startswith(inside) or not frame.f_code.co_flags & 1 or without_effect(frame):
            return None
        return local

    def write():
        sys.settrace(None)
        own = [[os.path.relpath(name, root), line] for name, line in sorted(lines)]
        name = stage.rpartition(":")[2] + "." + str(os.getpid()) + ".json"
        with open(os.path.join(os.environ["TRACE_OUT"], name), "w") as file:
            json.dump(own, file)

    atexit.register(write)
    threading.settrace(trace)
    sys.settrace(trace)
"""


@dataclass(frozen=True)
class Change:
    """Another text in place of a piece of a source line."""

    path: str
    line: int
    start: int
    end: int
    text: str


@pytest.fixture(scope="module")
def traced(tmp_path_factory, clone_checkout, clone_environment, ganpress):
    """(root, stage -> executed lines by file) of a clone in which the smallest chain has run."""
    folder = tmp_path_factory.mktemp("traced")
    root = clone_checkout(folder / "ganpress")
    params = merge_overlay(read_yaml(root / "params.yaml"), read_yaml(root / "recipes" / "smoke.yaml"))
    (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    ganpress(root, "data", "add", "digits")
    (folder / "start").mkdir()
    (folder / "start" / "sitecustomize.py").write_text(TRACE)
    (folder / "lines").mkdir()
    environment = clone_environment(root)
    environment |= {
        "PYTHONPATH": f"{folder / 'start'}:{root}",
        "TRACE_ROOT": str(root),
        "TRACE_OUT": str(folder / "lines"),
        "TRACE_OBSERVERS": " ".join(OBSERVERS),
        "GANPRESS_TRACKING": "off",
    }
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "repro"], cwd=root, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return root, read_trace(folder / "lines")


def read_trace(folder):
    """Stage -> the lines that it executed, observers' and templates' left out."""
    executed = defaultdict(set)
    for file in folder.glob("*.json"):
        stage = file.name.partition(".")[0]
        for path, line in json.loads(file.read_text()) if stage != CODE_STAGE else ():
            if path.endswith(".py") and not Modules.is_observer(path.removesuffix(".py").replace("/", ".")):
                executed[stage].add((path, line))
    return executed


def _digest_name(stage):
    """Name of a stage's digest: `candidate@d2` has its own."""
    name, _, item = stage.partition("@")
    return f"artifacts/code/{name}/{item}" if item else f"artifacts/code/{name}"


def _changes(path, source, lines):
    """All changes of executed lines in functions of one file that make it do something else."""
    tree = ast.parse(source)
    annotations = {
        id(one)
        for node in ast.walk(tree)
        for place in (getattr(node, "annotation", None), getattr(node, "returns", None))
        if isinstance(place, ast.AST)
        for one in ast.walk(place)
    }
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef):
            continue
        for statement in function.body:
            for node in ast.walk(statement):
                if id(node) in annotations or getattr(node, "lineno", 0) not in lines:
                    continue
                text = _other(node)
                if text is not None and node.lineno == node.end_lineno:
                    yield Change(path, node.lineno, node.col_offset, node.end_col_offset, text)


def _other(node):
    """What does something else than a node; None for nodes that are left as they are."""
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return repr(node.value + 1)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub | ast.Mult):
        operator = "-" if isinstance(node.op, ast.Add) else "+"
        return f"({ast.unparse(node.left)} {operator} {ast.unparse(node.right)})"
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        return f"(not ({ast.unparse(node)}))"
    if isinstance(node, ast.Call) and node.args and not isinstance(node.args[0], ast.Starred | ast.GeneratorExp):
        return f"{ast.unparse(node.func)}({ast.unparse(node.args[0])})" if len(node.args) > 1 else None
    if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
        return f"{ast.unparse(node.value)}.something_else"
    return None


def _apply(root, change):
    path = root / change.path
    lines = path.read_bytes().splitlines(keepends=True)
    line = lines[change.line - 1]
    lines[change.line - 1] = line[: change.start] + change.text.encode() + line[change.end :]
    path.write_bytes(b"".join(lines))


@pytest.fixture(scope="module")
def drawn(traced):
    return draw_changes(*traced)


def draw_changes(root, executed):
    """Changes drawn at random, from each package in turn, each with the stages that executed its line."""
    lines = defaultdict(set)
    for places in executed.values():
        for path, line in places:
            lines[path].add(line)
    draw = random.Random(SEED)
    by_package = defaultdict(list)
    for path in sorted(lines):
        by_package[str(Path(path).parent)] += _changes(path, (root / path).read_text(), lines[path])
    for changes in by_package.values():
        draw.shuffle(changes)
    found = []
    while len(found) < CHANGES and any(by_package.values()):
        found += [changes.pop() for changes in by_package.values() if changes]
    return [(one, {stage for stage in executed if (one.path, one.line) in executed[stage]}) for one in found]


def test_the_trace_saw_the_whole_chain(traced, drawn):
    root, executed = traced
    assert {_digest_name(stage) for stage in executed} == set(StageCode(root).paths)
    assert len(drawn) >= 60
    packages = {str(Path(path).parent) for places in executed.values() for path, _ in places}
    assert {str(Path(one.path).parent) for one, _ in drawn} == packages
    assert len(packages) >= 12


def test_each_change_of_executed_code_changes_the_digest_of_whoever_executes_it(traced, drawn, tmp_path):
    root, _ = traced
    copy = tmp_path / "copy"
    for package in PACKAGES:
        shutil.copytree(root / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(root / name, copy)
    before = _digests(copy)
    missed = {}
    for change, stages in drawn:
        source = (copy / change.path).read_bytes()
        _apply(copy, change)
        now = _digests(copy)
        (copy / change.path).write_bytes(source)
        blind = {stage for stage in stages if now[_digest_name(stage)] == before[_digest_name(stage)]}
        if blind:
            missed[f"{change.path}:{change.line} {change.text}"] = sorted(blind)
    assert missed == {}


def test_each_executed_line_belongs_to_a_definition_that_counts(traced):
    """All executed lines, not a sample: the statement that holds one is among those that count for its stage."""
    root, executed = traced
    code = StageCode(root)
    missed = defaultdict(set)
    for stage, places in executed.items():
        counted = defaultdict(set)
        for node in code.reached(_digest_name(stage)).nodes:
            statement = code.modules[node.module].statements[node.statement]
            counted[code.modules.path_of(node.module)].update(statement.binds)
        for path, line in places:
            names = _definition_at(root / path, line)
            if names and not names & counted[path]:
                missed[f"{path}:{line}"].add(stage)
    assert dict(missed) == {}


def _definition_at(path, line):
    """Names that the top-level statement at a line binds; empty for others, e.g. `if __name__ == "__main__"`."""
    for node in ast.parse(path.read_text()).body:
        if node.lineno <= line <= node.end_lineno or any(
            one.lineno <= line <= one.end_lineno for one in getattr(node, "decorator_list", ())
        ):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                return {node.name}
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            return {one.id for one in targets if isinstance(one, ast.Name)}
    return set()


def _digests(root):
    code = StageCode(root)
    found = {path: code.reached(path).digest for path in code.paths}
    code.save()
    return found
