"""Methods of `ganpress compress`: what is done to a generator before its file is written."""

import re
from dataclasses import dataclass, replace

from ganpress.edge.targets.target import Target
from ganpress.errors import ConfigError

THINNED = re.compile(r"thin(\d{1,3})?\+distil(?:\+(.+))?")
ROUNDED = re.compile(r"(qad-)?w([2-8])(?:a([2-8]))?")
SHORT = {"ptq": "w8a8", "qad": "qad-w4a8"}
KEPT = 50
"""Percentage of the channels that `thin+distil` keeps."""
FLOAT = "float"
METHODS = (
    "ptq (w8a8: 8-bit weights and activations), qad (qad-w4a8: the integers are trained), wNaM, wN, qad-wNaM or qad-wN "
    "with 2 to 8 bits, float, or int8, the runtime's own quantizer; thin+distil or thinP+distil, which keeps P percent "
    "of the channels and trains on the generator's pictures, with +ptq or another of them behind it"
)
FEWER_BITS = (8, 6, 4, 3, 2)
FEWER_CHANNELS = (75, 50, 35, 25)


@dataclass(frozen=True)
class Rounding:
    """Bits of the integers that ganpress chooses."""

    weight_bits: int
    activation_bits: int | None
    trained: bool


@dataclass(frozen=True)
class Method:
    """A method, read from its name."""

    name: str
    kept: int | None
    """Percentage of the channels of each group that is kept; None: all, and nothing is trained on the generator's
    pictures."""
    number_type: str
    """`float`, a number type of the target, or the bits of `rounding`."""

    @property
    def rounding(self) -> Rounding | None:
        """Integers that ganpress chooses; None for floats and a runtime's own quantizer."""
        found = ROUNDED.fullmatch(self.number_type)
        if found is None:
            return None
        return Rounding(int(found[2]), int(found[3]) if found[3] else None, bool(found[1]))


def read_method(name: str, target: Target | None = None) -> Method:
    """Read the name of a method.

    Raises:
        ConfigError: if it is unknown, or keeps no percentage of the channels from 1 to 99.
    """
    thinned = THINNED.fullmatch(name)
    rest = (thinned[2] or FLOAT) if thinned else name
    number_type = SHORT.get(rest, rest)
    known = (FLOAT, *(() if target is None else target.number_types))
    if number_type not in known and not ROUNDED.fullmatch(number_type):
        raise ConfigError(f"unknown method '{name[:40]}'; known: {METHODS}")
    kept = int(thinned[1] or KEPT) if thinned else None
    if kept is not None and not 1 <= kept < 100:
        raise ConfigError(f"method '{name[:40]}' keeps {kept} percent of the channels; choose 1 to 99")
    return Method(name, kept, number_type)


def ladder(method: Method, target: Target) -> list[Method]:
    """Return what a goal of bytes or decibels chooses from, in order of falling fidelity: the method's own kind.

    `ptq` tries floats and integers of fewer and fewer bits, `qad` trained integers, and `thin+distil` fewer and fewer
    channels.
    """
    if method.kept is not None:
        ending = "" if method.number_type == FLOAT else f"+{method.number_type}"
        asked = THINNED.fullmatch(method.name)
        most = method.kept if asked is not None and asked[1] else max(FEWER_CHANNELS)
        shares = [most, *(kept for kept in FEWER_CHANNELS if kept < most)]
        return [replace(method, name=f"thin{kept}+distil{ending}", kept=kept) for kept in shares]
    rounding = method.rounding
    if rounding is None:
        return [method]
    trained = "qad-" if rounding.trained else ""
    activations = "" if rounding.activation_bits is None else f"a{rounding.activation_bits}"
    names = [f"{trained}w{bits}{activations}" for bits in FEWER_BITS if bits <= rounding.weight_bits]
    if method.name in SHORT and not rounding.trained:
        halves = [one for one in ("float16", "bfloat16") if one in target.number_types]
        names = [FLOAT, *halves, *names]
    return [read_method(one, target) for one in names]
