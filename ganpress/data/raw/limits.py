"""How large raw data of a stranger's may be: docs/security.md lists these."""

LARGEST_PICTURE_PIXELS = 2**26
"""Width times height: 8192 x 8192. Decoded in colour it takes 200 MB."""
LARGEST_ENTRY_BYTES = 2**28
"""Of one file in an archive, unpacked, or of one picture in a folder: 256 MiB."""
MOST_ENTRIES = 2**21
"""Of an archive: 2,097,152 files."""
FREE_ARCHIVE_BYTES = 2**30
MOST_ARCHIVE_EXPANSION = 256
"""All files of an archive together take at most 1 GiB and 256 times the archive's own size."""
LARGEST_DICTIONARY_BYTES = 2**28
"""Memory that an .xz archive may ask for: `xz -9` asks for 64 MiB."""
MOST_LABELS = 2**26
"""In one idx file."""
LARGEST_TEXT_BYTES = 2**26
"""Of a list of names or classes."""


def largest_unpacked(archive_bytes: int) -> int:
    """Bytes that all files of an archive of this size may take together."""
    return FREE_ARCHIVE_BYTES + MOST_ARCHIVE_EXPANSION * archive_bytes
