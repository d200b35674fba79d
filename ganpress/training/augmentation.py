"""Differentiable augmentation of what a discriminator sees (Zhao et al. 2020, "Differentiable Augmentation …").

Real and made images are changed alike before the discriminator looks at them, and gradients pass through the change, so
that it cannot learn few pictures by heart while the generator still learns to draw unchanged ones.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from ganpress.basics.device import moved
from ganpress.basics.ranks import own_rows, ranks

NUMBERS = 7
"""Drawn for each image: brightness, saturation, contrast, shift and place of the cut-out, both in two directions."""
LARGEST_SHIFT = 1 / 8
"""Largest shift, as a share of the picture's side."""
CUT_OUT = 1 / 2
"""Side of the square that is blanked, of the image's."""


def draw_changes(stream: torch.Generator, images: int) -> Float[Tensor, "n numbers"]:
    """Draw how each of a whole batch's images is changed, `NUMBERS` each, uniform in [0, 1)."""
    return torch.rand((images, NUMBERS), generator=stream)


def augmented(images: Float[Tensor, "n c h w"], stream: torch.Generator) -> Float[Tensor, "n c h w"]:
    """Change colours, place and completeness of images in [-1, 1]; gradients pass through.

    Args:
        images: this rank's rows of the batch.
        stream: draws for the whole batch.
    """
    count = len(images) * ranks()
    changes = moved(draw_changes(stream, count)[own_rows(count)], images.device)
    return _cut_out(_shifted(_coloured(images, changes[:, :3]), changes[:, 3:5]), changes[:, 5:])


def _coloured(images: Float[Tensor, "n c h w"], changes: Float[Tensor, "n 3"]) -> Float[Tensor, "n c h w"]:
    brightness, saturation, contrast = (one[:, None, None, None] for one in changes.unbind(1))
    images = images + (brightness - 0.5)
    grey = images.mean(1, keepdim=True)
    images = (images - grey) * (2 * saturation) + grey
    mean = images.mean((1, 2, 3), keepdim=True)
    return (images - mean) * (contrast + 0.5) + mean


def _shifted(images: Float[Tensor, "n c h w"], changes: Float[Tensor, "n 2"]) -> Float[Tensor, "n c h w"]:
    """Move each image by up to an eighth of its side; what comes in is 0, a middle grey."""
    height, width = images.shape[2:]
    most = [max(1, round(side * LARGEST_SHIFT)) for side in (height, width)]
    down, right = ((share * (2 * one + 1)).long() for share, one in zip(changes.unbind(1), most, strict=True))
    wide = functional.pad(images, (most[1], most[1], most[0], most[0]))
    rows = down[:, None] + torch.arange(height, device=images.device)
    columns = right[:, None] + torch.arange(width, device=images.device)
    number = torch.arange(len(images), device=images.device)[:, None, None]
    return wide.permute(0, 2, 3, 1)[number, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _cut_out(images: Float[Tensor, "n c h w"], changes: Float[Tensor, "n 2"]) -> Float[Tensor, "n c h w"]:
    """Blank a square of half the side whose middle may lie anywhere."""
    inside = []
    for axis, share in zip((2, 3), changes.unbind(1), strict=True):
        side = images.shape[axis]
        places = torch.arange(side, device=images.device)
        inside.append((places[None] - (share * side)[:, None]).abs() < side * CUT_OUT / 2)
    return images * ~(inside[0][:, None, :, None] & inside[1][:, None, None, :])
