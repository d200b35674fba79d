"""Computes the digests of all stages of a project and writes their files below artifacts/code."""

import contextlib
import copy
import hashlib
import json
import os
import threading
from pathlib import Path

from ganpress.basics.whole_files import write_whole
from ganpress.executed_code.modules import CACHE, Modules
from ganpress.executed_code.reach import Reach, Reached
from ganpress.executed_code.stages import CODE_FOLDER, CodeStage, read_stages, starts_installed

DIGESTS = Path(".ganpress") / "executed-digests.json"
_FOLLOWING = threading.RLock()
"""Lock for following code. It keeps incomplete results of upstream stages from other threads, and CPython has only one
counter for the depth of all syntax trees that are parsed at the same time.
"""


class StageCode:
    """The code that the stages of one project execute; each file is read when it is first needed.

    Args:
        root: the folder of dvc.yaml and params.yaml.

    Raises:
        ConfigError: if dvc.yaml or params.yaml cannot be read.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._stages = {one.digest_path: one for one in read_stages(root)}
        self._look()

    def _look(self) -> None:
        """Start with the current state of the modules."""
        self.modules = Modules(source_root(self._root), _folder(self._root) / CACHE)
        self._reach = Reach(self.modules)
        self._words: dict[str, frozenset[str]] = {}
        self.state = self.modules.state() if self._stages else ""
        self._texts = _load(_folder(self._root) / DIGESTS, self._key())
        self._is_new = False

    @property
    def paths(self) -> tuple[str, ...]:
        """The digest files that dvc.yaml names."""
        return tuple(self._stages)

    def path_of(self, stage: str, item: str | None) -> str | None:
        """Return the file of a stage's digest; None if dvc.yaml names none."""
        paths = (f"{CODE_FOLDER}/{stage}/{item}", f"{CODE_FOLDER}/{stage}")
        return next((path for path in paths if path in self._stages), None)

    def text(self, path: str) -> str:
        """Return the content of the digest file `path`: a line for each source file with code that the stage can
        execute.

        Raises:
            ConfigError: if a file is not Python.
        """
        with _FOLLOWING:
            if path not in self._texts:
                self._texts[path] = self.reached(path).text
                self._is_new = True
            return self._texts[path]

    def reached(self, path: str) -> Reached:
        """Return the code that the stage with the digest file `path` can execute; raises as `text`."""
        with _FOLLOWING:
            return self._reach.of(self._stages[path].module, self._words_of(self._stages[path]))

    def of_module(self, module: str) -> Reached:
        """Return the code that a module can execute as a program with any parameters; raises as `text`."""
        with _FOLLOWING:
            return self._reach.of(module, None)

    def is_written(self, path: str) -> bool:
        """Return whether the digest file is up to date; raises as `text`."""
        return read_digests(self._root / path) == self.text(path)

    def write(self, path: str) -> None:
        """Write a digest to its file, unless the file is up to date; raises as `text`."""
        if not self.is_written(path):
            write_whole(self._root / path, self.text(path))

    def write_all(self) -> None:
        """Write every digest that dvc.yaml names, and remove all other digest files; raises as `text`."""
        for path in self._stages:
            self.write(path)
        for file in (self._root / CODE_FOLDER).rglob("*"):
            if file.is_file() and file.relative_to(self._root).as_posix() not in self._stages:
                file.unlink(missing_ok=True)

    def save(self) -> None:
        """Store the results for the next process; a folder that cannot be written only costs time."""
        self.modules.save()
        if not self._is_new or self.state != self.modules.state():  # a file was edited while modules were read
            return
        with contextlib.suppress(OSError):
            content = {"key": self._key(), "texts": self._texts}
            write_whole(_folder(self._root) / DIGESTS, json.dumps(content))

    def again(self) -> "StageCode":
        """Return the same stages and parameters with the current modules."""
        new = copy.copy(self)
        new._look()
        return new

    def _key(self) -> str:
        """Return a digest of everything that the digests depend on."""
        stages = [(one.digest_path, one.module, sorted(one.words), one.reads) for one in self._stages.values()]
        return md5_of(json.dumps([self.state, stages]))

    def _words_of(self, stage: CodeStage) -> frozenset[str]:
        """Return the texts that a stage can read: from its parameters, or from files of upstream stages, by the same
        rule.
        """
        path = stage.digest_path
        if path not in self._words:
            self._words[path] = stage.words  # ends a cycle, which DVC refuses
            words = set(stage.words)
            for other in self._stages.values():
                if other is not stage and other.is_upstream_of(stage):
                    words |= self._words_of(other) | self.reached(other.digest_path).names
            self._words[path] = frozenset(words)
        return self._words[path]


class CurrentCode:
    """The current code of a project's stages, read again only after an edit; threads may share it."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._read: tuple[StageCode, list[bytes]] | None = None

    def __call__(self) -> StageCode:
        """Return the current code.

        Raises:
            ConfigError: if dvc.yaml or params.yaml cannot be read.
        """
        with self._lock:
            texts = [path.read_bytes() for name in ("dvc.yaml", "params.yaml") if (path := self._root / name).is_file()]
            if self._read is None or self._read[1] != texts:
                self._read = StageCode(self._root), texts
            elif self._read[0].paths and self._read[0].state != self._read[0].modules.state():
                self._read = self._read[0].again(), texts
            return self._read[0]


def read_digests(file: Path) -> str:
    """Return the content of a digest file; empty if there is none."""
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def md5_of(text: str) -> str:
    """Return the md5 by which DVC identifies a file with that text."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def changed_files(before: str, after: str) -> list[str]:
    """Return the source files in which two digest files differ."""
    old, new = (dict(line.rpartition(" ")[::2] for line in text.splitlines()) for text in (before, after))
    return sorted(path for path in {*old, *new} if old.get(path) != new.get(path))


def source_root(root: Path) -> Path:
    """Return the folder whose code a stage executes at `root`: `root` itself, or the folder where this package is
    installed.

    `python -m tasks.X` finds the package in the working directory first. `python -P`, which starts the stages of a
    user's project, does not look there, so a user's own package `tasks` does not count.
    """
    own = (root / "tasks" / "__init__.py").is_file() and not starts_installed(root)
    return root if own else Path(__file__).resolve().parents[2]


def _folder(root: Path) -> Path:
    """Return the folder of stored results: beside a clone's modules, or at `root` for installed packages."""
    sources = source_root(root)
    return sources if (sources / "dvc.yaml").is_file() and os.access(sources, os.W_OK) else root


def _load(file: Path, key: str) -> dict[str, str]:
    """Return the digests stored under a key; none if the key differs, or the file is missing or damaged."""
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    texts = content.get("texts") if isinstance(content, dict) and content.get("key") == key else None
    return dict(texts) if isinstance(texts, dict) else {}
