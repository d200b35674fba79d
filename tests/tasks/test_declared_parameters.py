"""Every parameter that a stage reads is one that dvc.yaml declares for it, seen while all stages really run."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from flows.data_source import ensure_data
from flows.dvc_graph import read_graph
from ganpress.config.base import Section, read_yaml
from ganpress.config.data_section import DataConfig
from ganpress.config.params import merge_overlay
from tasks.shared import item_generators, stage, subjects
from tasks.shared.stage import Stage, stage_main

RECIPES = ("smoke", "smoke_paired", "smoke_unpaired", "smoke_semantic")


class Reads:
    """Which fields of which sections were read, as `section.field`."""

    def __init__(self) -> None:
        self.found: set[str] = set()
        self._paths: dict[int, str] = {}
        self._alive: list[Section] = []

    def follow(self, section: Section, path: str) -> Section:
        """Note every later read of a value below `section`."""
        self._alive.append(section)  # else another object could get its number
        self._paths[id(section)] = path
        for name in type(section).model_fields:
            value = object.__getattribute__(section, name)
            for key, one in value.items() if isinstance(value, dict) else [("", value)]:
                if isinstance(one, Section):
                    self.follow(one, ".".join(filter(None, (path, name, key))))
        return section

    def note(self, section: Section, name: str, value: object) -> None:
        path = self._paths.get(id(section))
        holds_sections = isinstance(value, Section) or (
            isinstance(value, dict) and any(isinstance(one, Section) for one in value.values())
        )
        if path is not None and name in type(section).model_fields and not holds_sections:
            self.found.add(f"{path}.{name}")


@pytest.fixture
def reads(monkeypatch) -> Reads:
    """What stages of this process read; their checks of stale inputs look at more than they use, and are left out."""
    reads = Reads()
    section_of, get = Stage.section, Section.__getattribute__

    def section(self: Stage, kind: type[Section], name: str | None = None) -> Section:
        return reads.follow(section_of(self, kind, name), name or self.name)

    def getattribute(self: Section, name: str) -> object:
        value = get(self, name)
        if not name.startswith(("_", "model_")):
            reads.note(self, name, value)
        return value

    monkeypatch.setattr(Stage, "section", section)
    monkeypatch.setattr(Section, "__getattribute__", getattribute)
    monkeypatch.setattr(stage, "check_inputs", lambda _stage: None)
    for module in (item_generators, subjects):
        monkeypatch.setattr(module, "check_item", lambda *_: None)
    return reads


def declared(root: Path) -> dict[str, list[str]]:
    from dvc.repo import Repo

    with Repo(str(root)) as repo:
        return {
            one.name: [name for dep in one.deps for name in getattr(dep, "params", [])]
            for one in repo.index.stages
            if one.cmd
        }


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("recipe", RECIPES)
def test_every_stage_declares_what_it_reads(recipe, reads, clone_checkout, tmp_path, monkeypatch):
    root = clone_checkout(tmp_path / "ganpress")
    overlay = yaml.safe_load((root / "recipes" / f"{recipe}.yaml").read_text())
    content = merge_overlay(read_yaml(root / "params.yaml"), overlay)
    (root / "params.yaml").write_text(yaml.safe_dump(content))
    ensure_data(root, DataConfig(source=content["data"]["source"]), replace=True)
    monkeypatch.chdir(root)
    monkeypatch.setenv("GANPRESS_TRACKING", "off")
    monkeypatch.setenv("GANPRESS_THREADS", "1")
    monkeypatch.setenv("GANPRESS_CHECKPOINTS", str(root / ".ganpress" / "checkpoints"))
    # This process is older than the clone, whose files would count as edited while it started.
    subprocess.run([sys.executable, "-m", "tasks.code"], check=True)
    wrong = {}
    may_read = declared(root)
    for name in read_graph(root).names():
        family, _, item = name.partition("@")
        reads.found.clear()
        monkeypatch.setattr(sys, "argv", [family, *([item] if item else [])])
        assert stage_main(family, importlib.import_module(f"tasks.{family}").work) == 0, name
        undeclared = [
            one for one in sorted(reads.found) if not any(f"{one}.".startswith(f"{known}.") for known in may_read[name])
        ]
        if undeclared:
            wrong[name] = undeclared
    assert wrong == {}
