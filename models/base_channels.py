"""The text form of eight base channel numbers c0 … c7, by which ResNet and SPADE generators of any width are named.

A *base channel number* is the width of a layer before the layer's own factor: a full generator of width `ngf` has
`ngf` everywhere, a sub-generator of GAN Compression (Li et al. 2020) has its own number in each place. The text is
`ngf=64` for all equal, else `16_16_32_16_32_32_16_16`, followed by options `name=value` of the family, in any order.
Round brackets are read over: `32_32_48_32_32_32_32_24 (ngf=48)` names a sub-generator and the width of its supernet.
"""

from dataclasses import dataclass

COUNT = 8
"""Base channels of a ResNet or SPADE generator."""
EXAMPLE = "'ngf=64' or '16_16_32_16_32_32_16_16'"


@dataclass(frozen=True)
class ParsedText:
    """A spec's text, taken apart."""

    base_channels: tuple[int, ...]
    options: dict[str, str]
    """Options after the base channels, by name; `ngf` is not among them."""


def parse_text(text: str, known_options: tuple[str, ...] = (), count: int = COUNT) -> ParsedText:
    """Read base channel numbers and options.

    Args:
        text: the text form, see the head of this module.
        known_options: names of the family's options beside `ngf`.
        count: base channels of the family.

    Raises:
        ValueError: if the base channels are missing, not `count`, not numbers of at least 1 or above those of their
            supernet, or an option is unknown or given twice.
    """
    words = text.replace("(", " ").replace(")", " ").split()
    options = _parse_options(text, [word for word in words if "=" in word], ("ngf", *known_options))
    numbers = [word for word in words if "=" not in word]
    ngf = parse_number("ngf", options.pop("ngf")) if "ngf" in options else None
    if len(numbers) > 1 or (not numbers and ngf is None):
        raise ValueError(f"spec '{text}' must give the base channels once, e.g. {EXAMPLE}")
    if not numbers:
        return ParsedText((ngf or 0,) * count, options)
    base_channels = _parse_base_channels(numbers[0], count)
    if ngf is not None and max(base_channels) > ngf:
        raise ValueError(f"spec '{text}': {max(base_channels)} channels do not fit into a supernet of ngf={ngf}")
    return ParsedText(base_channels, options)


def parse_number(name: str, text: str) -> int:
    """Read a whole number of at least 1.

    Raises:
        ValueError: naming the option and what was found.
    """
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, found '{text}'")
    return int(text)


def format_base_channels(base_channels: tuple[int, ...]) -> str:
    """Write `ngf=64` where all are equal, else the numbers joined by `_`."""
    return f"ngf={base_channels[0]}" if len(set(base_channels)) == 1 else "_".join(map(str, base_channels))


def check_base_channels(base_channels: tuple[int, ...]) -> None:
    """Check the numbers of a spec that was not read from text.

    Raises:
        ValueError: if there are not eight, or one is below 1.
    """
    if len(base_channels) != COUNT:
        raise ValueError(f"a spec has {COUNT} base channels c0 … c7, found {len(base_channels)}")
    if min(base_channels) < 1:
        raise ValueError(f"every base channel must be at least 1, found {min(base_channels)}")


def _parse_base_channels(text: str, count: int) -> tuple[int, ...]:
    parts = text.split("_")
    if not all(part.isdecimal() for part in parts):
        raise ValueError(f"base channels '{text}' are not whole numbers joined by '_', e.g. {EXAMPLE}")
    if len(parts) != count:
        raise ValueError(f"'{text}' has {len(parts)} base channels; this generator takes {count}, or ngf=<number>")
    return tuple(map(int, parts))


def _parse_options(text: str, words: list[str], known: tuple[str, ...]) -> dict[str, str]:
    options: dict[str, str] = {}
    for word in words:
        name, _, value = word.partition("=")
        if name not in known:
            raise ValueError(f"spec '{text}' has an unknown option '{name}'; known: {', '.join(known)}")
        if name in options:
            raise ValueError(f"spec '{text}' gives '{name}' twice")
        options[name] = value
    return options
