"""Image files in a folder tree or in a zip: listing, decoding, packing."""

import io
import logging
import warnings
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from ganpress.data.raw.limits import LARGEST_ENTRY_BYTES, LARGEST_PICTURE_PIXELS, MOST_ENTRIES, largest_unpacked
from ganpress.errors import DataError, shown

IMAGE_SUFFIXES = frozenset({
    *(".avif", ".bmp", ".gif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm"),
    *(".ppm", ".tga", ".tif", ".tiff", ".webp"),
})  # fmt: skip
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
"""Formats that Pillow may open. It identifies a file by its bytes, not its name, and would start Ghostscript for
PostScript."""
DARK_16_BIT = 4096
"""Value below which all values of a 16-bit picture mean that it has 12 bits or fewer; its high bytes would be nearly
black."""
COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)
logging.getLogger("PIL").setLevel(
    logging.CRITICAL
)  # Pillow writes about damaged files to stderr; the error of `decode` is enough.
ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
"""Earliest time that a zip can store; a fixed time gives equal bytes for equal images."""


def is_image_name(name: str) -> bool:
    """Return whether a path, given by its parts, is an image and neither hidden nor a metadata file of macOS."""
    path = PurePosixPath(name)
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
    return path.suffix.lower() in IMAGE_SUFFIXES and not hidden


def image_names(folder: Path) -> list[str]:
    """Return the images below `folder`, any depth, as sorted POSIX paths relative to it."""
    files = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in files if is_image_name(name))


def open_zip(path: Path) -> zipfile.ZipFile:
    """Open a zip for reading; its declared entries are within the limits of `ganpress.data.raw.limits`.

    Raises:
        DataError: if it is missing, truncated, not a zip, or too large.
    """
    try:
        archive = zipfile.ZipFile(path)
    except FileNotFoundError:
        raise DataError(f"{path} is missing") from None
    except Exception:  # A damaged directory raises many types of errors.
        raise DataError(f"{path} is not a complete zip file; download it again") from None
    try:
        _check_entries(archive.infolist(), path)
    except DataError:
        archive.close()
        raise
    return archive


def _check_entries(entries: list[zipfile.ZipInfo], path: Path) -> None:
    if len(entries) > MOST_ENTRIES:
        raise DataError(f"{path} has {len(entries):,} files, but only {MOST_ENTRIES:,} are allowed; split it")
    largest = largest_unpacked(path.stat().st_size)
    total = sum(entry.file_size for entry in entries)
    if total > largest:
        raise DataError(
            f"{path} unpacks to {total:,} bytes, but only {largest:,} are allowed for its size; unpack it by hand"
        )
    for entry in entries:
        check_entry(entry.filename, entry.file_size, str(path))


def check_entry(name: str, size: int, where: str) -> None:
    """Refuse an entry of an archive that leaves its folder or is too large.

    Raises:
        DataError: if so; the message names the entry.
    """
    if name.startswith(("/", "\\")) or ".." in PurePosixPath(name.replace("\\", "/")).parts or "\0" in name:
        raise DataError(f"{where} contains '{shown(name)}', a path outside the archive; get it from another place")
    if not 0 <= size <= LARGEST_ENTRY_BYTES:
        raise DataError(
            f"{where}: {shown(name)} has {size:,} bytes, but only {LARGEST_ENTRY_BYTES:,} are allowed for one file"
        )


def read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """Read one file of a zip.

    Raises:
        DataError: if it is damaged, encrypted or compressed by an unsupported method.
    """
    try:
        if archive.getinfo(name).compress_type not in COMPRESSIONS:
            raise DataError(
                f"{shown(name)} cannot be read from {archive.filename}: its compression method is not supported"
            )
        return archive.read(name)
    except DataError:
        raise
    except Exception:  # A damaged or encrypted entry raises many types of errors.
        reason = "it is damaged or encrypted"
        raise DataError(f"{shown(name)} cannot be read from {archive.filename}: {reason}; download it again") from None


