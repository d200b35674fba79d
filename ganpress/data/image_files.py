"""Image files in a folder tree or in a zip: listing, decoding, packing."""

import io
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from ganpress.errors import DataError

IMAGE_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
"""Earliest time a zip can hold; a fixed one makes equal images equal bytes."""


def is_image_name(name: str) -> bool:
    """Whether a path, by its parts, is an image that was put there on purpose (not hidden, not macOS lint)."""
    path = PurePosixPath(name)
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
    return path.suffix.lower() in IMAGE_SUFFIXES and not hidden


def image_names(folder: Path) -> list[str]:
    """Return the images below `folder`, any depth, as sorted POSIX paths relative to it."""
    files = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in files if is_image_name(name))


def open_zip(path: Path) -> zipfile.ZipFile:
    """Open a zip for reading.

    Raises:
        DataError: if it is missing, cut off or no zip.
    """
    try:
        return zipfile.ZipFile(path)
    except FileNotFoundError:
        raise DataError(f"{path} is missing") from None
    except (zipfile.BadZipFile, OSError) as error:
        raise DataError(f"{path} is not a complete zip file ({error}); get it again") from None


def decode(content: bytes, name: str) -> NDArray[np.uint8]:
    """Decode an image file into uint8 (H, W, C), C = 1 for greyscale, 3 for anything coloured.

    The camera's orientation is applied, transparency is laid over white, 16-bit greyscale keeps its high byte.

    Raises:
        DataError: if the bytes are no image that Pillow can read in full.
    """
    try:
        with Image.open(io.BytesIO(content)) as opened:
            ImageOps.exif_transpose(opened, in_place=True)
            pixels = np.asarray(_plain(opened), np.uint8)
    except MemoryError:
        raise
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error and more
        raise DataError(f"{name} cannot be decoded ({' '.join(str(error).split()) or type(error).__name__})") from None
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def _plain(image: Image.Image) -> Image.Image:
    """Convert to mode L or RGB."""
    if image.mode in ("L", "RGB"):
        return image
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("L" if image.mode == "LA" else "RGB")
    return image.convert("L" if image.mode in ("1", "I", "F") else "RGB")


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """Encode uint8 (H, W) or (H, W, C), C = 1 or 3, as PNG."""
    content = io.BytesIO()
    grey = pixels.ndim == 3 and pixels.shape[2] == 1
    # Level 3: half the time of zlib's default for a few per cent more bytes.
    Image.fromarray(pixels[:, :, 0] if grey else pixels).save(content, "png", compress_level=3)
    return content.getvalue()


class ZipPacker:
    """A new zip of image files, uncompressed as they are compressed already; equal members give equal bytes."""

    def __init__(self, path: Path) -> None:
        self._archive = zipfile.ZipFile(path, "w", zipfile.ZIP_STORED)

    def add(self, name: str, content: bytes) -> None:
        """Append one file; times and permissions are fixed."""
        entry = zipfile.ZipInfo(name, ZIP_EPOCH)
        entry.create_system = 3  # Unix, also when packed elsewhere
        entry.external_attr = 0o644 << 16
        self._archive.writestr(entry, content)

    def __enter__(self) -> "ZipPacker":
        return self

    def __exit__(self, *_: object) -> None:
        self._archive.close()


def write_zip(path: Path, members: Iterable[tuple[str, bytes]]) -> int:
    """Pack `members` (name, content), in the given order, and return how many."""
    count = 0
    with ZipPacker(path) as packer:
        for name, content in members:
            packer.add(name, content)
            count += 1
    return count


def folder_members(folder: Path, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """Yield (name, content) of files below `folder`."""
    for name in names:
        yield name, (folder / name).read_bytes()
