"""Measures the distance of a compressed or exported generator's images to the original's on the same inputs."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ganpress.basics.device import run_where_it_is

BATCH_SIZE = 64
"""Most inputs that are run at once; no result depends on it."""
BATCH_VALUES = 2**20
"""Most values of inputs that are run at once: five pictures of 3x256x256, whose features are some 100 MB."""


@dataclass(frozen=True)
class Fidelity:
    """Difference of two generators' images, in [-1, 1]."""

    max_abs_error: float
    """Largest difference of a pixel; infinite where a result is not finite."""
    snr_db: float | None
    """10 log10(power of the reference / power of the difference); None where the images are equal."""


@torch.no_grad()
def compare_outputs(
    reference: Callable[[Tensor], Tensor], other: Callable[[Tensor], Tensor], inputs: Float[Tensor, "n ..."]
) -> Fidelity:
    """Run both generators on inputs, latents or pictures, batch by batch.

    Raises:
        ValueError: if their images differ in shape.
    """
    signal = noise = largest = 0.0
    for batch in batches_of(inputs):
        wanted, found = (run_where_it_is(one, batch).cpu().double() for one in (reference, other))
        if wanted.shape != found.shape:
            raise ValueError(f"images are {tuple(found.shape)}, the reference's {tuple(wanted.shape)}")
        difference = found - wanted
        error = float(difference.abs().max())
        largest = max(largest, error if math.isfinite(error) else math.inf)
        signal += float(wanted.square().sum())
        noise += float(difference.square().sum())
    return Fidelity(largest, decibels(signal, noise))


def batches_of(inputs: Float[Tensor, "n ..."]) -> tuple[Float[Tensor, "_ ..."], ...]:
    """Split inputs into batches that fit into memory whatever they are, in order."""
    rows = BATCH_VALUES // max(1, inputs[:1].numel())
    return torch.split(inputs, min(BATCH_SIZE, max(1, rows)))


def decibels(signal: float, noise: float) -> float | None:
    """10 log10(signal / noise) of two powers; None where there is no noise."""
    if noise == 0:
        return None
    ratio = signal / noise
    return 10 * math.log10(ratio) if ratio > 0 else -math.inf if ratio == 0 else math.nan
