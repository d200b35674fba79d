"""The idx format of MNIST and its relatives: plain or gzipped, read image by image.

Format: big-endian int32 magic (2051: uint8 images, 2049: uint8 labels), int32 sizes, then the bytes, row by row
(http://yann.lecun.com/exdb/mnist/). torchvision's reader is not used because it reads a whole file at once and trusts
its header.
"""

import gzip
import math
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from ganpress.data.raw.limits import LARGEST_PICTURE_PIXELS, MOST_LABELS
from ganpress.errors import DataError

IMAGES_MAGIC, LABELS_MAGIC = 2051, 2049
CHUNK_IMAGES, CHUNK_BYTES = 1024, 2**26


@dataclass(frozen=True)
class IdxHeader:
    """Magic number and sizes: (N, H, W) for images, (N,) for labels."""

    magic: int
    shape: tuple[int, ...]

    @property
    def item_bytes(self) -> int:
        """Bytes of one image or label."""
        return math.prod(self.shape[1:])

    @property
    def file_bytes(self) -> int:
        """Bytes of the whole, decompressed file."""
        return len(self.to_bytes()) + self.shape[0] * self.item_bytes

    def to_bytes(self) -> bytes:
        """The header as it stands in the file."""
        return struct.pack(f">{len(self.shape) + 1}I", self.magic, *self.shape)


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """Open `path`, decompressing where its name ends in .gz; damage becomes `DataError`."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            yield file  # type: ignore[misc]
    except FileNotFoundError:
        raise DataError(f"{path} is missing") from None
    except (gzip.BadGzipFile, zlib.error):
        raise DataError(f"{path} is not a readable gzip file; download it again") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None


def read_header(path: Path, magic: int) -> IdxHeader:
    """Read the header of an idx file that must start with `magic`.

    Raises:
        DataError: if the file is missing, too short for a header, or starts with another number.
    """
    with _opened(path) as file:
        return _header(file, path, magic)


def _header(file: IO[bytes], path: Path, magic: int) -> IdxHeader:
    dimensions = 3 if magic == IMAGES_MAGIC else 1
    needed = 4 + 4 * dimensions
    head = _read(file, needed)
    if len(head) < 4 or (found := struct.unpack(">I", head[:4])[0]) != magic:
        kind = "images" if magic == IMAGES_MAGIC else "labels"
        start = head[:4].hex(" ") or "an empty file"
        raise DataError(f"{path} is not an idx file of {kind}: expected magic {magic}, found {start}")
    if len(head) < needed:
        raise DataError(f"{path} is truncated: expected at least {needed} bytes, found {len(head)}; download it again")
    return _checked(IdxHeader(found, struct.unpack(f">{dimensions}I", head[4:])), path)


def _checked(header: IdxHeader, path: Path) -> IdxHeader:
    """Refuse a header of images without pixels, or of more than a picture or a list of labels may have."""
    if not 0 < header.item_bytes <= LARGEST_PICTURE_PIXELS:
        shape = " x ".join(f"{size:,}" for size in header.shape[1:])
        limit = f"1 to {LARGEST_PICTURE_PIXELS:,} pixels"
        raise DataError(f"{path} declares images of {shape} pixels; allowed are {limit}; download it again")
    if len(header.shape) == 1 and header.shape[0] > MOST_LABELS:
        raise DataError(f"{path} declares {header.shape[0]:,} labels; allowed are {MOST_LABELS:,}")
    return header


def _read(file: IO[bytes], size: int) -> bytes:
    """Read up to `size` bytes; a truncated gzip stream counts as the end."""
    parts = []
    try:
        while size > 0 and (part := file.read(min(size, 2**16))):
            parts.append(part)
            size -= len(part)
    except EOFError:
        pass
    return b"".join(parts)


def idx_chunks(path: Path, magic: int) -> Iterator[NDArray[np.uint8]]:
    """Yield the items of an idx file, up to 1024 at once: uint8 (n, H, W) or (n,); memory does not grow with the
    file.

    Raises:
        DataError: if the file is damaged, ends before its last item, or continues after it.
    """
    with _opened(path) as file:
        header = _header(file, path, magic)
        done = 0
        while done < header.shape[0]:
            most = max(1, min(CHUNK_IMAGES, CHUNK_BYTES // header.item_bytes))
            count = min(most, header.shape[0] - done)
            content = _read(file, count * header.item_bytes)
            if len(content) < count * header.item_bytes:
                found = len(header.to_bytes()) + done * header.item_bytes + len(content)
                raise DataError(
                    f"{path} is truncated: expected {header.file_bytes} bytes, found {found}; download it again"
                )
            done += count
            yield np.frombuffer(content, np.uint8).reshape(count, *header.shape[1:])
        if _read(file, 1):
            raise DataError(f"{path} continues after the {header.file_bytes} bytes of its header; the file is wrong")


def read_labels(path: Path) -> NDArray[np.uint8]:
    """Read a whole file of labels (N,), one byte each.

    Raises:
        DataError: as `idx_chunks`.
    """
    return np.concatenate([np.zeros(0, np.uint8), *idx_chunks(path, LABELS_MAGIC)])


def write_idx(path: Path, items: NDArray[np.uint8]) -> None:
    """Write images (N, H, W) or labels (N,) as an uncompressed idx file; equal arrays are equal bytes."""
    magic = IMAGES_MAGIC if items.ndim == 3 else LABELS_MAGIC
    path.write_bytes(IdxHeader(magic, items.shape).to_bytes() + np.ascontiguousarray(items).tobytes())
