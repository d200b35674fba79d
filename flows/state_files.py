"""Finds and repairs damaged state files: a kill or a full disk can leave them empty, truncated or filled with noise.

A damaged file that holds no work is moved aside at once. A file that holds work is named in one line with the command
that repairs it: `ganpress doctor --fix` moves it aside (`<name>.damaged`) or restores git's version.
"""

import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.environment import main_root
from ganpress.basics.git import GitFailed, git
from ganpress.basics.whole_files import put_aside, write_whole
from ganpress.config.yaml_text import OF_DVC, parse_yaml
from ganpress.errors import ConfigError, StateDamaged
from ganpress.files.sqlite_files import put_database_aside, sqlite_damage
from ganpress.tracking.service import sqlite_path, tracking_uri

MD5 = re.compile(r"[0-9a-f]{32}(\.dir)?")
FIX = "`ganpress doctor --fix`"


@dataclass(frozen=True)
class Damage:
    """One state file that cannot be used."""

    path: Path
    words: str
    """Description of the damage."""
    remedy: str
    """Description of what `repair` does."""
    repair: Callable[[], object]
    holds_work: bool
    """Whether the repair could lose work, so that a person has to start it."""


def heal(root: Path) -> list[str]:
    """Move aside damaged files that hold no work, and refuse to continue if a damaged file holds work; takes
    milliseconds.

    Files that DVC reads completely are checked only after DVC fails on them, by `explain`.

    Returns:
        One line for each file that was moved aside.

    Raises:
        StateDamaged: if a person must decide; the message names the first such file.
    """
    lines = []
    for damage in find_damage(root, deep=False):
        if damage.holds_work:
            raise StateDamaged(_line(damage))
        damage.repair()
        lines.append(f"{damage.path} was damaged ({damage.words}) and held no work: {damage.remedy}")
    return lines


def heal_and_say(root: Path) -> None:
    """Run `heal` and print each of its lines on standard error."""
    for line in heal(root):
        print(f"ganpress: {line}", file=sys.stderr)


def heal_locks(root: Path) -> bool:
    """Remove DVC's table of locks if it cannot be read; return whether it was removed."""
    damaged = list(_locks(root))
    for damage in damaged:
        damage.repair()
    return bool(damaged)


def explain(root: Path) -> StateDamaged | None:
    """Return the error that names a damaged file, for a caller that failed to read one; None if none is damaged."""
    return next((StateDamaged(_line(damage)) for damage in find_damage(root)), None)


def _line(damage: Damage) -> str:
    return f"{damage.path} is damaged ({damage.words}); {FIX} {damage.remedy}"


def find_damage(root: Path, deep: bool = True) -> Iterator[Damage]:
    """Check every state file of the project at `root`.

    Args:
        root: the project, or a worktree of it.
        deep: also parse files that take longer than milliseconds, and compare them with git.
    """
    main = main_root(root)
    yield from _locks(root)
    for name in STATE_TEXTS:
        yield from _text(root, root / name, deep)
    database = sqlite_path(tracking_uri(main))
    if database is not None and (words := sqlite_damage(database)):
        remedy = "moves it aside; the next run records again what dvc.lock still lists"
        yield Damage(database, words, remedy, lambda: put_database_aside(database), holds_work=True)
    history = main / ".prefect" / "prefect.db"
    if words := sqlite_damage(history):
        remedy = "it was moved aside, and Prefect starts a new history of flow runs"
        yield Damage(history, words, remedy, lambda: put_database_aside(history), holds_work=False)


def _locks(root: Path) -> Iterator[Damage]:
    """Check DVC's table of readers and writers: a kill leaves it empty, and DVC then refuses every command."""
    table = root / ".dvc" / "tmp" / "rwlock"
    try:
        content = json.loads(table.read_text(encoding="utf-8"))
        if isinstance(content, dict) and all(isinstance(content.get(key, {}), dict) for key in ("read", "write")):
            return
        words = "it is not a table of locks"
    except (FileNotFoundError, NotADirectoryError):
        return
    except (OSError, ValueError) as error:
        words = " ".join(str(error).split())
    yield Damage(table, words, "it was removed; DVC writes a new one", lambda: _remove_table(table), holds_work=False)


