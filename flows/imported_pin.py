"""Pins of imported generators: `imported/<name>.dvc`, one for each folder that `ganpress import` writes."""

from pathlib import Path

from flows.data_source import run_dvc
from ganpress.errors import DataError

FOLDER = "imported"


def pin_imported(root: Path, name: str) -> None:
    """`dvc add imported/<name>`, so that every revision of it is kept and git knows which one belongs to a commit.

    Raises:
        DataError: with DVC's own line, if it fails.
    """
    if not (root / ".dvc").is_dir():
        _dvc(root, "init", "--quiet", *([] if (root / ".git").exists() else ["--no-scm"]))
    _dvc(root, "add", "--quiet", f"{FOLDER}/{name}")


def ensure_imported(root: Path, name: str) -> None:
    """Bring `imported/<name>` into a workspace that has its pin but not its files, from DVC's cache.

    Raises:
        DataError: if there is neither pin nor folder, or the cache does not hold it.
    """
    if (root / FOLDER / name).is_dir():
        return
    if not (root / FOLDER / f"{name}.dvc").is_file():
        raise DataError(f"no imported generator '{name}' in {root / FOLDER}; bring it in with `ganpress import`")
    _dvc(root, "checkout", "--quiet", f"{FOLDER}/{name}.dvc")


def _dvc(root: Path, *arguments: str) -> None:
    done = run_dvc(root, *arguments)
    if done.returncode != 0:
        lines = [line for line in done.stderr.strip().splitlines() if line.startswith("ERROR")] or ["no message"]
        raise DataError(f"`dvc {' '.join(arguments)}` failed: {lines[0].removeprefix('ERROR: ')}; mend that, run again")
