"""Measures the gain by 16-bit activations on the published horse2zebra generator, and by each part of a16w8 files.

    python -m benchmarks.wide_activations --generators <folder of the weights and horse_0.png, horse_1.png, …>
        [--more <folder of further pictures>] [--train 800]

Inputs are crops of 128x128 pixels; the first two photographs and their mirror images are the calibration, to which
`--more` adds 32 pictures of another kind. Prints the SNR to torch's images in decibels for each photograph. Each row
writes a new file, which takes a minute or two. `--train` trains 8-bit integers (`qad`) on so many random crops of these
photographs and of the further pictures, half of each, and prints what torch computes with them.
"""

import argparse
import copy
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from ganpress.compression.algorithms.linear_quantization import QUANTIZE, LinearQuantization
from ganpress.compression.algorithms.quantization_aware import QAD, QuantizationAware
from ganpress.compression.compressor import CompressionData
from ganpress.edge.graphs import qdq_numbers
from ganpress.imported.weight_keys import import_generator
from ganpress.metrics.fidelity import compare_outputs
from ganpress.registries import TARGETS
from ganpress.training.loop import TrainingRun
from models.builders import Blueprint

WEIGHTS = "gan_compression_horse2zebra.pth"
SEEN = 2
SIDE = 128
CROP = slice(48, 48 + SIDE)
FURTHER = 32
TRAINED_BATCH = 2
TRAINED_RATE = 1e-4


def photographs(folder: Path) -> Tensor:
    """The photographs (n, 3, 256, 256) in [-1, 1]."""
    pixels = [np.array(Image.open(path).convert("RGB")) for path in sorted(folder.glob("horse_*.png"))]
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 127.5 - 1


@dataclass(frozen=True)
class Crops:
    """Random crops of the photographs of the calibration, mirrored or not, and as many of the further pictures."""

    wide: Tensor
    more: Tensor

    def random(self, stream: torch.Generator, count: int) -> Tensor:
        """Draw inputs (count, 3, 128, 128)."""
        return torch.stack([self._one(stream) for _ in range(count)])

    def _one(self, stream: torch.Generator) -> Tensor:
        further, mirrored = torch.randint(2, (2,), generator=stream).bool().tolist()
        source = self.more if further and len(self.more) else self.wide
        picture = source[int(torch.randint(len(source), (1,), generator=stream))]
        top, left = torch.randint(picture.shape[-1] - SIDE + 1, (2,), generator=stream).tolist()
        picture = picture[:, top : top + SIDE, left : left + SIDE]
        return picture.flip(-1) if mirrored else picture


def trained(model: nn.Module, crops: Crops, images: int, activation_bits: int | None) -> dict[str, nn.Module]:
    """Round to 8 bits as it is, with compensation, and by training on crops."""
    data = CompressionData(
        crops.random(torch.Generator().manual_seed(0), 16), 0, crops, TrainingRun(0, "wide"), torch.device("cpu")
    )
    blueprint = Blueprint("resnet_generator", {})
    width = {"weight_bits": 8, "activation_bits": activation_bits, "clipping": "mse"}
    width |= {"activation_clipping": "percentile", "percentile": 99.999}
    rates = {"learning_rate": TRAINED_RATE, "step_learning_rate": TRAINED_RATE, "batch_size": TRAINED_BATCH}
    learning = QuantizationAware(**width, **rates, train_images=images)
    rounding = {"rounded": LinearQuantization(**width), "compensated": LinearQuantization(**width, compensated=True)}
    found = {
        name: QUANTIZE.compress(copy.deepcopy(model), blueprint, options, data)[0] for name, options in rounding.items()
    }
    return found | {"qad": QAD.compress(copy.deepcopy(model), blueprint, learning, data)[0]}


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
    parser.add_argument("--train", type=int, default=0)
    given = parser.parse_args()
    folder = given.generators
    model, wide = import_generator(folder / WEIGHTS, "gan_compression")[0], photographs(folder)
    pictures = wide[:, :, CROP, CROP].contiguous()
    more, none = further(given.more) if given.more else pictures[:0], pictures[:0]
    if given.train:
        for bits in (None, 8):
            for name, made in trained(model.eval(), Crops(wide[:SEEN], more), given.train, bits).items():
                found = [compare_outputs(model, made, one[None]).snr_db for one in pictures]
                print(f"{f'w8a{bits or 32} {name}':<44}", [f"{one:.1f}" for one in found], flush=True)
        return
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
        found = decibels(model, pictures, number_type, more)
        print(f"{f'{number_type}, with further pictures':<44}", [f"{one:.1f}" for one in found], flush=True)


if __name__ == "__main__":
    main()
