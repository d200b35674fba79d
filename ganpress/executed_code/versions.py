"""Records the versions of torch and of the runtimes with each result, and compares them with the installed ones.

The same file says who made the result, when and from which commit. It is an output of the stage, so a colleague who
pulls the result can record it in another MLflow store as its maker's.
"""

import json
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ganpress.basics.whole_files import write_whole

RECORDED = (
    "torch", "torchvision", "onnxruntime", "openvino", "nncf", "executorch", "torchao", "MNN", "ncnn", "coremltools",
)  # fmt: skip
"""Recorded packages, by the name of their module."""
FOLDER = "artifacts/versions"
MADE = "made"


def record_versions(root: Path, stage: str, item: str | None, made: Mapping[str, object] | None = None) -> None:
    """Write which of these packages, in which versions, this process has loaded for a stage, and who made the result.

    Args:
        root: the project's root.
        stage: name of the stage.
        item: its item, if it has items.
        made: who made it, when and from what; None records nothing of this.
    """
    loaded: dict[str, object] = {
        name: installed for name in RECORDED if name in sys.modules and (installed := _installed(name))
    }
    if made:
        loaded[MADE] = dict(made)
    write_whole(root / path_of(stage, item), json.dumps(loaded, indent=2, sort_keys=True) + "\n")


def read_made(root: Path, stage: str, item: str | None) -> dict[str, object]:
    """Return who made the result of a stage; empty if nobody recorded it, as in results of older versions."""
    try:
        found = json.loads((root / path_of(stage, item)).read_text(encoding="utf-8"))[MADE]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}


def path_of(stage: str, item: str | None) -> str:
    """Return the file of a stage's versions, relative to the root."""
    return f"{FOLDER}/{stage}.json" if item is None else f"{FOLDER}/{stage}/{item}.json"


def version_changes(file: Path) -> list[str]:
    """Return in which packages a result was made with a version other than the installed one."""
    try:
        recorded = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    if not isinstance(recorded, dict):
        return []
    return [
        f"made with {name} {then}, now {_installed(name) or 'not installed'}"
        for name, then in sorted(recorded.items())
        if name in RECORDED and _installed(name) != then
    ]


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
