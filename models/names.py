"""Names of the generator families, apart from their networks: whoever only checks a name needs no torch."""

import re

CONDITIONAL: dict[str, bool] = {
    "edge_mobile_resnet_9blocks": True,
    "edge_resnet_9blocks": True,
    "imported": True,
    "mobile_resnet_9blocks": True,
    "mobile_spade": True,
    "resnet_9blocks": True,
    "spade": True,
    "sub_mobile_resnet_9blocks": True,
    "sub_mobile_spade": True,
    "unet_128": True,
    "unet_256": True,
    "unet_32": True,
    "unet_64": True,
    "wdcgan": False,
}
"""Family -> whether it reads a source; else latents.

`models.families.FAMILIES` has the same names, as a test holds; `imported` is a network of the user's own.
"""


MAX_CHARACTERS = 4096
"""Of a generator's name: a number for each channel group of a very large imported network."""
MAX_NUMBER = 4096
"""In a spec: channels before a layer's own factor, or percent."""


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
            raise ValueError(f"a number in a generator's spec is at most {MAX_NUMBER:,}, found {_shortened(number)}")


def _shortened(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}… ({len(text):,} characters)"


SHOWN = 40
"""Characters of a user's text that a message repeats."""


def split_name(name: str) -> tuple[str, str]:
    """Take `family:spec` apart; the spec is empty where only the family is named.

    Raises:
        ValueError: if the family is unknown, or the name is beyond the bounds of `check_name`.
    """
    check_name(name)
    family, _, spec = name.partition(":")
    if family not in CONDITIONAL:
        raise ValueError(f"unknown generator '{_shortened(family)}'; known: {', '.join(sorted(CONDITIONAL))}")
    return family, spec
