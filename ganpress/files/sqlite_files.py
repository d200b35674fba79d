"""Checks and repairs SQLite databases that a kill left incomplete or a full disk truncated. It imports neither MLflow
nor Prefect.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

from ganpress.basics.whole_files import put_aside, write_whole

MADE = ".made"
"""Suffix of the empty file that marks a database whose tables are complete."""
BESIDE = ("-wal", "-shm", "-journal", MADE)
"""Suffixes of the files beside a database: SQLite's own files, and that mark."""

MAGIC = b"SQLite format 3\0"


def sqlite_damage(path: Path) -> str | None:
    """Return the damage of a SQLite database according to its header; None if it is missing, new or intact.

    A header says how many pages belong to it, so a truncated database is detected without reading it.
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
        return "it is not a SQLite database"
    page = int.from_bytes(header[16:18], "big")
    pages = int.from_bytes(header[28:32], "big")
    if size < pages * (65536 if page == 1 else page):
        return _checked(path)  # or a running server is writing it
    return None


def _checked(path: Path) -> str | None:
    """Return the result of SQLite's own check, which includes pages in the write-ahead log."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=rw", uri=True, timeout=5.0)) as connection:
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError:
        return None  # The database is locked or on a read-only disk, which the program that opens it reports.
    except sqlite3.DatabaseError as error:
        return str(error)
    return None if found == "ok" else "it is truncated"


def remove_half_made(database: Path, table: str) -> None:
    """Remove a SQLite database whose tables a killed process did not complete, because it cannot be used.

    Call this under the lock that guards its creation, which `mark_made` completes. A database without the mark goes
    only if it holds no row in `table`, so that one from before there was a mark stays.
    """
    if not database.exists() or _mark(database).exists():
        return
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=5.0)) as connection:
            made = connection.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone() is not None
    except sqlite3.OperationalError:
        made = False
    except sqlite3.DatabaseError:
        return  # The database is damaged, which is handled elsewhere.
    if not made:
        for suffix in ("", *BESIDE):
            database.with_name(database.name + suffix).unlink(missing_ok=True)


def mark_made(database: Path) -> None:
    """Mark the tables of a SQLite database as complete."""
    if database.exists() and not _mark(database).exists():
        write_whole(_mark(database), "")


def _mark(database: Path) -> Path:
    return database.with_name(database.name + MADE)


def put_database_aside(database: Path) -> Path:
    """Rename a damaged database with the files beside it; return the new path."""
    return put_aside(database, BESIDE)
