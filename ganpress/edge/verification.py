"""Proof that an edge file computes what the torch generator computes."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ganpress.edge.runtime import OnnxGenerator
from ganpress.errors import ExportMismatch

BATCH_SIZE = 32


@dataclass(frozen=True)
class Verification:
    """Difference of an edge file to torch on the same latents, images in [-1, 1]."""

    images: int
    max_abs_error: float
    snr_db: float | None
    """10 log10(signal power / error power); None where there is no difference at all."""
    tolerance: float
    """Largest allowed `max_abs_error`."""


@torch.no_grad()
def verify_export(
    model: Callable[[Tensor], Tensor], path: Path, z: Tensor, tolerance: float, threads: int | None = None
) -> Verification:
    """Run torch and the edge file side by side.

    The file is run in batches and again one latent at a time, so that a batch size baked into the graph shows.

    Args:
        model: what was exported; for a quantized generator its integer simulation.
        path: the ONNX file.
        z: latents (N, Z).
        tolerance: largest allowed absolute difference of a pixel.
        threads: cores for the runtime.

    Raises:
        ExportMismatch: if a pixel differs by more, a shape differs, or a result is not finite.
        CheckpointError: if the file cannot be loaded.
    """
    exported = OnnxGenerator(path, threads)
    signal = noise = largest = 0.0
    for batch in (*torch.split(z, BATCH_SIZE), z[:1]):
        wanted, found = model(batch), exported(batch)
        if wanted.shape != found.shape:
            raise ExportMismatch(
                f"{path} puts out {tuple(found.shape)}, torch {tuple(wanted.shape)}, for {len(batch)} z"
            )
        difference = found.double() - wanted.double()
        error = float(difference.abs().max())
        largest = max(largest, error if math.isfinite(error) else math.inf)
        signal += float(wanted.double().square().sum())
        noise += float(difference.square().sum())
    result = Verification(len(z), largest, decibels(signal, noise), tolerance)
    if largest > tolerance:
        snr = "not finite" if result.snr_db is None else f"{result.snr_db:.1f} dB"
        raise ExportMismatch(
            f"{path} differs from torch by up to {largest:.3g} per pixel (images in [-1, 1], SNR {snr}, {len(z)} latents); "
            f"allowed is {tolerance:.3g} (export.tolerance). Raise that only if the difference is meant; an integer file "
            "that differs on a processor without VNNI needs weight_bits 7"
        )
    return result


def decibels(signal: float, noise: float) -> float | None:
    """Signal-to-noise ratio of two powers; None where the noise is zero or the ratio is not finite."""
    ratio = signal / noise if noise > 0 else math.nan
    return 10 * math.log10(ratio) if ratio > 0 and math.isfinite(ratio) else None
