"""Recognizes known faults of converters and runtimes by comparing images with torch's."""

import itertools
import math
from collections.abc import Iterator

import torch
from torch import Tensor

from ganpress.metrics.fidelity import decibels

SURELY_DB = 15.0
"""A fault is recognized if undoing it brings the images to at least this signal-to-noise ratio …"""
CLEARLY_DB = 6.0
"""… and improves it by at least this much."""
MOST_CHANNELS = 4
"""Up to this number of channels all orders are tried; beyond it only the reverse order."""


def constant_fault(wanted: Tensor, found: Tensor) -> str | None:
    """Name a result that does not depend on its input although torch's does; None if there is no such fault.

    Such a file would pass for a generator with nearly constant images, because its error is below every tolerance.
    """
    if not found.isfinite().all():
        return "it puts out NaN or infinite pixels"
    if _is_constant(found) and not _is_constant(wanted):
        first = float(found.flatten()[0])
        return "every pixel that it puts out is 0" if first == 0 else f"every pixel that it puts out is {first:.3g}"
    if len(found) > 1 and _are_alike(found) and not _are_alike(wanted):
        return "it puts out the same image for every input of a batch"
    return None


def undone_fault(wanted: Tensor, found: Tensor) -> str | None:
    """Name the fault that turns `wanted` into `found`, both (N, C, H, W) float64.

    Returns:
        A clause, e.g. `its sign is flipped: images times -1 fit`; None if no known fault explains the difference.
    """
    before = snr_db(wanted, found)
    candidates = [(snr_db(wanted, undone), name) for name, undone in _undone(found) if undone.shape == wanted.shape]
    best, name = max(candidates, default=(-math.inf, ""))
    return name if best >= max(SURELY_DB, before + CLEARLY_DB) else None


def snr_db(wanted: Tensor, found: Tensor) -> float:
    """Return the signal-to-noise ratio in decibels; infinite if both are equal."""
    found_db = decibels(float(wanted.square().sum()), float((found - wanted).square().sum()))
    return math.inf if found_db is None else found_db


def _undone(found: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Yield the name of each fault and the images with that fault undone."""
    channels = found.shape[1]
    orders = itertools.permutations(range(channels)) if channels <= MOST_CHANNELS else [tuple(range(channels))[::-1]]
    for order in orders:
        if list(order) != sorted(order):
            yield f"its channels are in another order: taken as {', '.join(map(str, order))} they fit", found[:, order]
    yield "its sign is flipped: images times -1 fit", -found
    yield "its range is [0, 1] in place of [-1, 1]", 2 * found - 1
    yield "its range is [0, 255] in place of [-1, 1]", found / 127.5 - 1
    yield "its range is [-127.5, 127.5] in place of [-1, 1]", found / 127.5
    yield "its pixels are mirrored, left to right", found.flip(3)
    yield "its pixels are mirrored, top to bottom", found.flip(2)
    yield "its rows and columns are swapped", found.transpose(2, 3)


def _is_constant(images: Tensor) -> bool:
    return bool((images == images.flatten()[0]).all())


def _are_alike(images: Tensor) -> bool:
    return torch.equal(images[1:], images[:1].expand_as(images[1:]))
