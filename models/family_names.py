"""Bounds of generators' names."""

import re

MAX_CHARACTERS = 4096
"""Largest length of a generator's name, enough for a number for each channel group of a very large imported network."""
MAX_NUMBER = 4096
"""Largest number in a spec: channels before a layer's own factor, or percent."""


def check_name(name: str) -> None:
    """Bound a generator's name before anything reads the numbers in it.

    Raises:
        ValueError: if it is too long, holds anything but printable ASCII, or a number in its spec is too large.
    """
    if len(name) > MAX_CHARACTERS:
        raise ValueError(f"a generator's name has at most {MAX_CHARACTERS:,} characters, found {len(name):,}")
    if not (name.isascii() and name.isprintable()):
        raise ValueError(f"a generator's name is printable ASCII, found {ascii(name)[:80]}")
    for number in re.findall(r"\d+", name.partition(":")[2]):
        if len(number) > len(str(MAX_NUMBER)) or int(number) > MAX_NUMBER:
            raise ValueError(f"a number in a generator's spec is at most {MAX_NUMBER:,}, found {shortened(number)}")


def shortened(text: str) -> str:
    """A user's text as a message repeats it."""
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}… ({len(text):,} characters)"


SHOWN = 40
"""Characters of a user's text that a message repeats."""
