"""The files of a user's project: `ganpress init` writes them, and `ganpress upgrade` brings them to a newer version.

A project holds no code of ganpress. Its dvc.yaml starts stages with `python -P`, which looks for modules where packages
are installed and not in the working directory, so that a user's `models.py`, `tasks/` or `data.py` hides no module of
ganpress.
"""

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ganpress.basics.git import GitFailed, git
from ganpress.basics.whole_files import write_whole
from ganpress.config.base import read_yaml
from ganpress.config.yaml_text import dump_yaml, quoted
from ganpress.errors import ConfigError

STAMP = ".ganpress.yaml"
"""File that records the version of a project's files and the digest of each file when it was written."""
USERS = frozenset({"params.yaml", "data.dvc"})
"""Files that a new project gets once; afterwards they belong to the user."""
EXECUTABLE = frozenset({".ci/run"})
SHARED = (
    "params.yaml", "data.dvc", "dvc.yaml", "prefect.yaml", ".dvcignore", ".dvc/config", "mlflow/server.env",
    "mlflow/README.md", "imported/README.md",
)  # fmt: skip
"""Files that a project shares with ganpress's own repository."""
OWN = {
    ".gitignore": "gitignore",
    "README.md": "README.md",
    ".ci/run": "ci_run",
    ".github/workflows/ganpress.yml": "workflow.yml",
}
"""Files that only a user's project has, with their templates."""
DVC_IGNORES = "/config.local\n/tmp\n/cache\n"
"""Content that `dvc init` writes into .dvc/.gitignore."""
IDENTITY = ("-c", "user.name=ganpress init", "-c", "user.email=ganpress@localhost")
"""Author of the first commit if git has no user configured."""


@dataclass(frozen=True)
class Change:
    """Change that `ganpress upgrade` made to one file."""

    path: str
    words: str


def shared_folder() -> Path:
    """Return the folder of `SHARED` and recipes/: in the installed package, or in the repository of this file."""
    packed = Path(__file__).parent / "project"
    return packed if packed.is_dir() else Path(__file__).resolve().parents[1]


def recipes_folder() -> Path:
    """Return the recipes that are part of ganpress."""
    return shared_folder() / "recipes"


def project_files() -> dict[str, str]:
    """Return path and text of each file of a new project."""
    made = Path(__file__).parent / "new_project"
    texts = {path: (shared_folder() / path).read_text(encoding="utf-8") for path in SHARED}
    texts |= {path: (made / template).read_text(encoding="utf-8") for path, template in OWN.items()}
    texts["dvc.yaml"] = texts["dvc.yaml"].replace("cmd: python -m ", "cmd: python -P -m ")
    texts["prefect.yaml"] = texts["prefect.yaml"].replace(
        "flows/pipeline.py:ganpress_pipeline", "flows.pipeline.ganpress_pipeline"
    )
    texts[".github/workflows/ganpress.yml"] = texts[".github/workflows/ganpress.yml"].replace("@VERSION@", installed())
    texts[".dvc/.gitignore"] = DVC_IGNORES
    return texts


def installed() -> str:
    """Return the version of ganpress that is installed."""
    return version("ganpress")


def make_project(folder: Path) -> bool:
    """Write a new project; if the folder is in no git repository, create one with a first commit.

    Returns:
        Whether a repository was created.

    Raises:
        ConfigError: if a file of the project exists, the folder lies inside a repository, or git fails.
    """
    texts = project_files()
    taken = [path for path in (*texts, STAMP) if (folder / path).exists() or (folder / path).is_symlink()]
    if taken:
        raise ConfigError(
            f"{quoted(str(folder))} holds {', '.join(taken[:3])}{' and more' if len(taken) > 3 else ''} "
            f"already, and no file is overwritten; name another folder, or `ganpress upgrade` in a project"
        )
    top = _repository_of(folder)
    if top is not None and top != folder.resolve():
        raise ConfigError(
            f"{quoted(str(folder))} lies inside the git repository {top}, and a project is a repository of its own, "
            "since runs with --recipe are git worktrees; name a folder outside, or run `git init` in this one first"
        )
    for path, text in texts.items():
        _write(folder, path, text)
    _write_stamp(folder, {path: _digest(text) for path, text in texts.items() if path not in USERS})
    if top is None:
        _first_commit(folder, (*texts, STAMP))
    return top is None


