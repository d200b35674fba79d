"""Handles a project that was moved or copied, because MLflow's SQLite store has absolute paths of artifacts. It does
not import MLflow.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

EXPERIMENT = "ganpress"
PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""All columns of MLflow's tables with such paths."""


def artifacts_of(database: Path) -> Path:
    """Return the folder of a store's artifacts, which is beside its file."""
    return (database.parent / "artifacts").resolve()


def follow_move(database: Path) -> bool:
    """Update the store's artifact paths to the folder beside it, if they point to another one; return whether they
    changed.

    A store that was configured to keep its artifacts in a folder with another name than `artifacts` is not changed.
    """
    former = _former_place(database)
    if former is None:
        return False
    here = str(artifacts_of(database))
    with closing(sqlite3.connect(database, timeout=30.0)) as connection, connection:
        for table, column in PLACES:
            for prefix, place in ((former, here), (f"file://{former}", f"file://{here}")):
                connection.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) IN (?, ?)",
                    (place, len(prefix) + 1, len(prefix) + 1, f"{prefix}/", prefix),
                )
    return True


def _former_place(database: Path) -> str | None:
    """Return the store's artifact folder if it is not the one beside it."""
    if not database.is_file():
        return None
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=5.0)) as connection:
            query = "SELECT artifact_location FROM experiments WHERE name = ?"
            row = connection.execute(query, (EXPERIMENT,)).fetchone()
    except sqlite3.Error:
        return None
    location = str(row[0]).removeprefix("file://") if row and row[0] else ""
    here = artifacts_of(database)
    return location if location and Path(location).name == here.name and Path(location) != here else None
