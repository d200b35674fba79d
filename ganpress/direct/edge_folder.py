"""Writes the folder of an edge file: the file, its card, pictures before and after, and the measurements."""

import hashlib
import json
import logging
import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ganpress.basics.pixel_values import images_to_uint8
from ganpress.basics.whole_files import whole_folder
from ganpress.compression.record import CompressionRecord
from ganpress.data.pictures import image_grid, save_png
from ganpress.data.prepared.generator_inputs import inputs_digest
from ganpress.direct.given_inputs import SHOWN_INPUTS, parted
from ganpress.edge.proof.card_writing import write_card
from ganpress.edge.proof.edge_card import Card, CompressionCard, Lineage
from ganpress.edge.proven_export import THREADS, ExportSettings, proven_export
from ganpress.edge.targets.target import Target
from ganpress.errors import ConfigError
from ganpress.files.edge_files import edge_name
from ganpress.files.tensor_files import tensor_bytes
from ganpress.metrics.fidelity import compare_outputs
from ganpress.metrics.scoring import Generate
from ganpress.performance.latency import WARM_UP, measure_latency

logger = logging.getLogger("ganpress")

SUMMARY = "summary.json"
PICTURES = "pictures"
ROUNDS = 20
"""Timed calls of a generator that takes less than `TIMED_SECONDS` for them."""
FEWEST_ROUNDS = 3
TIMED_SECONDS = 4.0
WIDTH = 2.0
"""From black to white."""


@dataclass(frozen=True)
class Compressed:
    """An edge file and its measurements."""

    folder: Path
    file: Path
    card: Card
    decibels: dict[str, float | None]
    """Signal-to-noise ratio of the file's image to that of the float generator, by the name of each held-out input;
    None if the images are equal."""
    psnr: float
    """Peak signal-to-noise ratio in decibels over all held-out inputs; infinite if the images are equal."""
    size_bytes: int
    """Size in bytes of the file and of those that belong to it."""
    size_bytes_before: int
    """Size in bytes of the float weights."""
    milliseconds: float | None
    """Median milliseconds of one image on one thread, in the file's runtime; None if that does not run on this
    system.
    """
    milliseconds_before: float
    """Median milliseconds of one image on one thread in eager torch."""
    notes: tuple[str, ...]
    """Findings about the generator, as sentences."""


@dataclass(frozen=True)
class EdgeGenerator:
    """A generator to write as a file, with the one that the file is compared with."""

    original: nn.Module
    """The generator in floats."""
    model: nn.Module
    """The same generator, or its quantized version."""
    source: str
    builder: str
    record: CompressionRecord | None = None
    """Record of the quantization."""
    smaller: nn.Module | None = None
    """The network in floats that `model` was made of, where it is not the original."""


def write_edge(
    out: Path,
    edge: EdgeGenerator,
    target: Target,
    settings: ExportSettings,
    names: list[str],
    inputs: Tensor,
    seed: int = 0,
    say: Callable[[str], None] = logger.info,
) -> Compressed:
    """Write a generator's edge file with its card, pictures before and after, and the measurements.

    Args:
        out: the folder to write, completely or not at all; one that was written by this function before is replaced.
        edge: the generator.
        target: runtime and format of the file.
        settings: settings of writing and verification.
        names: names of the inputs.
        inputs: (N, …); the last ones are held out for verification, the others calibrate a runtime's own quantizer.
        seed: seed of the runtime's quantizer.
        say: function that is called with progress messages.

    Raises:
        ganpress.errors.GanpressError: if the file cannot be written, or draws other images than the generator.
    """
    check_out(out)
    calibration, shown = parted(inputs)
    shown_names = names[len(names) - len(shown) :]
    with whole_folder(out) as folder:
        made = _write(folder, edge, target, settings, calibration, shown, seed, say)
        say(f"5/5 drawing {min(len(shown), SHOWN_INPUTS)} pictures before and after")
        runner = target.open(made.file, THREADS)
        decibels, psnr = _draw(folder / PICTURES, edge.original, runner, shown_names, shown)
        result = replace(made, decibels=decibels, psnr=psnr)
        (folder / SUMMARY).write_text(_summary(result), encoding="utf-8")
    return replace(result, folder=out, file=out / made.file.name)


def check_out(out: Path) -> None:
    if out.exists() and not (out / SUMMARY).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} has other content; name a folder that does not exist or is empty")
    if out.resolve() == Path.cwd():
        raise ConfigError("the folder to write is the working directory; name one inside it")


