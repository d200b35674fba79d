"""Finds faults of a runtime that need several calls to show: no call may change the results of another."""

from collections.abc import Callable

import torch
from torch import Tensor

from ganpress.edge.proof.faults import snr_db

CHECKED_INPUTS = 3
"""Number of inputs of a checked call; a larger batch shows nothing more."""
SAME_CALL_DB = 40.0
"""Smallest SNR between two calls on the same batch, which run the same kernels on the same values."""
OTHER_BATCH_DB = 25.0
"""Smallest SNR between batch sizes: another size may take other kernels, whose last bit can change a quantized
value.
"""


def call_fault(
    generate: Callable[[Tensor], Tensor], inputs: Tensor, tolerance: float, enough_snr_db: float
) -> str | None:
    """Call a file that was just opened several times, and name the effect of one call on another.

    Args:
        generate: inputs (N, …) -> images (N, C, H, W); it must not have been called before.
        inputs: (N, …); the first few are used.
        tolerance: largest difference of a pixel that is not a fault.
        enough_snr_db: as in `verify_export`; infinite for a file without integers.

    Returns:
        A clause that names the fault; None if there is none.
    """
    batch = inputs[:CHECKED_INPUTS]
    others = batch.flip(0) if len(batch) > 1 else torch.zeros_like(batch)
    first = generate(batch)
    kept = first.clone()
    other = generate(others).clone()
    if not _same_bits(first, kept):
        return "the images of one call changed when the next one was computed: its runtime reuses their memory"
    if not kept.isfinite().all():
        return None  # NaN is reported where images are compared with torch's
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
