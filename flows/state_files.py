"""Files between two runs, found damaged: a kill or a full disk can leave them empty, cut off or filled with noise.

What holds no work is put aside at once. What does is named in one line, with the command that repairs it, and
`ganpress doctor --fix` puts it aside (`<name>.damaged`) or brings back git's version.
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
    """What is wrong with it."""
    remedy: str
    """What `repair` does, in words."""
    repair: Callable[[], object]
    holds_work: bool
    """Whether something could be lost, so that a person says when."""


def heal(root: Path) -> list[str]:
    """Put aside what is damaged and holds no work, and refuse to go on with what does; costs milliseconds.

    Files that DVC reads whole are looked into only once it fails on them, by `explain`.

    Returns:
        One line for each file that was put aside.

    Raises:
        StateDamaged: naming the first file that a person must decide about.
    """
    lines = []
    for damage in find_damage(root, deep=False):
        if damage.holds_work:
            raise StateDamaged(_line(damage))
        damage.repair()
        lines.append(f"{damage.path} was damaged ({damage.words}) and held no work: {damage.remedy}")
    return lines


def heal_and_say(root: Path) -> None:
    """`heal`, with each of its lines on standard error."""
    for line in heal(root):
        print(f"ganpress: {line}", file=sys.stderr)


def heal_locks(root: Path) -> bool:
    """Remove DVC's table of locks if it cannot be read; returns whether it was removed."""
    damaged = list(_locks(root))
    for damage in damaged:
        damage.repair()
    return bool(damaged)


def explain(root: Path) -> StateDamaged | None:
    """The error that names a damaged file, for whoever failed to read one; None where all are sound."""
    return next((StateDamaged(_line(damage)) for damage in find_damage(root)), None)


def _line(damage: Damage) -> str:
    return f"{damage.path} is damaged ({damage.words}); {FIX} {damage.remedy}"


def find_damage(root: Path, deep: bool = True) -> Iterator[Damage]:
    """Look at every state file of the project at `root`.

    Args:
        root: the project, or a worktree of it.
        deep: also parse what takes longer than milliseconds, and compare with git.
    """
    main = main_root(root)
    yield from _locks(root)
    for name in STATE_TEXTS:
        yield from _text(root, root / name, deep)
    database = sqlite_path(tracking_uri(main))
    if database is not None and (words := sqlite_damage(database)):
        remedy = "puts it aside; the next run records anew what dvc.lock still names"
        yield Damage(database, words, remedy, lambda: put_database_aside(database), holds_work=True)
    history = main / ".prefect" / "prefect.db"
    if words := sqlite_damage(history):
        remedy = "it was put aside, and Prefect begins a new history of flow runs"
        yield Damage(history, words, remedy, lambda: put_database_aside(history), holds_work=False)


def _locks(root: Path) -> Iterator[Damage]:
    """DVC's table of who reads and writes what: a kill leaves it empty, and DVC then refuses every command."""
    table = root / ".dvc" / "tmp" / "rwlock"
    try:
        content = json.loads(table.read_text(encoding="utf-8"))
        if isinstance(content, dict) and all(isinstance(content.get(key, {}), dict) for key in ("read", "write")):
            return
        words = "it is no table of locks"
    except (FileNotFoundError, NotADirectoryError):
        return
    except (OSError, ValueError) as error:
        words = " ".join(str(error).split())
    yield Damage(table, words, "it was removed; DVC writes it anew", lambda: _remove_table(table), holds_work=False)


def _remove_table(table: Path) -> None:
    """Remove the table as DVC would write it: while holding the lock that guards it."""
    from dvc.lock import make_lock

    with make_lock(str(table.with_name("rwlock.lock")), tmp_dir=str(table.parent)):
        if any(_locks(table.parents[2])):  # nobody wrote it meanwhile
            table.unlink(missing_ok=True)


STATE_TEXTS = ("params.yaml", "dvc.yaml", "data.dvc", ".dvc/config", ".dvc/config.local", "dvc.lock")
_NEEDED = {"data.dvc": "outs", "dvc.lock": "stages"}
"""A key without which a file that DVC writes says nothing."""


WRITING_SECONDS = 0.3
"""How long a file that another DVC is just writing may look empty or cut off."""


def _text(root: Path, path: Path, deep: bool) -> Iterator[Damage]:
    words = _text_damage(root, path, deep)
    if words is not None and path.name in _NEEDED:  # DVC writes these in place, and nobody here holds its lock
        time.sleep(WRITING_SECONDS)
        words = _text_damage(root, path, deep)
    if words is None:
        return
    if _committed(root, path) is not None:
        remedy = "puts it aside and brings back git's last version"
        yield Damage(path, words, remedy, lambda: _restore(root, path), holds_work=True)
    elif path.name in _NEEDED:
        remedy = "puts it aside; the next run restores from DVC's cache what it finds there, and makes the rest"
        yield Damage(path, words, remedy, lambda: put_aside(path), holds_work=True)
    else:
        yield Damage(path, words, "puts it aside", lambda: put_aside(path), holds_work=True)


def _text_damage(root: Path, path: Path, deep: bool) -> str | None:
    """What no editor leaves behind: an empty file, noise, the first part of the committed one. None: nothing of it.

    A mistake in a file that people write is none of this; who reads it says where it is.
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
        return "it holds bytes that are no text"
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
    """What is wrong with a file that DVC writes."""
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
        return None if whole else "it names no whole digest and path"
    return _lock_damage(content)


def _lock_damage(content: Any) -> str | None:
    """What DVC's own schema has against a dvc.lock; a cut that leaves whole stages alone is none."""
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from voluptuous import Invalid

    try:
        COMPILED_LOCKFILE_SCHEMA(content)
    except Invalid as error:
        return f"it is cut off: {' '.join(str(error).split())}"[:200]
    return None


def _committed(root: Path, path: Path) -> bytes | None:
    """The file as git's last commit holds it; None where it does not."""
    try:
        return git(root, "show", f"HEAD:./{path.relative_to(root)}")
    except GitFailed:
        return None


def _restore(root: Path, path: Path) -> None:
    content = _committed(root, path)
    if content is not None:
        put_aside(path)
        write_whole(path, content)
