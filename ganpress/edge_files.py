"""The files of an exported generator by name: one that the runtime opens and what belongs to it, plain or packed."""

from pathlib import Path

from ganpress.config.edge import EDGE_SUFFIXES, TargetName
from ganpress.frames import SUFFIX, is_frame, plain_name

BESIDE = {".xml": (".bin",)}
"""Endings of further files that belong to the one that is opened: OpenVINO keeps its weights apart."""


def edge_name(target: TargetName, packed: bool = False) -> str:
    """Name of the file that the target opens, in the folder of one export."""
    return f"generator{EDGE_SUFFIXES[target]}{SUFFIX if packed else ''}"


EDGE_NAMES = tuple(edge_name(target, packed) for target in EDGE_SUFFIXES for packed in (False, True))
"""Every name that the file of an export may have."""


def find_edge_file(folder: Path) -> Path | None:
    """The file that a runtime opens in the folder of one export, which holds one; None where there is none."""
    return next((folder / name for name in EDGE_NAMES if (folder / name).exists()), None)


def parts_of(path: Path) -> tuple[Path, ...]:
    """All files that an edge file consists of, the one that is opened first.

    Args:
        path: plain, e.g. `generator.xml`, or packed, e.g. `generator.xml.zst`; its parts are packed, too.
    """
    plain, ending = path.with_name(plain_name(path)), SUFFIX if is_frame(path) else ""
    beside = (plain.with_suffix(suffix) for suffix in BESIDE.get(plain.suffix, ()))
    return (path, *(one.with_name(one.name + ending) for one in beside))
