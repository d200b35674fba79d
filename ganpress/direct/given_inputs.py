"""Inputs for compressing a generator: latents, or the content of a folder of pictures or arrays."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ganpress.basics.pixel_values import uint8_to_images
from ganpress.compression.applying import held_out_count
from ganpress.data.prepared.fitting import fit_image
from ganpress.data.prepared.generator_inputs import LatentInputs, TrainingInputs
from ganpress.data.raw.image_files import decode, image_names, read_picture_file
from ganpress.errors import ConfigError, DataError

CALIBRATION_INPUTS = 64
SHOWN_INPUTS = 8
"""Largest number of held-out inputs that are drawn as pictures."""
MOST_LESSONS = 2_000
MOST_VALUES = 2**27
"""Of inputs that a generator is trained with, half a gigabyte: 682 pictures of 3x256x256."""
ARRAY_SUFFIX = ".npy"


def given_inputs(example: Tensor, data: Path | None, seed: int) -> tuple[list[str], Tensor]:
    """Return names and inputs (N, …): latents, or the content of the folder."""
    if data is not None:
        return _read_inputs(data, tuple(example.shape[1:]), seed)
    if example.dim() != 2:
        shape = "x".join(map(str, example.shape[1:]))
        raise ConfigError(
            f"the generator reads {shape}: give a folder of pictures like those it was trained on with --data"
        )
    count = CALIBRATION_INPUTS + min(SHOWN_INPUTS, held_out_count(example))
    return [f"latent{place}" for place in range(count)], LatentInputs(example.shape[1]).draw(seed, "compress", count)


def lessons(example: Tensor, data: Path | None, seed: int, held_out: Collection[str]) -> TrainingInputs:
    """Return the inputs that a generator is trained with: new latents, or the content of the folder, repeated.

    Args:
        example: one input (1, …).
        data: the folder; None for a generator of latents.
        seed: seed of the choice among many.
        held_out: names in the folder that are left out.
    """
    if data is None:
        return LatentInputs(example.shape[1])
    most = max(1, min(MOST_LESSONS, MOST_VALUES // example.numel()))
    return GivenInputs(_read_inputs(data, tuple(example.shape[1:]), seed, most, held_out)[1])


def _read_inputs(
    folder: Path,
    shape: tuple[int, ...],
    seed: int,
    most: int = CALIBRATION_INPUTS + SHOWN_INPUTS,
    left_out: Collection[str] = (),
) -> tuple[list[str], Tensor]:
    """Return at most so many pictures resized to one input, or arrays that have its shape; where all were to be left
    out, none is.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; --data needs a folder of pictures")
    arrays = sorted(one.relative_to(folder).as_posix() for one in folder.rglob(f"*{ARRAY_SUFFIX}"))
    names = arrays or image_names(folder)
    if not names:
        raise DataError(f"{folder} holds no pictures, and no arrays {ARRAY_SUFFIX}")
    names = [name for name in names if name not in left_out] or names
    order = np.random.default_rng(seed).permutation(len(names))[:most]
    chosen = [names[place] for place in sorted(order)]
    if arrays:
        return chosen, torch.stack([_read_array(folder / name, shape) for name in chosen])
    if len(shape) != 3 or shape[0] not in (1, 3):
        found = "x".join(map(str, shape))
        raise DataError(
            f"the generator reads {found}, which pictures of 1 or 3 channels are not; put arrays {ARRAY_SUFFIX} of "
            f"that shape, in [-1, 1], into {folder}"
        )
    pixels = [fit_image(decode(read_picture_file(folder / name), name), shape[1:], shape[0]) for name in chosen]
    return chosen, uint8_to_images(torch.from_numpy(np.stack(pixels)))


def _read_array(path: Path, shape: tuple[int, ...]) -> Tensor:
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is not a readable array ({' '.join(str(error).split())[:120]})") from None
    if values.dtype.kind not in "fiu" or values.size != int(np.prod(shape)):
        raise DataError(f"{path} is {values.shape} of {values.dtype}, but the generator reads {shape} numbers")
    return torch.from_numpy(values.astype(np.float32)).reshape(shape)


def parted(inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Split inputs into calibration inputs and held-out ones: a quarter, at most `SHOWN_INPUTS`; a single input is
    both.
    """
    held_out = min(SHOWN_INPUTS, len(inputs) // 4 or 1)
    return (inputs[:-held_out], inputs[-held_out:]) if len(inputs) > held_out else (inputs, inputs)


@dataclass(frozen=True)
class GivenInputs:
    """A finite set of inputs that is drawn repeatedly."""

    inputs: Tensor

    def random(self, stream: torch.Generator, count: int) -> Tensor:
        """Return `count` inputs, drawn with replacement."""
        return self.inputs[torch.randint(len(self.inputs), (count,), generator=stream)]


def training_inputs(calibration: Tensor) -> TrainingInputs:
    """Return the training inputs of an algorithm: new latents, or the given inputs, repeated."""
    return LatentInputs(calibration.shape[1]) if calibration.dim() == 2 else GivenInputs(calibration)
