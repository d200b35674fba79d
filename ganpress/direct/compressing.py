"""A generator of yours as a proven edge file, in one call, without a project around it.

    from pathlib import Path
    from ganpress.direct.compressing import compress

    made = compress("gen/my_module.py:build", Path("out"), weights=Path("g.pt"), example=(1, 3, 256, 256),
                    data=Path("pictures"))
    made.file, made.decibels, made.size_bytes, made.milliseconds

What is done is what the stages `compress` and `export` do: the generator is looked at as `ganpress import` does,
rounded on inputs that it is calibrated on, written for its runtime, compared with torch there, profiled and timed.
"""

import hashlib
import json
import logging
import re
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
from ganpress.compression.applying import apply_item
from ganpress.compression.compressor import CompressionData
from ganpress.compression.record import CompressionRecord, record_compression
from ganpress.config.edge_section import CompressItem
from ganpress.data.pictures import image_grid, save_png
from ganpress.data.prepared.generator_inputs import inputs_digest
from ganpress.direct.given_inputs import SHOWN_INPUTS, given_inputs, parted, training_inputs
from ganpress.edge.proof.card_writing import write_card
from ganpress.edge.proof.edge_card import Card, CompressionCard, Lineage
from ganpress.edge.proven_export import THREADS, ExportSettings, proven_export
from ganpress.edge.targets.target import Target, require_installed
from ganpress.errors import ConfigError
from ganpress.files.edge_files import edge_name
from ganpress.files.tensor_files import tensor_bytes
from ganpress.imported.importing import ImportRequest, bring_in
from ganpress.metrics.fidelity import compare_outputs
from ganpress.metrics.scoring import Generate
from ganpress.performance.latency import measure_latency
from ganpress.registries import TARGETS
from ganpress.structure.input_checks import check_generator
from ganpress.training.loop import TrainingRun
from models.builders import Blueprint

logger = logging.getLogger("ganpress")

SUMMARY = "summary.json"
PICTURES = "pictures"
METHOD = re.compile(r"(qad-)?w([2-8])(?:a([2-8]))?")
SHORT = {"ptq": "w8a8", "qad": "qad-w4a8"}
METHODS = (
    "ptq (w8a8: 8-bit weights and activations), qad (qad-w4a8: the integers are trained), wNaM, wN, qad-wNaM or qad-wN "
    "with 2 to 8 bits, float, or int8, the runtime's own quantizer"
)
LATENT_LESSONS = {"train_images": 50_000, "batch_size": 64}
PICTURE_LESSONS = {"train_images": 2_000, "batch_size": 4}
"""Length of `qad`: minutes for a generator of small pictures; `compress.items` of a project sets its own."""
ROUNDS = 20
"""Timed calls."""


@dataclass(frozen=True)
class Compressed:
    """An edge file and what was measured of it."""

    folder: Path
    file: Path
    card: Card
    decibels: dict[str, float | None]
    """Of each held-out input by name: signal-to-noise ratio of the file's image to that of the float generator; None
    where the images are equal."""
    size_bytes: int
    """Of the file, and of those that belong to it."""
    size_bytes_before: int
    """Of the float weights."""
    milliseconds: float | None
    """Median of one image on one thread, in the file's runtime; None where that does not run on this system."""
    milliseconds_before: float
    """The same in eager torch."""
    notes: tuple[str, ...]
    """What was found of the generator, in sentences."""


