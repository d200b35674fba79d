"""Names of refused edge files, which are kept for inspection and never used as an export."""

from pathlib import Path

MARK = ".refused"


def refused_path(path: Path) -> Path:
    """Return the path at which a refused file is kept: `generator.xml.zst` -> `generator.refused.xml.zst`, in the same
    folder.
    """
    stem, dot, endings = path.name.partition(".")
    return path.with_name(f"{stem}{MARK}{dot}{endings}")


def is_refused(path: Path) -> bool:
    """Return whether a file is a refused one, or the picture beside one."""
    return path.name.partition(".")[2].startswith(f"{MARK.removeprefix('.')}.")
