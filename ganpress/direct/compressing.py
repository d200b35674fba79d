"""Compresses a user's generator into a verified edge file, in one call and without a project.

    from pathlib import Path
    import ganpress

    made = ganpress.compress("gen/my_module.py:build", Path("out"), weights=Path("g.pt"), example=(1, 3, 256, 256),
                    data=Path("pictures"))
    made.file, made.decibels, made.size_bytes, made.milliseconds

The steps are those of the stages `compress` and `export`: the generator is analysed as in `ganpress import`, quantized
with calibration inputs, written for its runtime, compared with torch, profiled and timed.
"""

import logging
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ganpress.compression.applying import apply_item
from ganpress.compression.compressor import CompressionData
from ganpress.compression.record import CompressionRecord, record_compression
from ganpress.config.edge_section import CompressItem
from ganpress.direct.edge_folder import ROUNDS, Compressed, EdgeGenerator, check_out, weights_digest, write_edge
from ganpress.direct.given_inputs import given_inputs, parted, training_inputs
from ganpress.edge.proven_export import ExportSettings
from ganpress.edge.targets.target import Target, require_installed
from ganpress.errors import ConfigError
from ganpress.imported.importing import ImportRequest, bring_in
from ganpress.registries import TARGETS
from ganpress.structure.input_checks import check_generator
from ganpress.training.loop import TrainingRun
from models.builders import Blueprint

logger = logging.getLogger("ganpress")

METHOD = re.compile(r"(qad-)?w([2-8])(?:a([2-8]))?")
SHORT = {"ptq": "w8a8", "qad": "qad-w4a8"}
METHODS = (
    "ptq (w8a8: 8-bit weights and activations), qad (qad-w4a8: the integers are trained), wNaM, wN, qad-wNaM or qad-wN "
    "with 2 to 8 bits, float, or int8, the runtime's own quantizer"
)
LATENT_LESSONS = {"train_images": 50_000, "batch_size": 64}
PICTURE_LESSONS = {"train_images": 2_000, "batch_size": 4}
"""Training length of `qad`, which takes minutes for a generator of small pictures; a project sets it in
`compress.items`.
"""


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
    """Compress a generator and write the file with its card, pictures before and after, and the measurements.

    Args:
        source: `FILE.py:function` or `module:function` that builds it, `FILE.onnx`, `FILE.pt2`, or the module itself.
        out: the folder to write, completely or not at all; one that this function has written before is replaced.
        weights: see `ganpress.imported.weight_files`; None uses those of the module.
        example: shape of one input: (1, C, H, W) pictures, (1, Z) latents, (1, C, L) signals.
        data: folder of pictures, or of arrays `.npy` of one input each, in [-1, 1]; needed unless it reads latents.
        method: `ptq`, `qad`, `w4a8`, `w4`, `qad-w3a8`, `float`, or `int8` of the target's own quantizer.
        target: one of `ganpress targets`.
        seed: seed of latents and of the choice of calibration inputs.
        any_size: whether the file accepts pictures of any height and width; see `ganpress.edge.forms.any_size`.
        request: further options of `ganpress import`; the arguments above override it.
        say: function that is called with progress messages.

    Raises:
        ganpress.errors.GanpressError: saying in one line what is wrong and what to do.
    """
    runtime = TARGETS.find(target)
    require_installed(runtime)
    _check_method(method, runtime)
    check_out(out)
    asked = replace(
        request or ImportRequest("", None),
        source=source if isinstance(source, str) else f"{type(source).__module__}:{type(source).__name__}",
    )
    asked = replace(asked, weights=weights or asked.weights, example=example or asked.example)
    say(f"1/5 analysing {asked.source}")
    brought = bring_in(asked, source if isinstance(source, nn.Module) else None)
    for note in brought.notes:
        say(f"  {note}")
    names, inputs = given_inputs(brought.example, data, seed)
    calibration, _ = parted(inputs)
    check_generator(brought.generator, calibration, "calibration inputs")
    say(f"2/5 compressing by {method}, calibrated on {len(calibration)} inputs")
    original = brought.generator
    model, blueprint, record = round_generator(original, brought.blueprint, brought.source, method, calibration, seed)
    if record is not None and not runtime.can_keep(model):
        model, record, method = original, None, _own_quantizer(runtime)
        say(f"  {runtime.title} cannot write these integers: its own quantizer is used, {method}")
    edge = EdgeGenerator(original, model, brought.source, blueprint.builder, record)
    number_type = method if record is None and method in runtime.number_types else "float32"
    settings = ExportSettings(number_type=number_type, latency_rounds=ROUNDS, any_size=any_size)
    made = write_edge(out, edge, runtime, settings, names, inputs, seed, say)
    return replace(made, notes=brought.notes)


def round_generator(
    original: nn.Module, blueprint: Blueprint, source: str, method: str, calibration: Tensor, seed: int
) -> tuple[nn.Module, Blueprint, CompressionRecord | None]:
    """Quantize a generator after or during training; `float` and a runtime's own quantizer change nothing here.

    Args:
        original: generator in floats; not changed.
        blueprint: description from which it is rebuilt.
        source: name of the generator in the record.
        method: see `compress`.
        calibration: calibration inputs (N, …).
        seed: seed of training inputs.

    Raises:
        ConfigError: if the method does not support a layer of the generator.
    """
    item = _item(method, calibration)
    if item is None:
        return original, blueprint, None
    more = training_inputs(calibration)
    given = CompressionData(calibration, seed, more, TrainingRun(seed, "compress"), torch.device("cpu"))
    model, made = apply_item(original, blueprint, item, given)
    return model, made, record_compression(model, source, weights_digest(original), 0.0, {}, calibration[:1])


def _check_method(method: str, target: Target) -> None:
    if method not in (*SHORT, "float", *target.number_types) and not METHOD.fullmatch(method):
        raise ConfigError(f"unknown method '{method[:40]}'; known: {METHODS}")


def _own_quantizer(target: Target) -> str:
    """Return the first number type of a target's own quantizer.

    Raises:
        ConfigError: if it has none.
    """
    own = [name for name in target.number_types if target.quantizes(name)]
    if not own:
        raise ConfigError(
            f"the target '{target.name}' has no quantizer of its own, and keeps integers of ganpress only if "
            f"both weights and activations are integers; choose a method such as w8a8, or float"
        )
    return own[0]


def _item(method: str, calibration: Tensor) -> CompressItem | None:
    """Return the method if ganpress quantizes itself; None for floats and for the target's own quantizer."""
    found = METHOD.fullmatch(SHORT.get(method, method))
    if found is None:
        return None
    bits = {"weight_bits": int(found[2]), "activation_bits": int(found[3]) if found[3] else None}
    chosen: dict[str, Any] = {"name": "quantize", **bits}
    if found[1]:
        chosen = {"name": "qad", **bits, **(LATENT_LESSONS if calibration.dim() == 2 else PICTURE_LESSONS)}
    return CompressItem.model_validate({"generator": "teacher", "method": chosen})
