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
"""What frames may decode to: as large as an ONNX file can be. A damaged header may claim any size."""
FREE_CONTENT_BYTES = 64 * 2**20
MOST_EXPANSION = 512
"""What a file decodes to is at most 64 MiB and 512 times its own size. A network of float32 of which 1 in 1,000 weights
is left comes to about 250 times; a frame of nothing but zeros to 30,000 times.
"""
MAGIC = b"\x28\xb5\x2f\xfd"
MOST_FRAMES = 10_000
"""Of one file that has several."""
LONGEST_FRAME_HEADER = 18
PIECE_BYTES = 2**16
NO_FRAME = "it is no whole Zstandard frame, or its checksum does not fit"


def largest_content(stored_bytes: int) -> int:
    """Bytes that the frames of a file of this size may decode to, all together."""
    return min(LARGEST_CONTENT_BYTES, FREE_CONTENT_BYTES + MOST_EXPANSION * stored_bytes)


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
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}; export the generator again") from None
    return _decoded(path, stored) if is_frame(path) else stored


def _decoded(path: Path, frame: bytes) -> bytes:
    try:
        return decode_frame(frame, largest_content(len(frame)), checksum=True)
    except ValueError as error:
        raise CheckpointError(f"{path} is truncated or damaged: {error}; export it again") from None


def decode_frames(frames: bytes, largest: int) -> bytes:
    """Decode frames one after the other, as every Zstandard decoder does, that say the sizes of their contents.

    Raises:
        ValueError: as `decode_frame`, which has `largest` for all of them together; or if they are too many.
    """
    parts: list[bytes] = []
    place = 0
    while place < len(frames):
        if len(parts) == MOST_FRAMES:
            raise ValueError(f"it has more than {MOST_FRAMES:,} frames")
        content, place = _decode_at(frames, place, largest)
        largest -= len(content)
        parts.append(content)
    return b"".join(parts)


def _decode_at(frames: bytes, place: int, largest: int) -> tuple[bytes, int]:
    """The content of the frame at a place, and where the next one begins."""
    import zstandard

    decoder = zstandard.ZstdDecompressor().decompressobj()
    parts: list[bytes] = []
    try:
        _check_size(frames[place : place + LONGEST_FRAME_HEADER], largest, checksum=True)
        while not decoder.eof and place < len(frames):
            piece = frames[place : place + PIECE_BYTES]
            parts.append(decoder.decompress(piece))
            place += len(piece) - len(decoder.unused_data)
    except (zstandard.ZstdError, MemoryError):
        raise ValueError(NO_FRAME) from None
    if not decoder.eof:
        raise ValueError(NO_FRAME)
    return b"".join(parts), place


def decode_frame(frame: bytes, largest: int, checksum: bool = False) -> bytes:
    """Decode one frame that says the size of its content.

    Args:
        frame: nothing but the frame.
        largest: bytes that it may decode to; no memory is taken for more.
        checksum: whether it must have one.

    Raises:
        ValueError: if it is no such frame, damaged, or larger.
    """
    import zstandard

    try:
        _check_size(frame, largest, checksum)
        content: bytes = zstandard.ZstdDecompressor().decompress(frame, allow_extra_data=False)
    except (zstandard.ZstdError, MemoryError):
        raise ValueError(NO_FRAME) from None
    return content


def _check_size(frame: bytes, largest: int, checksum: bool) -> None:
    import zstandard

    header = zstandard.get_frame_parameters(frame)
    size = header.content_size
    if size == zstandard.CONTENTSIZE_UNKNOWN:
        raise ValueError("its header does not say how large it is")
    if size > largest:
        raise ValueError(f"its header says {size:,} bytes, {largest:,} are allowed for a file of this size")
    if checksum and not header.has_checksum:
        raise ValueError("it has no checksum")
