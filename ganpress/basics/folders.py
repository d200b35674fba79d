"""Folders that a user names."""

import os
from pathlib import Path


def fault_of_folder(folder: Path) -> str | None:
    """Create a folder if it does not exist; return why it cannot be created or written, or None if it can be used."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return f"cannot be created: {error.strerror}"
    return None if os.access(folder, os.W_OK) else "cannot be written; check its permissions"
