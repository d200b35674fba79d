"""Proof that an edge file computes what the torch generator computes."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ganpress.edge.onnx_runtime import OnnxGenerator
from ganpress.edge.targets.target import Target
from ganpress.errors import ConfigError, ExportMismatch
from ganpress.metrics.fidelity import compare_outputs


@dataclass(frozen=True)
class Verification:
    """Difference of an edge file to torch on the same inputs, images in [-1, 1]."""

    images: int
    max_abs_error: float
    snr_db: float | None
    """None where there is no difference at all."""
    tolerance: float
    """Largest allowed `max_abs_error`."""


@torch.no_grad()
def verify_export(
    model: Callable[[Tensor], Tensor],
    path: Path,
    inputs: Tensor,
    tolerance: float,
    threads: int | None = None,
    enough_snr_db: float = math.inf,
    target: Target | None = None,
) -> Verification:
    """Run torch and the edge file side by side.

    The file is run in large batches and on one input alone, so that a batch size baked into the graph shows.

    Args:
        model: what was exported; for a quantized generator its integer simulation.
        path: the edge file.
        inputs: latents or sources (N, …).
        tolerance: largest allowed absolute difference of a pixel.
        threads: cores for the runtime.
        enough_snr_db: a signal-to-noise ratio that proves the file, too. Where floats lie between integer layers, a
            float that differs in its last bit can change a code, and what follows magnifies that; and a file of
            fewer bits than the model differs from it by design.
        target: whose file it is; None takes ONNX.

    Raises:
        ExportMismatch: if a pixel differs by more, a shape differs, or a result is not finite.
        CheckpointError: if the file cannot be loaded.
    """
    exported = OnnxGenerator(path, threads) if target is None else target.open(path, threads or 1)
    try:
        difference = compare_outputs(model, exported, inputs)
        compare_outputs(model, exported, inputs[:1])
    except ValueError as error:
        raise ExportMismatch(f"{path} puts out other images than torch: {error}; its batch or size is fixed") from None
    except ConfigError as error:
        raise ExportMismatch(f"{path} refuses a batch: {error}") from None
    near = difference.snr_db is not None and difference.snr_db >= enough_snr_db
    if not (difference.max_abs_error <= tolerance or near):
        snr = "without limit" if difference.snr_db is None else f"{difference.snr_db:.1f} dB"
        raise ExportMismatch(
            f"{path} differs from torch by up to {difference.max_abs_error:.3g} per pixel, allowed is {tolerance:.3g} "
            f"(export.tolerance; images in [-1, 1], SNR {snr}, {len(inputs)} inputs). Raise the tolerance only if the "
            f"difference is meant{f'; {target.mismatch_advice}' if target and target.mismatch_advice else ''}"
        )
    return Verification(len(inputs), difference.max_abs_error, difference.snr_db, tolerance)