def read_picture_file(path: Path) -> bytes:
    """Read a picture's file.

    Raises:
        DataError: if it is too large or cannot be read.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_ENTRY_BYTES + 1)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    if len(content) > LARGEST_ENTRY_BYTES:
        raise DataError(f"{path} has more than the {LARGEST_ENTRY_BYTES:,} bytes that are allowed for one picture")
    return content


def decode(content: bytes, name: str) -> NDArray[np.uint8]:
    """Decode an image file into uint8 (H, W, C), C = 1 for greyscale, 3 for colour.

    The camera's orientation is applied, transparent pictures are composited over white, and 16-bit greyscale keeps its
    high byte. From a file with several pictures the first one is read.

    Raises:
        DataError: if Pillow cannot read the whole image, it has too many pixels, or its values have more than eight
            bits and the values of black and white are not given.
    """
    with opened_picture(content, name) as opened:
        ImageOps.exif_transpose(opened, in_place=True)
        pixels = np.asarray(_plain(opened, name), np.uint8)
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


@contextmanager
def opened_picture(content: bytes, name: str) -> Iterator[Image.Image]:
    """Open a picture of a known format and a bounded size; any failure is reported in one line.

    Raises:
        DataError: if it cannot be read, or is larger than `LARGEST_PICTURE_PIXELS`.
    """
    try:
        with (
            warnings.catch_warnings()
        ):  # Pillow warns about large pictures and unusual fields; our own errors report what is refused.
            warnings.simplefilter("ignore")
            # A TGA file has no signature, so any damaged file would be identified as one.
            formats = ("TGA",) if name.lower().endswith(".tga") else FORMATS
            with Image.open(io.BytesIO(content), formats=formats) as opened:
                pixels = opened.width * opened.height
                if not 0 < pixels <= LARGEST_PICTURE_PIXELS:
                    found = f"{opened.width:,} x {opened.height:,} pixels"
                    limit = f"allowed are 1 to {LARGEST_PICTURE_PIXELS:,} in all"
                    raise DataError(f"{shown(name)} cannot be decoded: it has {found}; {limit}")
                yield opened
    except DataError:
        raise
    except Image.DecompressionBombError:
        limit = f"it has more than {LARGEST_PICTURE_PIXELS:,} pixels"
        raise DataError(f"{shown(name)} cannot be decoded: {limit}, which are allowed") from None
    except Exception:  # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error and more
        reason = f"it is damaged, truncated, or none of {', '.join(FORMATS)}"
        raise DataError(f"{shown(name)} cannot be decoded: {reason}") from None


def is_deep(image: Image.Image) -> bool:
    """Return whether a picture's values have more than eight bits."""
    return image.mode in ("I", "F") or image.mode.startswith("I;16")


def _plain(image: Image.Image, name: str) -> Image.Image:
    """Convert to mode L or RGB."""
    if image.mode in ("L", "RGB"):
        return image
    if is_deep(image):
        values = np.asarray(image)
        if image.mode in ("I", "F") or 0 < values.max(initial=0) < DARK_16_BIT:
            raise DataError(
                f"{shown(name)} has values from {values.min():.6g} to {values.max():.6g}, not 0 to 255; import "
                f"it with `ganpress data add folder:PATH --values LOW:HIGH`, where LOW is black and HIGH is white"
            )
        return Image.fromarray((values >> 8).astype(np.uint8))
    if image.has_transparency_data:
        return over_background(image, "white")
    return image.convert("L" if image.mode == "1" else "RGB")


def over_background(image: Image.Image, colour: str) -> Image.Image:
    """Composite a transparent picture over one colour; the result has mode L or RGB."""
    layer = image.convert("RGBA")
    below = Image.new("RGBA", layer.size, colour)
    return Image.alpha_composite(below, layer).convert("L" if image.mode == "LA" else "RGB")


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """Encode uint8 (H, W) or (H, W, C), C = 1 or 3, as PNG."""
    content = io.BytesIO()
    grey = pixels.ndim == 3 and pixels.shape[2] == 1
    # Level 3: half the time of zlib's default for a few per cent more bytes.
    Image.fromarray(pixels[:, :, 0] if grey else pixels).save(content, "png", compress_level=3)
    return content.getvalue()


class ZipPacker:
    """A new zip of image files, stored without compression because they are compressed already; equal members give
    equal bytes.
    """

    def __init__(self, path: Path) -> None:
        self._archive = zipfile.ZipFile(path, "w", zipfile.ZIP_STORED)

    def add(self, name: str, content: bytes) -> None:
        """Append one file; times and permissions are fixed."""
        entry = zipfile.ZipInfo(name, ZIP_EPOCH)
        entry.create_system = 3  # The system is always recorded as Unix.
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
        yield name, read_picture_file(folder / name)
