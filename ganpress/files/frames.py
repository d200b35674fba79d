"""Stores files as Zstandard frames (RFC 8878), which decode to identical bytes."""

from pathlib import Path

from ganpress.errors import CheckpointError

SUFFIX = ".zst"
"""Suffix that is appended to a file's own name."""
LEVELS = (3, 22)
"""Compression levels, of which the smaller result is kept. Quantized weights have no repetitions, so only entropy
coding helps, and the longer search of the highest level sometimes costs a few bytes; it helps for graphs and names.
"""
CODING = f"Zstandard, the smaller of levels {' and '.join(map(str, LEVELS))}"
LARGEST_CONTENT_BYTES = 2**31 - 1
"""Largest decoded size, that of the largest ONNX file; a damaged header may declare any size."""
FREE_CONTENT_BYTES = 64 * 2**20
MOST_EXPANSION = 512
"""The decoded size of a file is at most 64 MiB plus 512 times its own size. A float32 network of which 1 in 1,000
weights remains reaches about 250 times; a frame of only zeros reaches 30,000 times.
"""
MAGIC = b"\x28\xb5\x2f\xfd"
MOST_FRAMES = 10_000
"""Largest number of frames in one file."""
LONGEST_FRAME_HEADER = 18
PIECE_BYTES = 2**16
NO_FRAME = "it is not a complete Zstandard frame, or its checksum does not match"


def largest_content(stored_bytes: int) -> int:
    """Return the total decoded bytes that are allowed for a file of this size."""
    return min(LARGEST_CONTENT_BYTES, FREE_CONTENT_BYTES + MOST_EXPANSION * stored_bytes)


def frame_of(content: bytes) -> bytes:
    """Return one frame with the size and the checksum of its content; the same content gives the same bytes.

    This holds for one version of the encoder; the decoded bytes are the same for all.
    """
    import zstandard

    coders = [zstandard.ZstdCompressor(level=level, write_content_size=True, write_checksum=True) for level in LEVELS]
    frames: list[bytes] = [coder.compress(content) for coder in coders]
    return min(frames, key=len)


def is_frame(path: Path) -> bool:
    """Return whether a file is a frame, by its name."""
    return path.suffix == SUFFIX


def plain_name(path: Path) -> str:
    """Return the name of a file without the suffix of a frame."""
    return path.name.removesuffix(SUFFIX)


def read_content(path: Path) -> bytes:
    """Read a file, and decode it if it is a frame.

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
    """Decode consecutive frames that declare the sizes of their contents, as every Zstandard decoder does.

    Raises:
        ValueError: as `decode_frame`, with `largest` for all frames together; or if there are too many frames.
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
    """Decode one frame that declares the size of its content.

    Args:
        frame: bytes of the frame only.
        largest: largest decoded size in bytes; no more memory is allocated.
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
        raise ValueError("its header does not declare its size")
    if size > largest:
        raise ValueError(
            f"its header declares {size:,} bytes, but only {largest:,} are allowed for a file of this size"
        )
    if checksum and not header.has_checksum:
        raise ValueError("it has no checksum")
