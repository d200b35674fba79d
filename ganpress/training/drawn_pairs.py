"""Pairs from a generator without code (a service, a diffusion model, a program), as a teacher for students."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ganpress.basics.pixel_values import uint8_to_images
from ganpress.data.raw.image_files import decode, image_names, read_picture_file
from ganpress.errors import DataError
from ganpress.files.array_files import map_array

INPUTS = "inputs.npy"
"""File of the inputs in a folder of pairs."""


@dataclass(frozen=True)
class Pairs:
    """Inputs and the images of them, of a teacher of which nothing else is known."""

    inputs: Tensor
    """(N, Z) latents or (N, C, H, W) pictures in [-1, 1]."""
    images: Tensor
    """(N, C, H, W) in [-1, 1]."""

    @classmethod
    def read(cls, folder: Path | str) -> "Pairs":
        """Read a folder that holds `inputs.npy` (N, …), and as many pictures, in the order of their names.

        Raises:
            DataError: if one of these is missing or damaged, their numbers differ, or the pictures' sizes do.
        """
        names = image_names(Path(folder)) if Path(folder).is_dir() else []
        try:
            inputs = map_array(Path(folder) / INPUTS)
        except (OSError, ValueError) as error:
            words = " ".join(str(error).split())[:120]
            raise DataError(f"{folder} needs {INPUTS}, the inputs (N, …) of its pictures ({words})") from None
        if inputs.dtype.kind not in "fiu" or not len(names) == len(inputs) > 0:
            raise DataError(
                f"{folder} holds {len(names):,} pictures, and {INPUTS} {len(inputs):,} rows of {inputs.dtype}"
            )
        pixels = [decode(read_picture_file(Path(folder) / name), name) for name in names]
        shapes = {one.shape for one in pixels}
        if len(shapes) != 1:
            raise DataError(f"{folder} holds pictures of different sizes: {', '.join(map(str, sorted(shapes)[:3]))}")
        images = uint8_to_images(torch.from_numpy(np.stack(pixels).transpose(0, 3, 1, 2)))
        return cls(torch.from_numpy(inputs.astype(np.float32)), images)

    def random(self, stream: torch.Generator, count: int) -> Float[Tensor, "n ..."]:
        """Return `count` of the inputs, drawn with replacement."""
        return self.inputs[torch.randint(len(self.inputs), (count,), generator=stream)]
