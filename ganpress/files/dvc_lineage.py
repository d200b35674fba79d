"""Traces a file back to the data by dvc.lock: the stages with their inputs and outputs. It does not import DVC."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganpress.files.dvc_files import FOLDER, cached_copy, dvc_md5, read_lock
from ganpress.files.plain_values import read_json

CODE = "artifacts/code"
"""Folder of the digests of code, which stages read but which are not a step of the lineage."""


@dataclass(frozen=True)
class LockedFile:
    """A file or folder as dvc.lock records it."""

    path: str
    md5: str


@dataclass(frozen=True)
class LockedStage:
    """A stage as dvc.lock records it."""

    name: str
    reads: tuple[LockedFile, ...]
    makes: tuple[LockedFile, ...]
    params: Mapping[str, Any]


@dataclass(frozen=True)
class Place:
    """Position of a file with a given content in a dvc.lock."""

    root: Path
    """Folder of the dvc.lock."""
    stage: str
    path: str
    """Path of the file below the root."""


class LockedChain:
    """All stages of one dvc.lock."""

    def __init__(self, root: Path) -> None:
        """Read the lock of the project or worktree at `root`.

        Raises:
            DataError: if it cannot be read.
        """
        self.root = root
        content = read_lock(root / "dvc.lock") if (root / "dvc.lock").is_file() else {}
        self.stages = {name: _stage(name, entry or {}) for name, entry in (content.get("stages") or {}).items()}

    def find(self, md5: str, path: str | None = None) -> Place | None:
        """Find the output of this content; of several, that of the same path.

        Args:
            md5: DVC's digest of a file or folder.
            path: path below the root; None for a file that is elsewhere.
        """
        places = [Place(self.root, stage, found) for stage, found, digest in self._files() if digest == md5]
        # The teacher's file is a copy of the best candidate's; a file that is elsewhere counts as the last one.
        last = max(places, key=lambda place: len(self.way_to(place.stage)), default=None)
        return next((place for place in places if place.path == path), last)

    def locked_digest(self, path: str) -> str | None:
        """Return the digest that the lock records for a path; None for an unknown path."""
        return next((digest for _, found, digest in self._files() if found == path), None)

    def _files(self) -> Iterator[tuple[str, str, str]]:
        """Stage, path and digest of all outputs, those inside of folders included where DVC's cache lists them."""
        for stage in self.stages.values():
            for out in stage.makes:
                yield stage.name, out.path, out.md5
                if out.md5.endswith(FOLDER):
                    yield from ((stage.name, f"{out.path}/{name}", md5) for name, md5 in self._listing(out))

    def _listing(self, folder: LockedFile) -> list[tuple[str, str]]:
        """Names and digests of the files in a folder: as DVC's cache lists them, else those that lie there."""
        listing = cached_copy(self.root, folder.md5)
        if listing is not None:
            try:
                return [(str(one["relpath"]), str(one["md5"])) for one in read_json(listing)]
            except (OSError, ValueError, KeyError, TypeError):
                pass
        path = self.root / folder.path
        if dvc_md5(path) != folder.md5:
            return []
        return [(file.relative_to(path).as_posix(), dvc_md5(file) or "") for file in path.rglob("*") if file.is_file()]

    def way_to(self, stage: str) -> list[LockedStage]:
        """Return the stage and all stages upstream of it, the earliest first."""
        found: dict[str, LockedStage] = {}

        def walk(name: str) -> None:
            if name in found:
                return
            for read in self.stages[name].reads:
                for maker in self.makers(read.path):
                    if maker != name:
                        walk(maker)
            found[name] = self.stages[name]

        walk(stage)
        return list(found.values())

    def makers(self, path: str) -> list[str]:
        """Return the stages that made a path, or anything below it."""
        return [stage.name for stage in self.stages.values() if any(overlap(path, out.path) for out in stage.makes)]

    def broken(self, way: list[LockedStage]) -> list[str]:
        """Return the paths whose digest as input of a stage differs from their digest as output of another."""
        made = {out.path: out.md5 for stage in way for out in stage.makes}
        return sorted({read.path for stage in way for read in stage.reads if made.get(read.path, read.md5) != read.md5})


def overlap(one: str, other: str) -> bool:
    """Return whether two paths are the same, or one is inside the other."""
    return one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")


def _stage(name: str, entry: Mapping[str, Any]) -> LockedStage:
    reads, makes = (
        tuple(LockedFile(str(one["path"]), str(one.get("md5", ""))) for one in entry.get(key) or [])
        for key in ("deps", "outs")
    )
    params = (entry.get("params") or {}).get("params.yaml") or {}
    own = tuple(one for one in reads if not one.path.startswith(f"{CODE}/"))
    return LockedStage(name, own, tuple(one for one in makes if not one.path.startswith("artifacts/versions/")), params)
