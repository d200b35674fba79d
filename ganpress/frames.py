"""Files kept small as Zstandard frames (RFC 8878), the same byte for byte when they are read."""

from pathlib import Path

from ganpress.errors import CheckpointError

SUFFIX = ".zst"
"""Behind a file's own name."""
LEVELS = (3, 22)
"""The smaller result is kept. Codes of weights repeat nothing, so that entropy coding is all that helps them, and the
longer search of the highest level now and then costs some bytes; graphs and names are where it pays.
"""
CODING = f"Zstandard, the smaller of levels {' and '.join(map(str, LEVELS))}"
LARGEST_CONTENT_BYTES = 2**31 - 1
"""What a frame may decode to: as large as an ONNX file can be. A damaged header may claim any size."""


def frame_of(content: bytes) -> bytes:
    """One frame with the size and the checksum of its content; the same content gives the same bytes.

    That holds for one version of the coder. What a frame decodes to holds for all.
    """
    import zstandard

    coders = [zstandard.ZstdCompressor(level=level, write_content_size=True, write_checksum=True) for level in LEVELS]
    frames: list[bytes] = [coder.compress(content) for coder in coders]
    return min(frames, key=len)


def is_frame(path: Path) -> bool:
    """Whether a file is a frame, by its name."""
    return path.suffix == SUFFIX


def plain_name(path: Path) -> str:
    """Name of a file without the ending of a frame."""
    return path.name.removesuffix(SUFFIX)


def read_content(path: Path) -> bytes:
    """Read a file, and decode it where it is a frame.

    Raises:
        CheckpointError: if it is missing, or a frame that is truncated or damaged.
    """
    try:
        stored = path.read_bytes()
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist; export the generator first") from None
    return _decoded(path, stored) if is_frame(path) else stored


def _decoded(path: Path, frame: bytes) -> bytes:
    import zstandard

    try:
        header = zstandard.get_frame_parameters(frame)
        if not header.has_checksum:
            raise zstandard.ZstdError("it has no checksum")
        if header.content_size > LARGEST_CONTENT_BYTES:
            raise zstandard.ZstdError(f"its header says {header.content_size:,} bytes")
        content: bytes = zstandard.ZstdDecompressor().decompress(frame, allow_extra_data=False)
    except (zstandard.ZstdError, MemoryError) as error:
        raise CheckpointError(f"{path} is truncated or damaged: {error}; export it again") from None
    return content
