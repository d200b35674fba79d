"""Compares an exported Core ML package with torch's images, on a Mac.

It does not need ganpress: copy this file and the folder of an export to a Mac, and run

    python3 -m pip install coremltools numpy
    python3 check_on_macos.py artifacts/export/ITEM

It unpacks the package, runs Core ML on the inputs in `generator.check.npz`, and prints the SNR in decibels and the time
in milliseconds of each. The exit code is 1 if an image is farther from torch's than the export allowed.
"""

import argparse
import math
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

PACKAGE = "generator.mlpackage"
ARCHIVE, CHECK = f"{PACKAGE}.zip", "generator.check.npz"
UNITS = ("ALL", "CPU_AND_NE", "CPU_AND_GPU", "CPU_ONLY")


def decibels(wanted: Any, found: Any) -> float:
    """Return the signal-to-noise ratio of an image to torch's; infinite if they are equal."""
    signal = float(np.square(wanted.astype(np.float64)).sum())
    noise = float(np.square(found.astype(np.float64) - wanted).sum())
    if not math.isfinite(noise):
        return -math.inf
    return math.inf if noise == 0 else -math.inf if signal == 0 else 10 * math.log10(signal / noise)


def compared(predict: Callable[[Any], Any], check: Any) -> list[tuple[float, float]]:
    """Return the decibels to torch's image and the milliseconds of each stored input.

    Args:
        predict: one input (1, …) -> its image (1, C, H, W).
        check: the contents of `generator.check.npz`.
    """
    rows = []
    predict(check["inputs"][:1])  # the first call prepares the model
    for one, image in zip(check["inputs"], check["images"], strict=True):
        began = time.perf_counter()
        found = predict(one[None])
        milliseconds = 1000 * (time.perf_counter() - began)
        rows.append((decibels(image[None], np.asarray(found, np.float32)), milliseconds))
    return rows


def opened(package: Path, units: str) -> Callable[[Any], Any]:
    """Open the package in Core ML, which runs only on macOS."""
    import coremltools  # type: ignore[import-not-found,unused-ignore]

    model = coremltools.models.MLModel(str(package), compute_units=coremltools.ComputeUnit[units])
    source = model.get_spec().description.input[0].name
    return lambda inputs: model.predict({source: inputs})["images"]


def main(arguments: list[str]) -> int:
    """Print a row for each input; return 0 if all are near enough, 1 if one is not, 2 if Core ML cannot run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help=f"of the export, with {ARCHIVE} and {CHECK}")
    parser.add_argument("--units", choices=UNITS, default="ALL", help="processors that Core ML may use")
    given = parser.parse_args(arguments)
    missing = [name for name in (ARCHIVE, CHECK) if not (given.folder / name).is_file()]
    if missing:
        sys.stderr.write(f"{given.folder} holds no {' and no '.join(missing)}; decode packed files with `zstd -d`\n")
        return 2
    if sys.platform != "darwin":
        sys.stderr.write("Core ML runs on macOS alone; copy this file and the folder to a Mac\n")
        return 2
    check = np.load(given.folder / CHECK, allow_pickle=False)
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(given.folder / ARCHIVE) as archive:
            archive.extractall(folder)
        rows = compared(opened(Path(folder) / PACKAGE, given.units), check)
    enough = float(check["enough_snr_db"])
    for place, (db, milliseconds) in enumerate(rows):
        sys.stdout.write(f"input {place}: {db:.1f} dB, {milliseconds:.2f} ms{'' if db >= enough else ': REFUSED'}\n")
    return 0 if all(db >= enough for db, _ in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
