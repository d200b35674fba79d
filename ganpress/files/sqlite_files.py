"""SQLite databases that a kill left half-made, or a full disk cut off. Imports neither MLflow nor Prefect."""

import sqlite3
from contextlib import closing
from pathlib import Path

from ganpress.basics.whole_files import put_aside, write_whole

MADE = ".made"
"""Ending of the empty file that says that all tables of a database are there."""
BESIDE = ("-wal", "-shm", "-journal", MADE)
"""Endings of what stands beside a database: SQLite's own files, and that mark."""

MAGIC = b"SQLite format 3\0"


def sqlite_damage(path: Path) -> str | None:
    """What is wrong with a SQLite database, seen from its header; None where it is absent, new or sound.

    A header says how many pages belong to it, so a database that was cut off shows without being read.
    """
    try:
        with path.open("rb") as file:
            header = file.read(100)
        size = path.stat().st_size
    except FileNotFoundError:
        return None
    except OSError as error:
        return str(error.strerror or error)
    if not header:
        return None  # as SQLite itself makes it before the first table
    if not header.startswith(MAGIC) or len(header) < 100:
        return "it is no SQLite database"
    page = int.from_bytes(header[16:18], "big")
    pages = int.from_bytes(header[28:32], "big")
    if size < pages * (65536 if page == 1 else page):
        return _checked(path)  # or a running server is writing it
    return None


def _checked(path: Path) -> str | None:
    """What SQLite's own check says, which knows of pages that still lie in the write-ahead log."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=rw", uri=True, timeout=5.0)) as connection:
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError:
        return None  # locked, or on a disk that is read-only: whoever opens it says so
    except sqlite3.DatabaseError as error:
        return str(error)
    return None if found == "ok" else "it is cut off"


def remove_half_made(database: Path, table: str) -> None:
    """Remove a SQLite database whose tables a killed process was still making, as nobody can go on with it.

    To be called under the lock that guards its making; `mark_made` ends that. A database without the mark goes only
    if it holds no row in `table`, so that one from before there was a mark stays.
    """
    if not database.exists() or _mark(database).exists():
        return
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=5.0)) as connection:
            made = connection.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone() is not None
    except sqlite3.OperationalError:
        made = False
    except sqlite3.DatabaseError:
        return  # damaged, which is another matter
    if not made:
        for suffix in ("", *BESIDE):
            database.with_name(database.name + suffix).unlink(missing_ok=True)


def mark_made(database: Path) -> None:
    """Note that all tables of a SQLite database are there."""
    if database.exists() and not _mark(database).exists():
        write_whole(_mark(database), "")


def _mark(database: Path) -> Path:
    return database.with_name(database.name + MADE)


def put_database_aside(database: Path) -> Path:
    """Rename a damaged database, with all that stands beside it; return where it went."""
    return put_aside(database, BESIDE)
