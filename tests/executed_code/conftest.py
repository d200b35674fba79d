"""Copies of this project's code, and small projects, whose digests are computed after an edit."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ganpress.executed_code.digests import StageCode

CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Copy:
    """A copy of everything that decides digests."""

    root: Path
    before: Mapping[str, str]
    """Digest of each stage before any edit, by its name."""

    def edit(self, name: str, old: str, new: str) -> None:
        path = self.root / name
        text = path.read_text()
        assert old in text, f"{name} has no {old!r}"
        path.write_text(text.replace(old, new, 1))

    def changed(self) -> set[str]:
        """Stages whose digest is another than before; new ones included."""
        now = digests(self.root)
        return {name for name in now if now[name] != self.before.get(name)}

    def as_it_is(self) -> "Copy":
        """The same, with what has been done to it so far behind it."""
        return replace(self, before=digests(self.root))


def digests(root: Path) -> dict[str, str]:
    """Digest of each stage of a project: `candidate/d8`."""
    code = StageCode(root)
    found = {path.removeprefix("artifacts/code/"): code.reached(path).digest for path in code.paths}
    code.save()
    return found


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    root = tmp_path_factory.mktemp("code") / "project"
    for package in ("ganpress", "models", "tasks"):
        shutil.copytree(CHECKOUT / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(CHECKOUT / name, root)
    return Copy(root, digests(root))


@pytest.fixture
def copy(template: Copy, tmp_path: Path) -> Copy:
    shutil.copytree(template.root, tmp_path / "project")
    return Copy(tmp_path / "project", template.before)


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Mapping[str, str]], Path]:
    """(path -> text) -> the root of a small project with these files."""

    def write(files: Mapping[str, str]) -> Path:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return write
