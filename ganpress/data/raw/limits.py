"""Limits on the size of foreign raw data, which docs/security.md lists."""

LARGEST_PICTURE_PIXELS = 2**26
"""Largest number of pixels of a picture, 8192 x 8192, which takes 200 MB when decoded in colour."""
LARGEST_ENTRY_BYTES = 2**28
"""Largest size of one unpacked file of an archive, or of one picture in a folder: 256 MiB."""
MOST_ENTRIES = 2**21
"""Largest number of files of an archive: 2,097,152."""
FREE_ARCHIVE_BYTES = 2**30
MOST_ARCHIVE_EXPANSION = 256
"""All files of an archive together take at most 1 GiB and 256 times the archive's own size."""
LARGEST_DICTIONARY_BYTES = 2**28
"""Largest memory that an .xz archive may ask for; `xz -9` asks for 64 MiB."""
MOST_LABELS = 2**26
"""Largest number of labels in one idx file."""
LARGEST_TEXT_BYTES = 2**26
"""Largest size of a list of names or classes."""


def largest_unpacked(archive_bytes: int) -> int:
    """Return the total unpacked bytes that are allowed for an archive of this size."""
    return FREE_ARCHIVE_BYTES + MOST_ARCHIVE_EXPANSION * archive_bytes
