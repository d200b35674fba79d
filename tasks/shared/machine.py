"""Describes the machine that measured. The description is written beside the measurements, because the report may be
written elsewhere and later.
"""

import json
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from ganpress.edge.roofline import Peaks
from ganpress.edge.targets.target import Target
from ganpress.errors import DataError, shown
from ganpress.files.plain_values import read_json
from ganpress.registries import TARGETS

FILE = "machine.json"
PACKAGES = ("onnx", "numpy")
"""Packages whose versions are recorded, besides the runtimes of the targets."""
PEAKS = "peaks"
"""Key of the processor's peak performance; all other values in the file are texts."""


def write_machine(folder: Path, latency_threads: int, peaks: Peaks) -> None:
    """Write `machine.json`: processor, cores, threads, system and versions of the runtimes that were measured.

    Args:
        folder: The stage's folder.
        latency_threads: Number of threads of a timed generator, in any runtime.
        peaks: Peak performance of the processor.
    """
    facts: dict[str, object] = {
        "processor": processor_name(),
        "cores": str(os.cpu_count()),
        "threads": f"{torch.get_num_threads()} for scores, {latency_threads} for latency",
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": str(torch.__version__),  # The version with its build, +cpu or +cu…, which package metadata leaves out.
    }
    runtimes = [target.packages[0] for target in TARGETS.values() if target.packages]
    facts |= {name: found for name in (*runtimes, *PACKAGES) if (found := _version(name)) is not None}
    facts |= {target.programs[0]: target.version() for target in TARGETS.values() if _is_program(target)}
    facts[PEAKS] = {"threads": peaks.threads, "gmacs_per_s": dict(peaks.gmacs_per_s)}
    (folder / FILE).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def read_machine(folder: Path) -> dict[str, str]:
    """Read the texts that `write_machine` wrote, in its order; empty if the file does not exist.

    Raises:
        DataError: if the file is damaged.
    """
    facts = {name: value for name, value in _read(folder).items() if name != PEAKS}
    if not all(isinstance(value, str) for value in facts.values()):
        raise _damaged(folder / FILE, "a mapping of names to texts is needed")
    return facts


def read_peaks(folder: Path) -> Peaks | None:
    """Read the peaks that `write_machine` wrote; None if there are none.

    Raises:
        DataError: if the file is damaged.
    """
    peaks = _read(folder).get(PEAKS)
    if peaks is None:
        return None
    try:
        return Peaks(int(peaks["threads"]), {str(name): float(rate) for name, rate in peaks["gmacs_per_s"].items()})
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise _damaged(folder / FILE, f"{PEAKS}: {type(error).__name__}: {error}") from None


def _read(folder: Path) -> dict[str, Any]:
    path = folder / FILE
    try:
        facts = read_json(path)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise _damaged(path, shown(error)) from None
    if not isinstance(facts, dict):
        raise _damaged(path, "a mapping of names to texts is needed")
    return facts


def _damaged(path: Path, reason: str) -> DataError:
    return DataError(f"{path} is damaged ({reason}); delete it and run `dvc repro evaluate`")


def processor_name() -> str:
    """Return the name of the processor as reported by the system, or `unknown`."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"


def _is_program(target: Target) -> bool:
    """Return whether the runtime of a target is a program that is installed."""
    return not target.packages and target.missing() is None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
