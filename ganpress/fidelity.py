"""How far a compressed or exported generator's images are from the original's, on the same latents."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

BATCH_SIZE = 64
"""Latents run at once; no result depends on it."""


@dataclass(frozen=True)
class Fidelity:
    """Difference of two generators' images, in [-1, 1]."""

    max_abs_error: float
    """Largest difference of a pixel; infinite where a result is not finite."""
    snr_db: float | None
    """10 log10(power of the reference / power of the difference); None where the images are equal."""


@torch.no_grad()
def compare_outputs(reference: Callable[[Tensor], Tensor], other: Callable[[Tensor], Tensor], z: Tensor) -> Fidelity:
    """Run both generators on the latents `z` (N, Z), batch by batch.

    Raises:
        ValueError: if their images differ in shape.
    """
    signal = noise = largest = 0.0
    for batch in torch.split(z, BATCH_SIZE):
        wanted, found = reference(batch).double(), other(batch).double()
        if wanted.shape != found.shape:
            raise ValueError(f"images are {tuple(found.shape)}, the reference's {tuple(wanted.shape)}")
        difference = found - wanted
        error = float(difference.abs().max())
        largest = max(largest, error if math.isfinite(error) else math.inf)
        signal += float(wanted.square().sum())
        noise += float(difference.square().sum())
    return Fidelity(largest, _decibels(signal, noise))


def _decibels(signal: float, noise: float) -> float | None:
    if noise == 0:
        return None
    ratio = signal / noise
    return 10 * math.log10(ratio) if ratio > 0 else -math.inf if ratio == 0 else math.nan
