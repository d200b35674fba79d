"""Names of edge files that were refused: kept for whoever looks into it, and never taken for an export."""

from pathlib import Path

MARK = ".refused"


def refused_path(path: Path) -> Path:
    """Where a refused file is kept: `generator.xml.zst` -> `generator.refused.xml.zst`, in the same folder."""
    stem, dot, endings = path.name.partition(".")
    return path.with_name(f"{stem}{MARK}{dot}{endings}")


def is_refused(path: Path) -> bool:
    """Whether a file was kept because it was refused, or is the picture beside one."""
    return path.name.partition(".")[2].startswith(f"{MARK.removeprefix('.')}.")
