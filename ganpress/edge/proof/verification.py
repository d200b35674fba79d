"""Verifies that an edge file computes the same images as the torch generator."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ganpress.basics.device import run_where_it_is
from ganpress.edge.onnx_runtime import OnnxGenerator
from ganpress.edge.proof.call_checks import call_fault
from ganpress.edge.proof.faults import constant_fault, undone_fault
from ganpress.edge.targets.target import Target
from ganpress.errors import ConfigError, ExportMismatch
from ganpress.metrics.fidelity import batches_of, decibels

Generate = Callable[[Tensor], Tensor]

SAME_PICTURE_DB = 5.0
"""Smallest SNR of every single image, whatever the tolerance. An image unrelated to torch's stays around 0 dB; it could
hide among good ones, or below a tolerance larger than the generator's whole range.
"""
BELOW_THE_WHOLE_DB = 10.0
"""In a file of fewer bits, a single image may lie this far below the SNR that all images together must reach."""


@dataclass(frozen=True)
class Verification:
    """Difference between an edge file and torch on the same inputs, images in [-1, 1]."""

    images: int
    max_abs_error: float
    snr_db: float | None
    """Signal-to-noise ratio over all images; None if there is no difference at all."""
    tolerance: float
    """Largest allowed `max_abs_error`."""
    worst_input: int | None = None
    """Number, from 0, of the input whose image is farthest from torch's; None if there is no difference at all."""
    worst_snr_db: float | None = None
    """Signal-to-noise ratio of that image."""


@dataclass(frozen=True)
class Worst:
    """The image that is farthest from torch's."""

    place: int
    """Number of its input, from 0."""
    snr_db: float
    wanted: Tensor
    """Torch's image, (1, C, H, W)."""
    found: Tensor
    """The file's image, (1, C, H, W)."""
    empty: bool
    """Whether torch's image is zero everywhere, so that the ratio is meaningless."""


class RefusedFile(ExportMismatch):
    """An edge file computes other images than torch; the error has the worst of them."""

    def __init__(self, message: str, worst: Worst | None = None) -> None:
        super().__init__(message)
        self.worst = worst


@dataclass(frozen=True)
class _Comparison:
    max_abs_error: float
    snr_db: float | None
    worst: Worst | None
    fault: str | None
    """The fault that explains the batch of the worst image; None if no known fault does."""


@torch.no_grad()
def verify_export(
    model: Generate,
    path: Path,
    inputs: Tensor,
    tolerance: float,
    threads: int | None = None,
    enough_snr_db: float = math.inf,
    target: Target | None = None,
) -> Verification:
    """Run torch and the edge file on the same inputs and compare their images.

    The file is run in large batches, on a few inputs twice and in another order, and on one input alone, to find faults
    that a single call or batch size would hide.

    Args:
        model: the exported generator; for a quantized one its integer simulation.
        path: the edge file.
        inputs: latents or sources (N, …).
        tolerance: largest allowed absolute difference of a pixel.
        threads: number of threads of the runtime.
        enough_snr_db: a signal-to-noise ratio that is accepted in place of the tolerance. With floats between integer
            layers, the last bit of a float can change a quantized value, and later layers amplify that; and a file with
            fewer bits than the model differs from it by design. A single image may lie `BELOW_THE_WHOLE_DB` below.
        target: the file's target; None takes ONNX.

    Raises:
        ExportMismatch: if a pixel differs by more than the tolerance, an image is unrelated to torch's, a shape
            differs, a result is not finite, or calls change each other's results; a `RefusedFile` if an image can show
            it.
        CheckpointError: if the file cannot be loaded.
    """
    exported = OnnxGenerator(path, threads) if target is None else target.open(path, threads or 1)
    try:
        fault = call_fault(exported, inputs, tolerance, enough_snr_db)
        compared = _compare(model, exported, inputs)
    except ValueError as error:
        raise ExportMismatch(f"{path} puts out other images than torch: {error}; its batch or size is fixed") from None
    except ConfigError as error:
        raise ExportMismatch(f"{path} refuses a batch: {error}") from None
    fault = compared.fault or fault  # a fault seen in an image explains more than a difference between calls
    proof = _proof(compared, len(inputs), tolerance)
    near = compared.snr_db is not None and compared.snr_db >= enough_snr_db
    if compared.max_abs_error <= tolerance or near:
        fault = fault or _single_fault(compared.worst, min(SAME_PICTURE_DB, enough_snr_db - BELOW_THE_WHOLE_DB))
        if fault is None:
            return proof
    raise RefusedFile(_refusal(path, proof, fault, target), compared.worst)


