"""Names of the files of an exported generator: the one that the runtime opens and those that belong to it, plain or
packed.
"""

from collections.abc import Iterator
from pathlib import Path

from ganpress.files.frames import SUFFIX, is_frame, plain_name
from ganpress.registries import TARGETS


def edge_name(target: str, packed: bool = False) -> str:
    """Return the name of the file that the target opens, in the folder of one export."""
    return f"generator{TARGETS[target].suffix}{SUFFIX if packed else ''}"


def edge_names() -> Iterator[str]:
    """Return every name that the file of an export may have."""
    return (edge_name(target, packed) for target in TARGETS for packed in (False, True))


def find_edge_file(folder: Path) -> Path | None:
    """Return the file that a runtime opens in the folder of one export; None if there is none."""
    return next((folder / name for name in edge_names() if (folder / name).exists()), None)


def parts_of(path: Path) -> tuple[Path, ...]:
    """Return all files of an edge file, starting with the one that is opened.

    Args:
        path: plain, e.g. `generator.xml`, or packed, e.g. `generator.xml.zst`; its parts are then packed, too.
    """
    plain, ending = path.with_name(plain_name(path)), SUFFIX if is_frame(path) else ""
    suffixes = next((target.beside for target in TARGETS.values() if target.suffix == plain.suffix), ())
    beside = (plain.with_suffix(suffix) for suffix in suffixes)
    return (path, *(one.with_name(one.name + ending) for one in beside))


def is_onnx(path: Path) -> bool:
    """Whether an edge file is ONNX by its name, plain or packed: browsers run such files, and MLflow serves them."""
    suffix = Path(plain_name(path)).suffix
    return any(target.is_onnx and target.suffix == suffix for target in TARGETS.values())
