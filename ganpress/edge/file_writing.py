"""Writing the files of a generator whole or not at all, and packing them."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ganpress.files.edge_files import parts_of
from ganpress.files.frames import SUFFIX, frame_of


@contextmanager
def whole_or_nothing(path: Path, *suffixes: str) -> Iterator[Path]:
    """Give a place to write at, and move what was written there to `path` when all went well.

    Args:
        path: the file; its folder is made.
        suffixes: of further files beside it, e.g. `.bin`.

    Yields:
        A path of the same name in a new folder of the same file system.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        place = Path(folder) / path.name
        yield place
        for suffix in (*suffixes, path.suffix):  # the one that is opened comes last
            place.with_suffix(suffix).replace(path.with_suffix(suffix))


def pack_files(files: tuple[Path, ...]) -> tuple[Path, ...]:
    """Put Zstandard frames in the place of files; a target opens the first one as it opened the plain one.

    Args:
        files: what `Target.write` wrote, the one that is opened first.

    Returns:
        The frames, in the same order.
    """
    frames = parts_of(files[0].with_name(files[0].name + SUFFIX))
    for plain, frame in reversed(list(zip(files, frames, strict=True))):  # the one that is opened comes last
        with whole_or_nothing(frame) as place:
            place.write_bytes(frame_of(plain.read_bytes()))
    for plain in files:
        plain.unlink()
    return frames
