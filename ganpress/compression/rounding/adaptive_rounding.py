"""Rounds each weight up or down so that the error of the layer's output is least (Nagel et al. 2020, "Up or down?
Adaptive rounding for post-training quantization").

The error of a layer's output is e^T H e for errors e of one output's weights, with H the second moments of its inputs
(equation 13 of the paper; `ganpress.compression.rounding.compensation` minimises the same error in one pass). Which
weights go up is relaxed to h(V) in [0, 1], a stretched sigmoid (equation 23), and driven to 0 or 1 by the penalty 1 -
|2 h - 1|^beta, whose beta falls (equation 24). Values still in between are rounded at the end, and single weights are
flipped as long as that lowers the error, so the result is always quantized.

Shapes: G groups, O outputs of a group, K weights of an output.
"""

import torch
from jaxtyping import Float, Float64, Int8
from torch import Tensor

from ganpress.compression.rounding.weight_codes import CodeBook

STEPS = 400
"""Steps of gradient descent; more steps gain less than a tenth of a decibel."""
RATE = 0.05
STRETCH = (-0.1, 1.1)
"""Range of the sigmoid before it is clipped, so that 0 and 1 are reached (equation 23)."""
WARM_UP = 0.2
"""Share of the steps without penalty."""
BETAS = (20.0, 2.0)
"""Exponent of the penalty after the warm-up and at the end."""
PENALTY = 0.01
"""Weight of the penalty relative to the error; both are relative to the error of nearest rounding."""


def round_adaptive(
    weight: Float[Tensor, "go i kh kw"], book: CodeBook, moments: Float64[Tensor, "g k k"]
) -> Int8[Tensor, "go i kh kw"]:
    """Round each weight down or up, with the least error of the layer's output.

    Args:
        weight: weights of the layer before rounding.
        book: the codes of each output.
        moments: H of each group, with K = I kh kw; see `compensation.patch_moments`.

    Returns:
        Codes int8, shaped as `weight`; those of nearest rounding if the descent found nothing better.
    """
    groups, size, _ = moments.shape
    real = (weight.flatten(1) / book.scale[:, None]).reshape(groups, -1, size)  # in steps
    kernel = (moments / moments.diagonal(dim1=1, dim2=2).mean(1).clamp(min=1e-30)[:, None, None]).float()
    below = torch.floor(real)
    nearest = book.clamp(torch.round(real).reshape(-1, size)).reshape(real.shape)
    up = _descend(real - below, kernel, _error(nearest - real, kernel))
    up = _turn_singly(up, real - below, kernel)
    found = book.clamp((below + up).reshape(-1, size)).reshape(real.shape)
    better = _error(found - real, kernel) < _error(nearest - real, kernel)
    return torch.where(better[:, :, None], found, nearest).reshape(weight.shape).to(torch.int8)


def _error(difference: Float[Tensor, "g o k"], kernel: Float[Tensor, "g k k"]) -> Float[Tensor, "g o"]:
    """Return e^T H e of each output."""
    return ((difference @ kernel) * difference).sum(2)


def _turn_singly(
    up: Float[Tensor, "g o k"], fraction: Float[Tensor, "g o k"], kernel: Float[Tensor, "g k k"]
) -> Float[Tensor, "g o k"]:
    """Flip the weight of each output that lowers its error most, until none does or the limit of flips is reached."""
    up, diagonal = up.clone(), kernel.diagonal(dim1=1, dim2=2)[:, None]
    pull = (up - fraction) @ kernel  # (G, O, K)
    for _ in range(up.shape[2]):
        change = 1 - 2 * up
        gain = -(2 * change * pull + diagonal)  # changing one weight by 1 or -1
        best, place = gain.max(2)
        turned = torch.where(best > 1e-6, change.gather(2, place[:, :, None])[:, :, 0], 0.0)
        if not bool(turned.any()):
            break
        up.scatter_add_(2, place[:, :, None], turned[:, :, None])
        rows = torch.stack([one[places] for one, places in zip(kernel, place, strict=True)])  # (G, O, K)
        pull = pull + turned[:, :, None] * rows
    return up


@torch.enable_grad()
def _descend(
    fraction: Float[Tensor, "g o k"], kernel: Float[Tensor, "g k k"], cost: Float[Tensor, "g o"]
) -> Float[Tensor, "g o k"]:
    """Find which weights are rounded up: 0 or 1, shaped as the fractional parts of the weights."""
    low, high = STRETCH
    start = torch.logit(((fraction - low) / (high - low)).clamp(1e-4, 1 - 1e-4))
    logits = start.detach().clone().requires_grad_(True)
    descent = torch.optim.Adam([logits], lr=RATE)
    scale = cost.sum().clamp(min=1e-30)
    for step in range(STEPS):
        share = (torch.sigmoid(logits) * (high - low) + low).clamp(0, 1)
        loss = _error(share - fraction, kernel).sum() / scale
        late = (step / STEPS - WARM_UP) / (1 - WARM_UP)
        if late > 0:
            beta = BETAS[1] + (BETAS[0] - BETAS[1]) * (1 - late)
            loss = loss + PENALTY * (1 - (2 * share - 1).abs() ** beta).mean() * (1 + 10 * late)
        descent.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        descent.step()
    return (torch.sigmoid(logits.detach()) > 0.5).float()
