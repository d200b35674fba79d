"""The machine that measured: written beside the measurements, since the report may be written elsewhere and later."""

import json
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from ganpress.errors import DataError

FILE = "machine.json"
PACKAGES = ("onnxruntime", "onnx", "numpy")


def write_machine(folder: Path, latency_threads: int) -> None:
    """Write `machine.json`: processor, cores, threads, system and versions of the runtimes that made the numbers.

    Args:
        folder: The stage's folder.
        latency_threads: Threads that a timed generator had, in either runtime.
    """
    facts = {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "threads": f"{torch.get_num_threads()} for scores, {latency_threads} for latency",
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": str(torch.__version__),  # with its build, +cpu or +cu…, which package metadata leaves out
    }
    facts |= {name: found for name in PACKAGES if (found := _version(name)) is not None}
    (folder / FILE).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def read_machine(folder: Path) -> dict[str, str]:
    """Read what `write_machine` wrote, in its order; empty where there is no such file.

    Raises:
        DataError: if the file is damaged.
    """
    path = folder / FILE
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise _damaged(path, str(error)) from None
    if not isinstance(facts, dict) or not all(isinstance(value, str) for value in facts.values()):
        raise _damaged(path, "texts by name are needed")
    return facts


def _damaged(path: Path, reason: str) -> DataError:
    return DataError(f"{path} is damaged ({reason}); delete it and run `dvc repro evaluate`")


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