def commit(folder: Path, message: str, *paths: str) -> None:
    """Commit files of a project as the user that git is configured with; without a change there is no commit.

    Raises:
        ConfigError: if git fails; the message holds git's line.
    """
    present = [path for path in paths if (folder / path).exists()]
    git(folder, "add", "--force", "--", *present)
    if git(folder, "status", "--porcelain", "--", *present):
        git(folder, *_identity(folder), "commit", "--quiet", "--message", message, "--", *present)


def upgrade_project(folder: Path, dry_run: bool = False) -> list[Change]:
    """Upgrade a project's files to the running version; a file that the user edited is kept, and the new one is
    written beside it.

    Args:
        folder: folder of the project.
        dry_run: return the changes without making them.

    Raises:
        ConfigError: if the folder was not created by `ganpress init`, or belongs to a newer version.
    """
    stamp = _read_stamp(folder)
    written: dict[str, str] = dict(stamp["files"])
    changes, texts, outdated = [], {}, []
    for path, text in project_files().items():
        present = None if path in USERS else _text(folder / path)
        if path in USERS or (present not in (None, text) and _digest(text) == written.get(path)):
            continue  # The file is the user's own, or the user edited a file that has not changed since.
        if present == text:
            if (folder / f"{path}.new").is_file():
                changes.append(Change(f"{path}.new", "removed"))
                outdated.append(f"{path}.new")
        elif present is None or _digest(present) == written.get(path):
            changes.append(Change(path, "written" if present is None else "replaced"))
            texts[path] = text
        else:
            changes.append(Change(path, f"was edited by you and is kept; the new version is {path}.new"))
            texts[f"{path}.new"] = text
            continue
        written[path] = _digest(text)
    if not dry_run:
        for path, text in texts.items():
            _write(folder, path, text)
        for path in outdated:
            (folder / path).unlink(missing_ok=True)
        _write_stamp(folder, written)
    return changes


def project_version(folder: Path) -> str:
    """Return the ganpress version of a project's files; raises like `upgrade_project`."""
    return str(_read_stamp(folder)["version"])


def _read_stamp(folder: Path) -> dict[str, Any]:
    if not (folder / STAMP).is_file():
        raise ConfigError(
            f"{folder} has no {STAMP}: it was not made by `ganpress init`; update a clone of ganpress with `git pull`"
        )
    content = read_yaml(folder / STAMP)
    if not isinstance(content.get("files"), Mapping) or not isinstance(content.get("version"), str):
        raise ConfigError(f"{folder / STAMP} is damaged; `git checkout {STAMP}` restores it")
    return content


def _write_stamp(folder: Path, files: Mapping[str, str]) -> None:
    content = {"version": installed(), "files": dict(sorted(files.items()))}
    head = "# Written by ganpress: the version of the files of this project. Commit it; do not edit it.\n"
    write_whole(folder / STAMP, head + dump_yaml(content))


def _repository_of(folder: Path) -> Path | None:
    existing = next(one for one in (folder.resolve(), *folder.resolve().parents) if one.is_dir())
    try:
        return Path(git(existing, "rev-parse", "--show-toplevel").decode().strip()).resolve()
    except GitFailed:
        return None


def _first_commit(folder: Path, paths: tuple[str, ...]) -> None:
    if shutil.which("git") is None:
        raise ConfigError(
            f"git is not installed; the files of {folder} were written: install git, then run `git init` there"
        )
    git(folder, "init", "--quiet")
    commit(folder, f"ganpress init ({installed()})", *paths)


def _identity(folder: Path) -> tuple[str, ...]:
    try:
        git(folder, "var", "GIT_COMMITTER_IDENT")
    except GitFailed:
        return IDENTITY
    return ()


def _write(folder: Path, path: str, text: str) -> None:
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    write_whole(folder / path, text)
    if path.removesuffix(".new") in EXECUTABLE:
        (folder / path).chmod(0o755)


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
