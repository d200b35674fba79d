"""Images of one generator kept on disk, for those of others to be compared with, without drawing them again."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from ganpress.errors import DataError


class ImageSpool:
    """uint8 images (N, C, H, W) in a file, appended batch by batch and read back by their places."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._shape: tuple[int, ...] = ()
        self._count = 0
        path.write_bytes(b"")

    def __len__(self) -> int:
        return self._count

    def append(self, images: UInt8[Tensor, "n c h w"]) -> None:
        """Write uint8 images behind those that are there."""
        self._shape = tuple(images.shape[1:])
        with self.path.open("ab") as file:
            file.write(images.cpu().contiguous().numpy().tobytes())
        self._count += len(images)

    def batch(self, start: int, count: int) -> UInt8[Tensor, "n c h w"]:
        """Return the images from place `start` on.

        Raises:
            DataError: if fewer were written.
        """
        if start + count > self._count:
            raise DataError(f"images {start} to {start + count} are asked for, but {self._count} were drawn")
        offset = start * int(np.prod(self._shape))
        images = np.memmap(self.path, np.uint8, "r", offset, (count, *self._shape))
        return torch.from_numpy(np.array(images))
