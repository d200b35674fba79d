"""Pins of imported generators: `imported/<name>.dvc`, one for each folder that `ganpress import` writes."""

import shutil
from pathlib import Path

from flows.data_source import run_dvc
from ganpress.errors import DataError

FOLDER = "imported"


def pin_imported(root: Path, name: str) -> None:
    """Run `dvc add imported/<name>`, so that every revision is kept and git records which one belongs to a commit.

    Raises:
        DataError: if DVC fails; the message holds DVC's line.
    """
    if not (root / ".dvc").is_dir():
        _dvc(root, "init", "--quiet", *([] if (root / ".git").exists() else ["--no-scm"]))
    _dvc(root, "add", "--quiet", f"{FOLDER}/{name}")


def ensure_imported(root: Path, main: Path, folder: str) -> None:
    """Restore `imported/<name>` in a workspace from DVC's cache, using the pin of the main checkout.

    Raises:
        DataError: if there is neither pin nor folder, or the cache does not hold it.
    """
    pin = main / f"{folder}.dvc"
    if pin.is_file() and root != main:
        shutil.copy2(pin, root / f"{folder}.dvc")
    elif (root / folder).is_dir():
        return
    if not pin.is_file():
        raise DataError(f"there is no imported generator at {main / folder}; import it with `ganpress import`")
    _dvc(root, "checkout", "--quiet", f"{folder}.dvc")


def _dvc(root: Path, *arguments: str) -> None:
    done = run_dvc(root, *arguments)
    if done.returncode != 0:
        lines = [line for line in done.stderr.strip().splitlines() if line.startswith("ERROR")] or ["no message"]
        raise DataError(
            f"`dvc {' '.join(arguments)}` failed: {lines[0].removeprefix('ERROR: ')}; fix that and run again"
        )