def compress(
    source: str | nn.Module,
    out: Path,
    *,
    weights: Path | None = None,
    example: tuple[int, ...] | None = None,
    data: Path | None = None,
    method: str = "ptq",
    target: str = "onnx",
    seed: int = 0,
    any_size: bool = False,
    request: ImportRequest | None = None,
    say: Callable[[str], None] = logger.info,
) -> Compressed:
    """Compress a generator and write the file with its card, pictures before and after, and what was measured.

    Args:
        source: `FILE.py:function` or `module:function` that builds it, `FILE.onnx`, `FILE.pt2`, or the module itself.
        out: the folder to write, whole or not at all; one that this function has written before is replaced.
        weights: see `ganpress.imported.weight_files`; None takes those that the module has.
        example: shape of one input: (1, C, H, W) pictures, (1, Z) latents, (1, C, L) signals.
        data: folder of pictures, or of arrays `.npy` of one input each, in [-1, 1]; needed unless it reads latents.
        method: `ptq`, `qad`, `w4a8`, `w4`, `qad-w3a8`, `float`, or `int8` of the target's own quantizer.
        target: one of `ganpress targets`.
        seed: of latents, and of what is chosen for calibration.
        any_size: whether the file takes pictures of any height and width; see `ganpress.edge.forms.any_size`.
        request: further options of `ganpress import`; the arguments above lie over it.
        say: is told what is being done.

    Raises:
        ganpress.errors.GanpressError: saying in one line what is wrong and what to do.
    """
    runtime = TARGETS.find(target)
    require_installed(runtime)
    _check_method(method, runtime)
    _check_out(out)
    asked = replace(
        request or ImportRequest("", None),
        source=source if isinstance(source, str) else f"{type(source).__module__}:{type(source).__name__}",
    )
    asked = replace(asked, weights=weights or asked.weights, example=example or asked.example)
    say(f"1/5 looking at {asked.source}")
    brought = bring_in(asked, source if isinstance(source, nn.Module) else None)
    for note in brought.notes:
        say(f"  {note}")
    names, inputs = given_inputs(brought.example, data, seed)
    calibration, _ = parted(inputs)
    check_generator(brought.generator, calibration, "calibration inputs")
    say(f"2/5 compressing by {method}, calibrated on {len(calibration)} inputs")
    original = brought.generator
    model, blueprint, record = compressed(original, brought.blueprint, brought.source, method, calibration, seed)
    if record is not None and not runtime.can_keep(model):
        model, record, method = original, None, _own_quantizer(runtime)
        say(f"  {runtime.title} does not write these integers: its own quantizer is taken, {method}")
    edge = Edge(original, model, brought.source, blueprint.builder, record)
    number_type = method if record is None and method in runtime.number_types else "float32"
    settings = ExportSettings(number_type=number_type, latency_rounds=ROUNDS, any_size=any_size)
    made = write_edge(out, edge, runtime, settings, names, inputs, seed, say)
    return replace(made, notes=brought.notes)


@dataclass(frozen=True)
class Edge:
    """A generator that is to become a file, beside the one that the file is compared with."""

    original: nn.Module
    """In floats."""
    model: nn.Module
    """The same, or rounded."""
    source: str
    builder: str
    record: CompressionRecord | None = None
    """How it was rounded."""


def compressed(
    original: nn.Module, blueprint: Blueprint, source: str, method: str, calibration: Tensor, seed: int
) -> tuple[nn.Module, Blueprint, CompressionRecord | None]:
    """Round a generator, or train its integers; `float` and a runtime's own quantizer change nothing here.

    Args:
        original: in floats; not changed.
        blueprint: what rebuilds it.
        source: its name in the record.
        method: see `compress`.
        calibration: inputs (N, …).
        seed: of training inputs.

    Raises:
        ConfigError: if the generator has layers that the method cannot take.
    """
    item = _item(method, calibration)
    if item is None:
        return original, blueprint, None
    more = training_inputs(calibration)
    given = CompressionData(calibration, seed, more, TrainingRun(seed, "compress"), torch.device("cpu"))
    model, made = apply_item(original, blueprint, item, given)
    return model, made, record_compression(model, source, _digest(original), 0.0, {}, calibration[:1])


def write_edge(
    out: Path,
    edge: Edge,
    target: Target,
    settings: ExportSettings,
    names: list[str],
    inputs: Tensor,
    seed: int = 0,
    say: Callable[[str], None] = logger.info,
) -> Compressed:
    """Write a generator's edge file with its card, pictures before and after, and what was measured.

    Args:
        out: the folder to write, whole or not at all; one that was written so before is replaced.
        edge: the generator.
        target: what is written, for which runtime.
        settings: how it is written and proven.
        names: of the inputs.
        inputs: (N, …); the last ones are held out for the proof, the others calibrate a runtime's own quantizer.
        seed: of what the runtime's quantizer chooses.
        say: is told what is being done.

    Raises:
        ganpress.errors.GanpressError: if the file cannot be written, or does not draw what the generator draws.
    """
    _check_out(out)
    calibration, shown = parted(inputs)
    shown_names = names[len(names) - len(shown) :]
    with whole_folder(out) as folder:
        made = _write(folder, edge, target, settings, calibration, shown, seed, say)
        say(f"5/5 drawing {min(len(shown), SHOWN_INPUTS)} pictures before and after")
        runner = target.open(made.file, THREADS)
        result = replace(made, decibels=_decibels(edge.original, runner, shown_names, shown))
        _draw(folder / PICTURES, edge.original, runner, shown_names, shown)
        (folder / SUMMARY).write_text(_summary(result), encoding="utf-8")
    return replace(result, folder=out, file=out / made.file.name)


def _check_method(method: str, target: Target) -> None:
    if method not in (*SHORT, "float", *target.number_types) and not METHOD.fullmatch(method):
        raise ConfigError(f"unknown method '{method[:40]}'; known: {METHODS}")


def _check_out(out: Path) -> None:
    if out.exists() and not (out / SUMMARY).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} holds something else; name a folder that does not exist or is empty")
    if out.resolve() == Path.cwd():
        raise ConfigError("the folder to write is the working directory; name one inside it")


