"""Records the versions of torch and of the runtimes with each result, and compares them with the installed ones."""

import json
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ganpress.basics.whole_files import write_whole

RECORDED = (
    "torch", "torchvision", "onnxruntime", "openvino", "nncf", "executorch", "torchao", "MNN", "ncnn", "coremltools",
)  # fmt: skip
"""Recorded packages, by the name of their module."""
FOLDER = "artifacts/versions"


def record_versions(root: Path, stage: str, item: str | None) -> None:
    """Write the versions of the recorded packages that this process has loaded for a stage."""
    loaded = {name: installed for name in RECORDED if name in sys.modules and (installed := _installed(name))}
    write_whole(root / path_of(stage, item), json.dumps(loaded, indent=2, sort_keys=True) + "\n")


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
