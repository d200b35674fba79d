"""Reads files of arrays (`.npy`, `.npz`) in bounded memory. ganpress wrote them, but they may have been changed."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from ganpress.files.frames import largest_content

MOST_ARRAYS = 20_000


def map_array(path: Path) -> NDArray[Any]:
    """Map a `.npy` file into memory; its header is compared with the size of the file before anything is read.

    Raises:
        FileNotFoundError: if it is missing.
        ValueError: if it is truncated, or not an array of numbers.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise
    except Exception:  # a damaged header raises many types, with advice to read it unguarded
        array = None
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "iufb":
        raise ValueError("it is truncated, or is not a plain array")
    return array


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read every array of a `.npz` file.

    Raises:
        OSError: if it is missing.
        ValueError: if it is damaged, has anything but plain arrays, or unpacks to more than is allowed for its size.
    """
    largest = largest_content(path.stat().st_size)
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if len(members) > MOST_ARRAYS or sum(member.file_size for member in members) > largest:
                raise ValueError(
                    f"it holds more than {MOST_ARRAYS:,} arrays, or unpacks to more than {largest:,} bytes"
                )
            return {member.filename.removesuffix(".npy"): _array(archive, member) for member in members}
    except (ValueError, FileNotFoundError):
        raise
    except Exception:  # a damaged zip raises many types
        raise ValueError("it is not a complete archive of arrays") from None


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[Any]:
    content = archive.read(member)
    with archive.open(member) as file:
        if npy.read_magic(file) != (1, 0):
            raise ValueError("it contains something other than arrays")
        try:
            shape, columns_first, kind = npy.read_array_header_1_0(file)
        except Exception:  # numpy parses the header as Python's literals
            raise ValueError("the header of an array is damaged") from None
        start = file.tell()
    if kind.kind not in "iufbU" or any(size < 0 for size in shape):
        raise ValueError("it contains something other than plain arrays")
    values = np.frombuffer(content, kind, offset=start)
    made: NDArray[Any] = values.reshape(shape, order="F" if columns_first else "C").copy()
    return made