def _remove_table(table: Path) -> None:
    """Remove the table while holding the lock under which DVC writes it."""
    from dvc.lock import make_lock

    with make_lock(str(table.with_name("rwlock.lock")), tmp_dir=str(table.parent)):
        if any(_locks(table.parents[2])):  # No process wrote it meanwhile.
            table.unlink(missing_ok=True)


STATE_TEXTS = ("params.yaml", "dvc.yaml", "data.dvc", ".dvc/config", ".dvc/config.local", "dvc.lock")
_NEEDED = {"data.dvc": "outs", "dvc.lock": "stages"}
"""Key without which a file of DVC is useless."""


WRITING_SECONDS = 0.3
"""Seconds for which a file may look empty or truncated while another DVC process writes it."""


def _text(root: Path, path: Path, deep: bool) -> Iterator[Damage]:
    words = _text_damage(root, path, deep)
    if (
        words is not None and path.name in _NEEDED
    ):  # DVC writes these files in place, and this process does not hold its lock.
        time.sleep(WRITING_SECONDS)
        words = _text_damage(root, path, deep)
    if words is None:
        return
    if _committed(root, path) is not None:
        remedy = "moves it aside and restores git's last version"
        yield Damage(path, words, remedy, lambda: _restore(root, path), holds_work=True)
    elif path.name in _NEEDED:
        remedy = "moves it aside; the next run restores what DVC's cache has and runs the rest"
        yield Damage(path, words, remedy, lambda: put_aside(path), holds_work=True)
    else:
        yield Damage(path, words, "moves it aside", lambda: put_aside(path), holds_work=True)


def _text_damage(root: Path, path: Path, deep: bool) -> str | None:
    """Return damage that no editor causes: an empty file, noise, or the first part of the committed file; None if
    there is none.

    A mistake in a file that people write is not damage; its reader reports the place.
    """
    try:
        content = path.read_bytes()
        text = content.decode()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        return " ".join(str(error).split())
    if not text.strip():
        return None if path.parent.name == ".dvc" else "it is empty"
    if "\0" in text:
        return "it contains bytes that are not text"
    if not deep:
        return None
    committed = _committed(root, path)
    if committed is not None and len(content) < len(committed) and committed.startswith(content):
        return "it is the first part of the committed one"
    return _config_damage(text) if path.parent.name == ".dvc" else _content_damage(path.name, text)


def _config_damage(text: str) -> str | None:
    import configparser

    try:
        configparser.ConfigParser(interpolation=None).read_string(text)
    except configparser.Error as error:
        return " ".join(str(error).split())[:200]
    return None


def _content_damage(name: str, text: str) -> str | None:
    """Return the damage of a file that DVC writes."""
    if name not in _NEEDED:
        return None
    try:
        content: Any = parse_yaml(text, "it", OF_DVC)
    except ConfigError as error:
        return " ".join(str(error).split())[:200]
    needed = _NEEDED[name]
    if not isinstance(content, dict) or not content.get(needed):
        return f"it has no '{needed}'"
    entries = content[needed]
    if name == "data.dvc":
        whole = isinstance(entries, list) and all(
            isinstance(one, dict) and MD5.fullmatch(str(one.get("md5"))) and one.get("path") for one in entries
        )
        return None if whole else "it has no complete digest and path"
    return _lock_damage(content)


def _lock_damage(content: Any) -> str | None:
    """Return the error of DVC's own schema for a dvc.lock; a file that is cut between two stages has none."""
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from voluptuous import Invalid

    try:
        COMPILED_LOCKFILE_SCHEMA(content)
    except Invalid as error:
        return f"it is truncated: {' '.join(str(error).split())}"[:200]
    return None


def _committed(root: Path, path: Path) -> bytes | None:
    """Return the file of git's last commit; None if the commit does not have it."""
    try:
        return git(root, "show", f"HEAD:./{path.relative_to(root)}")
    except GitFailed:
        return None


def _restore(root: Path, path: Path) -> None:
    content = _committed(root, path)
    if content is not None:
        put_aside(path)
        write_whole(path, content)
