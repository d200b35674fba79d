"""Faults of a runtime that a single call cannot show: each call must leave alone what the others gave."""

from collections.abc import Callable

import torch
from torch import Tensor

from ganpress.edge.proof.faults import snr_db

CHECKED_INPUTS = 3
"""Inputs of a checked call; a batch of more shows no more."""
SAME_CALL_DB = 40.0
"""Two calls on the same batch run the same kernels on the same numbers."""
OTHER_BATCH_DB = 25.0
"""A batch of another size may take other kernels, whose last bit can change a code of an integer layer."""


def call_fault(
    generate: Callable[[Tensor], Tensor], inputs: Tensor, tolerance: float, enough_snr_db: float
) -> str | None:
    """Call a file that was just opened several times and name what one call does to another.

    Args:
        generate: inputs (N, …) -> images (N, C, H, W); its very first call is this one's.
        inputs: (N, …); the first few are used.
        tolerance: largest difference of a pixel that means nothing.
        enough_snr_db: as in `verify_export`; infinite where a file has no integers.

    Returns:
        A clause that names the fault; None where there is none.
    """
    batch = inputs[:CHECKED_INPUTS]
    others = batch.flip(0) if len(batch) > 1 else torch.zeros_like(batch)
    first = generate(batch)
    kept = first.clone()
    other = generate(others).clone()
    if not _same_bits(first, kept):
        return "the images of one call changed when the next one was computed: its runtime reuses their memory"
    if not kept.isfinite().all():
        return None  # what NaN means is said where images are compared with torch's
    if not _near(kept, generate(batch), tolerance, SAME_CALL_DB):
        return "a second call on the same inputs puts out other images than the first"
    enough = max(OTHER_BATCH_DB, enough_snr_db)
    if not _near(kept[:1], generate(batch[:1]), tolerance, enough):
        return "an image depends on the others of its batch: alone it is another one"
    if len(batch) > 1 and not _near(kept.flip(0), other, tolerance, enough):
        return "an image depends on its place in the batch: in another order images are others"
    return None


def _same_bits(images: Tensor, others: Tensor) -> bool:
    return torch.equal(images.nan_to_num(nan=2.0), others.nan_to_num(nan=2.0))


def _near(images: Tensor, others: Tensor, tolerance: float, enough_snr_db: float) -> bool:
    if images.shape != others.shape:
        return False
    wanted, found = images.double(), others.double()
    return float((found - wanted).abs().max()) <= tolerance or snr_db(wanted, found) >= enough_snr_db
