"""The kernels that a runtime ran, by its own profile."""

from collections.abc import Iterable
from dataclasses import dataclass

INTEGERS = ("int8", "uint8", "int16", "int4")
"""Number types of kernels that multiply integers."""


@dataclass(frozen=True)
class Kernel:
    """All runs of one operator in one number type during one call of the generator."""

    operator: str
    """The operator's name in the runtime."""
    number_type: str
    """Number type in which it ran: `float32`, `float16`, `bfloat16`, `int8`, …"""
    count: int
    share: float | None
    """Share of the time of all kernels, in [0, 1]; None if the runtime does not report times."""
    multiplies: bool
    """Whether it is a convolution or a matrix product."""


@dataclass(frozen=True)
class KernelProfile:
    """All operators that ran, the slowest first."""

    kernels: tuple[Kernel, ...]

    @property
    def layers(self) -> int:
        """Number of convolutions and matrix products."""
        return sum(kernel.count for kernel in self.kernels if kernel.multiplies)

    @property
    def integer_layers(self) -> int:
        """Number of convolutions and matrix products that multiplied integers."""
        return self._layers_in(*INTEGERS)

    def _layers_in(self, *number_types: str) -> int:
        return sum(kernel.count for kernel in self.kernels if kernel.multiplies and kernel.number_type in number_types)

    def describe(self) -> str:
        """Return one line: `5 of 5 layers in integers; QLinearConv 71 % (int8 x5), Reshape 12 % (uint8 x5), …`."""
        types = sorted({kernel.number_type for kernel in self.kernels if kernel.multiplies} - set(INTEGERS))
        counts = [f"{self.integer_layers} of {self.layers} layers in integers"]
        counts += [f"{self._layers_in(one)} in {one}" for one in types]
        longest = [_describe(kernel) for kernel in self.kernels[:4]]
        return ", ".join(counts) + "; " + ", ".join(longest)


def profile_of(runs: Iterable[tuple[str, str, bool, float | None]]) -> KernelProfile:
    """Add up single runs: operator, number type, whether it multiplies, time in any unit (None if unknown)."""
    counts: dict[tuple[str, str, bool], int] = {}
    times: dict[tuple[str, str, bool], float] = {}
    timed = True
    for operator, number_type, multiplies, duration in runs:
        key = (operator, number_type, multiplies)
        counts[key] = counts.get(key, 0) + 1
        times[key] = times.get(key, 0.0) + (duration or 0.0)
        timed = timed and duration is not None
    total = sum(times.values())
    kernels = [
        Kernel(operator, number_type, count, times[key] / total if timed and total > 0 else None, multiplies)
        for key, count in counts.items()
        for operator, number_type, multiplies in [key]
    ]
    return KernelProfile(tuple(sorted(kernels, key=lambda kernel: (-(kernel.share or 0.0), -kernel.count))))


def _describe(kernel: Kernel) -> str:
    share = "" if kernel.share is None else f" {kernel.share:.0%}"
    return f"{kernel.operator}{share} ({kernel.number_type} x{kernel.count})"
