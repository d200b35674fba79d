"""Rounds weights one after another, so that each compensates the errors of the ones before.

The error of the layer's output counts, not that of its weights: with inputs x of second moment H = E[x x^T], an error e
of one output's weights costs e^T H e. Inputs of convolutions are neighbouring pixels, which are nearly equal, so an
error in one weight can be compensated almost completely in its neighbour's. Weights are rounded in turn, and after each
one the others are changed so that they best compensate its error (Frantar & Alistarh 2022, "Optimal brain compression",
equation 5), computed for all outputs at once from a Cholesky factor (Frantar et al. 2023, "GPTQ", algorithm 1).

Shapes: G groups, O outputs of a group, K weights of an output, I input channels of a group.
"""

import torch
from jaxtyping import Float, Float64, Int8
from torch import Tensor
from torch.nn import functional

from ganpress.compression.rounding.weight_codes import CodeBook
from models.quantized_geometry import Geometry

DAMPING = 0.01
"""Share of the mean diagonal that is added to H's diagonal, as published, because few inputs give a singular H."""
PATCHES = 4096
"""Number of patches of an image from which H is computed."""


def patch_moments(x: Float[Tensor, "n gi h w"], geometry: Geometry, centred: bool) -> Float64[Tensor, "g k k"]:
    """Return the sum of p p^T over the input patches p of each group's outputs.

    Args:
        x: the layer's input, or its codes.
        geometry: geometry of the layer.
        centred: whether the mean over an image is subtracted, because the next operator does so.
    """
    top, left, bottom, right = geometry.pad
    x = functional.pad(geometry.extend(x), (left, right, top, bottom))
    columns = functional.unfold(x, geometry.kernel, geometry.dilation, stride=geometry.stride)  # (N, G K, P)
    columns = columns[:, :, :: max(1, columns.shape[2] // PATCHES) | 1].double()
    if centred:
        columns = columns - columns.mean(2, keepdim=True)
    by_group = columns.reshape(len(columns), geometry.groups, -1, columns.shape[2])
    moments: Tensor = torch.einsum("ngkp,nglp->gkl", by_group, by_group)
    return moments


def round_compensated(
    weight: Float[Tensor, "go i kh kw"], book: CodeBook, moments: Float64[Tensor, "g k k"]
) -> Int8[Tensor, "go i kh kw"]:
    """Round weights in turn, with compensation of the error of the layer's output.

    Args:
        weight: weights of the layer before rounding.
        book: the codes of each output.
        moments: H of each group, with K = I kh kw; see `patch_moments`.

    Returns:
        Codes int8, shaped as `weight`.
    """
    groups, size, _ = moments.shape
    rest = (weight.flatten(1) / book.scale[:, None]).double().reshape(groups, -1, size)  # in steps
    order = moments.diagonal(dim1=1, dim2=2).mean(0).argsort(descending=True, stable=True)  # most important first
    factor = _inverse_factor(moments[:, order][:, :, order])
    rest, codes = rest[:, :, order], torch.empty_like(rest)
    lowest, highest = (bound.double().reshape(groups, -1) for bound in (book.lowest, book.highest))
    for column in range(size):
        codes[:, :, column] = rest[:, :, column].round().clamp(lowest, highest)
        error = (rest[:, :, column] - codes[:, :, column]) / factor[:, column, column, None]  # (G, O)
        rest[:, :, column + 1 :] -= error[:, :, None] * factor[:, None, column, column + 1 :]
    return codes[:, :, order.argsort()].reshape(weight.shape).to(torch.int8)


def _inverse_factor(moments: Float64[Tensor, "g k k"]) -> Float64[Tensor, "g k k"]:
    """Return the upper Cholesky factor of the damped inverse."""
    mean = moments.diagonal(dim1=1, dim2=2).mean(1)
    damping = torch.where(mean > 0, DAMPING * mean, 1.0)  # a group without inputs is rounded to the nearest
    damped = moments + damping[:, None, None] * torch.eye(moments.shape[1], dtype=moments.dtype)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped))
    factor: Tensor = torch.linalg.cholesky(inverse).mT
    return factor
