"""Measures the gain by 16-bit activations on the published horse2zebra generator, and by each part of a16w8 files.

    python -m benchmarks.wide_activations --generators <folder of the weights and horse_0.png, horse_1.png, …>
        [--more <folder of further pictures>]

Inputs are crops of 128x128 pixels; the first two photographs and their mirror images are the calibration, to which
`--more` adds 32 pictures of another kind. Prints the SNR to torch's images in decibels for each photograph. Each row
writes a new file, which takes a minute or two.
"""

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from ganpress.edge.graphs import qdq_numbers
from ganpress.imported.weight_keys import import_generator
from ganpress.metrics.fidelity import compare_outputs
from ganpress.registries import TARGETS

WEIGHTS = "gan_compression_horse2zebra.pth"
SEEN = 2
CROP = slice(48, 176)
FURTHER = 32


def crops(folder: Path) -> Tensor:
    """The photographs (n, 3, 128, 128) in [-1, 1]."""
    pixels = [np.array(Image.open(path).convert("RGB")) for path in sorted(folder.glob("horse_*.png"))]
    pictures = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 127.5 - 1
    return pictures[:, :, CROP, CROP].contiguous()


@contextmanager
def without(headroom: bool = False, compensation: bool = False) -> Iterator[None]:
    """Write files as they would be without wider ranges, or with the runtime's own rounding of the weights."""
    reach = 1.0 if headroom else qdq_numbers.HEADROOM
    rounding = (lambda model, _: model) if compensation else qdq_numbers.with_careful_weights
    with patch.object(qdq_numbers, "HEADROOM", reach), patch.object(qdq_numbers, "with_careful_weights", rounding):
        yield


def further(folder: Path) -> Tensor:
    """Every so many-th picture below a folder, as pictures (32, 3, 128, 128) in [-1, 1]."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".png"))
    chosen = paths[:: max(1, len(paths) // FURTHER)][:FURTHER]
    pixels = [np.array(Image.open(path).convert("RGB").resize((128, 128))) for path in chosen]
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 127.5 - 1


def decibels(model: nn.Module, pictures: Tensor, number_type: str, more: Tensor) -> list[float | None]:
    """Of each picture."""
    seen = torch.cat([pictures[:SEEN], pictures[:SEEN].flip(-1), more])
    with tempfile.TemporaryDirectory(prefix="ganpress-wide-") as folder:
        path = Path(folder) / "generator.qdq.onnx"
        TARGETS["qnn"].write(model, path, pictures[:1], number_type, seen)
        runner = TARGETS["qnn"].open(path)
        return [compare_outputs(model, runner, one[None]).snr_db for one in pictures]


def main() -> None:
    """Write, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--generators", type=Path, required=True)
    parser.add_argument("--more", type=Path)
    given = parser.parse_args()
    folder = given.generators
    model, pictures = import_generator(folder / WEIGHTS, "gan_compression")[0], crops(folder)
    none = pictures[:0]
    rows = {
        "a16w8": ("a16w8", {}),
        "a16w8, the runtime's rounding of weights": ("a16w8", {"compensation": True}),
        "… and no wider ranges": ("a16w8", {"compensation": True, "headroom": True}),
        "a8w8": ("a8w8", {}),
    }
    for name, (number_type, left_out) in rows.items():
        with without(**left_out):
            print(f"{name:<44}", [f"{one:.1f}" for one in decibels(model, pictures, number_type, none)], flush=True)
    for number_type in ("a16w8", "a8w8") if given.more else ():
        found = decibels(model, pictures, number_type, further(given.more))
        print(f"{f'{number_type}, with further pictures':<44}", [f"{one:.1f}" for one in found], flush=True)


if __name__ == "__main__":
    main()
