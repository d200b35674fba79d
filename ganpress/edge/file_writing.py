"""Compresses the files of a generator with Zstandard."""

from pathlib import Path

from ganpress.basics.whole_files import write_whole
from ganpress.files.edge_files import parts_of
from ganpress.files.frames import SUFFIX, frame_of


def pack_files(files: tuple[Path, ...]) -> tuple[Path, ...]:
    """Replace files by Zstandard frames; a target opens the first one like the plain file.

    Args:
        files: what `Target.write` wrote, the one that is opened first.

    Returns:
        The frames, in the same order.
    """
    frames = parts_of(files[0].with_name(files[0].name + SUFFIX))
    for plain, frame in reversed(
        list(zip(files, frames, strict=True))
    ):  # The file that the runtime opens is replaced last.
        write_whole(frame, frame_of(plain.read_bytes()))
    for plain in files:
        plain.unlink()
    return frames
