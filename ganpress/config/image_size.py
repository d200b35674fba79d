"""Parses image sizes on the command line; does not import torch."""

import re

from ganpress.config.yaml_text import quoted
from ganpress.errors import ConfigError

MAX_PIXELS = 16_384
"""Largest height and width of an image whose cost is computed."""
MAX_CHANNELS = 4096


def parse_size(text: str) -> tuple[int, int]:
    """Read `HEIGHTxWIDTH` in pixels.

    Raises:
        ConfigError: if the text has another form, or a side exceeds `MAX_PIXELS`.
    """
    match = re.fullmatch(r"([0-9]{1,9})[xX]([0-9]{1,9})", text)
    if match is None or 0 in (sizes := (int(match[1]), int(match[2]))):
        raise ConfigError(f"size {quoted(text)} is not HEIGHTxWIDTH in pixels, e.g. 64x64")
    if max(sizes) > MAX_PIXELS:
        raise ConfigError(f"size {text} exceeds {MAX_PIXELS:,} pixels in height or width; give a smaller one")
    return sizes
