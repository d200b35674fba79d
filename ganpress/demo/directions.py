"""Directions in latent space along which a generator's images change most: what the sliders of the page move.

The images' mean squared change per unit step is a quadratic form on latents, the metric J^T J pulled back from pixels;
its eigenvectors, averaged over the latent distribution, order directions by visible change (Wang and Ponce, "The
Geometry of Deep Generative Image Models and its Applications", ICLR 2021, section 3).
"""

import torch
from torch import Tensor

from ganpress.basics.seeding import torch_generator
from ganpress.errors import DataError
from ganpress.metrics.scoring import Generate

ANCHORS = 6
"""Latents at which the change is measured."""
STEP = 0.25
"""Step of a finite difference in standard deviations, large enough to exceed the rounding of an integer generator."""
SEED = 0


def principal_directions(generate: Generate, latent: int, count: int) -> Tensor:
    """Return orthonormal directions (count, Z), the one of the largest change first.

    Each direction's sign is such that going forward brightens the mean image.

    Args:
        generate: latents (N, Z) -> images (N, C, H, W).
        latent: Z.
        count: how many, at most Z.

    Raises:
        DataError: if the images do not depend on the latents, or are not finite.
    """
    anchors = torch.randn(ANCHORS, latent, generator=torch_generator(SEED, "demo", "anchors"))
    metric = torch.zeros(latent, latent, dtype=torch.float64)
    brightening = torch.zeros(latent, dtype=torch.float64)
    for anchor in anchors:
        steps = STEP * torch.eye(latent)
        change = (generate(anchor + steps) - generate(anchor - steps)).flatten(1).double() / (2 * STEP)
        metric += change @ change.T / ANCHORS
        brightening += change.mean(1) / ANCHORS
    if not bool(torch.isfinite(metric).all()) or float(metric.diagonal().sum()) <= 0:
        raise DataError("the original's images do not change with its latents, or are not finite; train it again")
    _, vectors = torch.linalg.eigh(metric)  # ascending
    directions = vectors.T.flip(0)[:count]
    forward = torch.where(directions @ brightening < 0, -1.0, 1.0)
    oriented: Tensor = (directions * forward[:, None]).float()
    return oriented