def _write(
    folder: Path,
    edge: Edge,
    target: Target,
    settings: ExportSettings,
    calibration: Tensor,
    shown: Tensor,
    seed: int,
    say: Callable[[str], None],
) -> Compressed:
    original, model, record = edge.original, edge.model, edge.record
    if record is not None:
        record.save(folder / "compression.json")
    say(f"3/5 writing the file for {target.title}, and comparing it with torch")
    ranges = calibration if target.quantizes(settings.number_type) else None
    facts, proof = proven_export(target, model, folder / edge_name(target.name), shown, settings, ranges, seed)
    say("4/5 timing the generator before and after")
    lineage = Lineage(
        source=edge.source,
        source_md5=_digest(original),
        builder=edge.builder,
        data_md5=hashlib.md5(inputs_digest(calibration).encode(), usedforsecurity=False).hexdigest(),
        compression=None if record is None else _compression(record),
    )
    card = write_card(facts.files[0], model, shown[:1], proof, lineage, None, original, facts)
    before = measure_latency({"torch": original}, shown[:1], ROUNDS, THREADS)["torch"].p50_ms
    after = None if card.speed is None else card.speed.latency_ms_p50
    weights = sum(one.numel() * one.element_size() for one in original.state_dict().values())
    return Compressed(folder, facts.files[0], card, {}, card.size_bytes, weights, after, before, ())


def _own_quantizer(target: Target) -> str:
    """The first number type that a target quantizes to by itself.

    Raises:
        ConfigError: if it has none.
    """
    own = [name for name in target.number_types if target.quantizes(name)]
    if not own:
        raise ConfigError(
            f"the target '{target.name}' has no quantizer of its own, and keeps integers of ganpress only where "
            "weights and activations have them; take a method as w8a8, or float"
        )
    return own[0]


def _item(method: str, calibration: Tensor) -> CompressItem | None:
    """What ganpress rounds or trains itself; None for floats and for the target's own quantizer."""
    found = METHOD.fullmatch(SHORT.get(method, method))
    if found is None:
        return None
    bits = {"weight_bits": int(found[2]), "activation_bits": int(found[3]) if found[3] else None}
    chosen: dict[str, Any] = {"name": "quantize", **bits}
    if found[1]:
        chosen = {"name": "qad", **bits, **(LATENT_LESSONS if calibration.dim() == 2 else PICTURE_LESSONS)}
    return CompressItem.model_validate({"generator": "teacher", "method": chosen})


def _compression(record: CompressionRecord) -> CompressionCard:
    return CompressionCard(
        sparsity=record.sparsity,
        weight_scheme=record.weight_scheme,
        activation_scheme=record.activation_scheme,
        options=dict(record.options),
        layer_bits=record.layer_bits,
    )


def _digest(model: nn.Module) -> str:
    """md5 of its weights."""
    return hashlib.md5(tensor_bytes(model.state_dict(), {}), usedforsecurity=False).hexdigest()


def _decibels(before: nn.Module, after: Generate, names: list[str], inputs: Tensor) -> dict[str, float | None]:
    pairs = zip(names, inputs, strict=True)
    return {name: compare_outputs(before, after, one[None]).snr_db for name, one in pairs}


@torch.no_grad()
def _draw(folder: Path, before: nn.Module, after: Generate, names: list[str], inputs: Tensor) -> None:
    """One PNG for each input, before and after side by side, what was read before both where it is a picture."""
    folder.mkdir()
    for place, name in enumerate(names):
        images = [before(inputs[place : place + 1]), after(inputs[place : place + 1])]
        if _is_picture(inputs) and inputs.shape[2:] == images[0].shape[2:]:
            images.insert(0, inputs[place : place + 1])
        row = np.concatenate([_pixels(one) for one in images])
        save_png(
            folder / f"{place:02d}-{re.sub(r'[^A-Za-z0-9_-]+', '_', Path(name).stem)[:60]}.png",
            image_grid(row, len(row)),
        )


def _is_picture(inputs: Tensor) -> bool:
    return inputs.dim() == 4 and inputs.shape[1] in (1, 3)


def _pixels(images: Tensor) -> NDArray[np.uint8]:
    """Images (N, C, H, W) as uint8 of three channels; of other numbers of channels the first is shown in grey."""
    shown = images if images.shape[1] == 3 else images[:, :1].expand(-1, 3, -1, -1)
    return images_to_uint8(shown).numpy()


def _summary(made: Compressed) -> str:
    """What was measured, as JSON; the card has the rest."""
    decibels = {name: value if value is None else round(value, 2) for name, value in made.decibels.items()}
    content: dict[str, Any] = {
        "file": made.file.name,
        "size_bytes": made.size_bytes,
        "size_bytes_before": made.size_bytes_before,
        "milliseconds": made.milliseconds,
        "milliseconds_before": made.milliseconds_before,
        "decibels": decibels,
        "notes": list(made.notes),
    }
    return json.dumps(content, indent=2) + "\n"
