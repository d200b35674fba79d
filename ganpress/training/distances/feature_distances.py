"""Distances between features of the teacher's discriminator, which is frozen.

The judge is not used here, because scores by a network that a student was trained on would be too good.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from ganpress.training.distances.distance import Distance, Measure

BANDWIDTHS = (0.5, 1.0, 2.0)
"""Widths of the Gaussian kernels, in mean squared distances between the teacher's features."""


def mean_discrepancy(made: Float[Tensor, "n f"], wanted: Float[Tensor, "n_wanted f"]) -> Float[Tensor, ""]:
    """Squared maximum mean discrepancy with Gaussian kernels (Gretton et al. 2012, eq. 5, the biased estimate).

    It compares distributions: the order of the samples does not matter, and their numbers may differ.
    """
    scale = torch.cdist(wanted, wanted).square().mean().clamp(min=1e-12).detach()

    def similarity(one: Tensor, other: Tensor) -> Tensor:
        distances = (one.square().sum(1)[:, None] + other.square().sum(1) - 2 * one @ other.T).clamp(min=0) / scale
        kernels = [torch.exp(-distances / (2 * width)).mean() for width in BANDWIDTHS]
        return sum(kernels, distances.new_zeros(())) / len(kernels)

    return similarity(made, made) + similarity(wanted, wanted) - 2 * similarity(made, wanted)


def layers_of(discriminator: nn.Module) -> Sequence[nn.Module]:
    """Return the layers of a discriminator's features, in order."""
    features = discriminator.get_submodule("features")
    assert isinstance(features, nn.Sequential)
    return list(features)


def _activations(discriminator: nn.Module | None) -> Measure:
    assert discriminator is not None
    layers = layers_of(discriminator)

    def measure(made: Tensor, wanted: Tensor) -> Tensor:
        found = []
        for layer in layers:
            made, wanted = layer(made), layer(wanted)
            if isinstance(layer, nn.LeakyReLU):
                found.append(functional.l1_loss(made, wanted))
        return sum(found, made.new_zeros(())) / len(found)

    return measure


def _moments(discriminator: nn.Module | None) -> Measure:
    assert discriminator is not None
    features = nn.Sequential(*layers_of(discriminator))
    return lambda made, wanted: mean_discrepancy(features(made).flatten(1), features(wanted).flatten(1))


ACTIVATIONS = Distance("activations", _activations, needs_features=True)
"""Mean absolute difference of the activations of every layer, averaged over layers (after
"Discriminator-Cooperated Feature Map Distillation for GAN Compression", CVPR 2023)."""
DIME = Distance("dime", _moments, needs_features=True)
"""Discrepancy of the distributions of the last features (after DiME, arXiv 2405.11614, with this discriminator in
place of a foundation model): the student's images need not be those of the same latents. Each rank compares its own
rows."""