def _write(
    folder: Path,
    edge: EdgeGenerator,
    target: Target,
    settings: ExportSettings,
    calibration: Tensor,
    shown: Tensor,
    seed: int,
    say: Callable[[str], None],
) -> Compressed:
    original, model, record = edge.original, edge.model, edge.record
    settings = replace(settings, latency_rounds=_rounds(original, shown[:1], settings.latency_rounds))
    if record is not None:
        record.save(folder / "compression.json")
    say(f"3/5 writing the file for {target.title}, and comparing it with torch")
    ranges = calibration if target.quantizes(settings.number_type) else None
    facts, proof = proven_export(target, model, folder / edge_name(target.name), shown, settings, ranges, seed)
    say("4/5 timing the generator before and after")
    lineage = Lineage(
        source=edge.source,
        source_md5=weights_digest(original),
        builder=edge.builder,
        data_md5=hashlib.md5(inputs_digest(calibration).encode(), usedforsecurity=False).hexdigest(),
        compression=None if record is None else _compression(record),
    )
    card = write_card(facts.files[0], model, shown[:1], proof, lineage, None, edge.smaller or original, facts)
    rounds = settings.latency_rounds
    before = measure_latency({"torch": original}, shown[:1], rounds, THREADS, min(WARM_UP, rounds))["torch"].p50_ms
    after = None if card.speed is None else card.speed.latency_ms_p50
    weights = sum(one.numel() * one.element_size() for one in original.state_dict().values())
    return Compressed(folder, facts.files[0], card, {}, 0.0, card.size_bytes, weights, after, before, ())


def _compression(record: CompressionRecord) -> CompressionCard:
    return CompressionCard(
        sparsity=record.sparsity,
        weight_scheme=record.weight_scheme,
        activation_scheme=record.activation_scheme,
        options=dict(record.options),
        layer_bits=record.layer_bits,
    )


def weights_digest(model: nn.Module) -> str:
    """Return the md5 of a network's weights."""
    return hashlib.md5(tensor_bytes(model.state_dict(), {}), usedforsecurity=False).hexdigest()


@torch.no_grad()
def _rounds(model: nn.Module, example: Tensor, most: int) -> int:
    """Return how often a generator and its file are timed: less often if a call of it takes long."""
    start = time.perf_counter()
    model(example)
    return max(min(FEWEST_ROUNDS, most), min(most, int(TIMED_SECONDS / (time.perf_counter() - start))))


@torch.no_grad()
def _draw(
    folder: Path, before: nn.Module, after: Generate, names: list[str], inputs: Tensor
) -> tuple[dict[str, float | None], float]:
    """Write one PNG for each input with the images before and after side by side, preceded by the input if it is a
    picture; return the SNR of the second image to the first in decibels, by name, and the PSNR of all.
    """
    folder.mkdir()
    decibels, errors = {}, []
    for place, name in enumerate(names):
        one = inputs[place : place + 1]
        wanted, found = before(one), after(one)
        images = [wanted, found]
        decibels[name] = compare_outputs(lambda _: wanted, lambda _: found, one).snr_db  # noqa: B023 (called at once)
        errors.append(float((found - wanted).double().square().mean()))
        if _is_picture(inputs) and inputs.shape[2:] == images[0].shape[2:]:
            images.insert(0, one)
        row = np.concatenate([_pixels(image) for image in images])
        save_png(
            folder / f"{place:02d}-{re.sub(r'[^A-Za-z0-9_-]+', '_', Path(name).stem)[:60]}.png",
            image_grid(row, len(row)),
        )
    error = float(np.mean(errors))
    return decibels, math.inf if error == 0 else 10 * math.log10(WIDTH**2 / error)


def _is_picture(inputs: Tensor) -> bool:
    return inputs.dim() == 4 and inputs.shape[1] in (1, 3)


def _pixels(images: Tensor) -> NDArray[np.uint8]:
    """Return images (N, C, H, W) as uint8 with three channels; for other numbers of channels the first is shown in
    grey.
    """
    shown = images if images.shape[1] == 3 else images[:, :1].expand(-1, 3, -1, -1)
    return images_to_uint8(shown).numpy()


def _summary(made: Compressed) -> str:
    """Write the measurements as JSON; the card has the rest."""
    decibels = {name: value if value is None else round(value, 2) for name, value in made.decibels.items()}
    content: dict[str, Any] = {
        "file": made.file.name,
        "size_bytes": made.size_bytes,
        "size_bytes_before": made.size_bytes_before,
        "milliseconds": made.milliseconds,
        "milliseconds_before": made.milliseconds_before,
        "decibels": decibels,
        "psnr": None if math.isinf(made.psnr) else round(made.psnr, 2),
        "notes": list(made.notes),
    }
    return json.dumps(content, indent=2) + "\n"