def _compare(model: Generate, exported: Generate, inputs: Tensor) -> _Comparison:
    """Compare all images, batch by batch.

    Raises:
        ValueError: if the images differ in shape.
    """
    signal = noise = largest = 0.0
    worst: Worst | None = None
    fault: str | None = None
    done = 0
    for batch in batches_of(inputs):
        wanted, found = (run_where_it_is(one, batch).cpu().double() for one in (model, exported))
        if wanted.shape != found.shape:
            raise ValueError(f"images are {tuple(found.shape)}, the reference's {tuple(wanted.shape)}")
        error = float((found - wanted).abs().max())
        largest = max(largest, error if math.isfinite(error) else math.inf)
        signal += float(wanted.square().sum())
        noise += float((found - wanted).square().sum())
        fault = fault or (constant_fault(wanted, found) if wanted.dim() == 4 else None)
        one = _worst_of(wanted, found, done)
        if one is not None and (worst is None or one.snr_db < worst.snr_db):
            worst = one
        done += len(batch)
    if worst is not None and worst.wanted.dim() == 4:
        fault = fault or undone_fault(worst.wanted, worst.found)
    return _Comparison(largest, decibels(signal, noise), worst, fault)


def _worst_of(wanted: Tensor, found: Tensor, done: int) -> Worst | None:
    """Return the worst image of a batch whose first input has the number `done`; None if all are equal."""
    noise = (found - wanted).square().flatten(1).sum(1).nan_to_num(nan=math.inf)
    signal = wanted.square().flatten(1).sum(1)
    if not noise.any():
        return None
    ratio = torch.where(noise == 0, 0.0, noise / signal)  # relative to an image of zeros it is infinite
    place = int(ratio.argmax())
    power = float(ratio[place])
    snr = -10 * math.log10(power) if math.isfinite(power) else -math.inf
    one = slice(place, place + 1)
    return Worst(done + place, snr, wanted[one], found[one], empty=float(signal[place]) == 0)


def _proof(compared: _Comparison, images: int, tolerance: float) -> Verification:
    worst = compared.worst
    place, snr = (None, None) if worst is None or not math.isfinite(worst.snr_db) else (worst.place, worst.snr_db)
    return Verification(images, compared.max_abs_error, compared.snr_db, tolerance, place, snr)


def _single_fault(worst: Worst | None, floor: float) -> str | None:
    if worst is None or worst.empty or worst.snr_db >= floor:
        return None
    return f"one image has nothing to do with torch's, {worst.snr_db:z.1f} dB where every one needs {floor:.0f}"


def _refusal(path: Path, proof: Verification, fault: str | None, target: Target | None) -> str:
    snr = "without limit" if proof.snr_db is None else f"{proof.snr_db:.1f} dB"
    worst = (
        "" if proof.worst_snr_db is None else f", input {proof.worst_input} is worst with {proof.worst_snr_db:z.1f} dB"
    )
    cause = "" if fault is None else f": {fault}"
    advice = f"; {target.mismatch_advice}" if target and target.mismatch_advice else ""
    return (
        f"{path} differs from torch by up to {proof.max_abs_error:.3g} per pixel, allowed is {proof.tolerance:.3g} "
        f"(export.tolerance; images in [-1, 1], SNR {snr}, {proof.images} inputs{worst}){cause}. "
        f"Raise the tolerance only if the difference is meant{advice}"
    )
