"""Stage `compress`: a smaller generator without fine-tuning; channels and weights are pruned first, then quantized.

`generator.ganpack` is the result at the size that is claimed; `generator.safetensors` holds what it decodes to, for the
stages behind.
"""

import copy
import json
from collections.abc import Collection
from dataclasses import fields, replace
from typing import Any

from torch import Tensor, nn

from ganpress.basics.seeding import derived_seed
from ganpress.compression.packed.packing import load_packed, save_packed
from ganpress.compression.preparation.cross_layer import equalize_layers
from ganpress.compression.preparation.plain_layers import prepare
from ganpress.compression.pruning.magnitude_pruning import prune_
from ganpress.compression.pruning.structured_pruning import prune_channels
from ganpress.compression.quantization import QuantizationConfig, quantize, quantized_blueprint
from ganpress.compression.record import CompressionRecord, record_compression, scan_content
from ganpress.compression.widths.mixed_precision import quantize_within, scan_widths
from ganpress.config.edge_section import CompressConfig, CompressItem
from ganpress.data.prepared.generator_inputs import open_inputs
from ganpress.files.checkpoint import file_digest, save_model
from ganpress.metrics.fidelity import compare_outputs
from ganpress.structure.input_checks import check_generator, check_inputs
from ganpress.tracking import StageRun
from models.builders import Blueprint
from tasks.shared.item_generators import load_generator
from tasks.shared.previous_outputs import keeps_former
from tasks.shared.stage import Stage, stage_main

HELD_OUT_IMAGES = 256
"""Inputs, never calibrated on, that the difference to the original is measured on."""
HELD_OUT_VALUES = 2**22
"""Large inputs are fewer, so that the measurement stays a matter of seconds: 21 pictures of 3x256x256."""
FEWEST_HELD_OUT = 8
OF_ROUNDING = {field.name for field in fields(QuantizationConfig)}
"""Options of an item that say how values are rounded; whatever else an item has is not passed on."""


@keeps_former
def work(stage: Stage, run: StageRun) -> None:
    """Compress one generator and write it beside the record of what was done."""
    config = stage.section(CompressConfig)
    item = stage.chosen(config.items)
    source = stage.artifact(item.generator) / "generator.safetensors"
    original, blueprint = load_generator(stage, item.generator)
    run.uses_model(source)
    prepared = stage.artifact("prepare")
    seed = derived_seed(stage.seed, "compress", "calibration")
    calibration = open_inputs(prepared, "train").draw(seed, "calibration", config.calibration_images)
    unseen = open_inputs(prepared, "validation")
    held_out = unseen.draw(stage.seed, "compress-held-out", held_out_count(unseen.example()))
    check_generator(original, calibration, "calibration inputs")
    check_inputs(original, held_out, "inputs of the validation split")
    compressed, blueprint = compress(original, blueprint, item, calibration, seed)
    path, packed = stage.out / "generator.safetensors", stage.out / "generator.ganpack"
    save_packed(packed, compressed, blueprint)
    compressed, blueprint = load_packed(packed)  # what is measured from here on is what the small file holds
    save_model(path, compressed, blueprint)
    record = _record(original, compressed, item, file_digest(source, "md5"), calibration)
    record.save(stage.out / "compression.json")
    snr_db = compare_outputs(original, compressed, held_out).snr_db
    metrics = {
        "size_bytes": path.stat().st_size,
        "packed_bytes": packed.stat().st_size,
        "sparsity": record.zero_share,
        "float_macs_share": record.float_macs_share,
    }
    if snr_db is not None:
        metrics["snr_db"] = snr_db
    (stage.out / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    run.log_metrics(metrics)
    run.produces_model(path, family=stage.name, params=_options(item), metrics=metrics)


def compress(
    original: nn.Module, blueprint: Blueprint, item: CompressItem, calibration: Tensor, seed: int
) -> tuple[nn.Module, Blueprint]:
    """Prune and quantize a copy of `original`; a generator that is only pruned keeps its architecture.

    Raises:
        ConfigError: if an option does not fit the generator, or the calibration inputs do not.
    """
    model = copy.deepcopy(original)
    method = item.chosen_method()
    if method is not None:
        compressor, options = method
        model, blueprint = compressor.compress(model, blueprint, options, calibration, seed)
    if item.width < 1:
        model, blueprint = prune_channels(model, blueprint, item.width, calibration)
    if item.sparsity > 0:
        prune_(model, item.sparsity)
    if item.weight_bits is None and item.activation_bits is None:
        return model, blueprint
    if item.equalized:
        model = equalize_layers(model, calibration[:1])
    config = _config(item)
    if item.max_bytes is not None:
        quantized = quantize_within(model, blueprint, calibration, config, item.max_bytes, seed)
        return quantized, quantized_blueprint(quantized, blueprint)
    generator = quantize(model, calibration, config, seed)
    return generator, quantized_blueprint(generator, blueprint)


def _config(item: CompressItem) -> QuantizationConfig:
    return QuantizationConfig(**item.model_dump(include=OF_ROUNDING))


def _options(item: CompressItem, without: Collection[str] = ()) -> dict[str, Any]:
    """All options of an item; `method` only where one is named, so that records without stay as they were."""
    return item.model_dump(exclude={*without, *(() if item.method else ("method",))})


def _record(
    original: nn.Module, compressed: nn.Module, item: CompressItem, source_md5: str, calibration: Tensor
) -> CompressionRecord:
    options = _options(item, {"generator", "sparsity", "weight_bits", "activation_bits", "scan"})
    scan = None
    if item.scan:
        config = replace(QuantizationConfig(8, 8), clipping=item.clipping, activation_clipping=item.activation_clipping)
        prepared = prepare(original, calibration)
        scan = scan_content(scan_widths(prepared, config), scan_widths(prepared, config, "activations"))
    example = calibration[:1]
    return record_compression(compressed, item.generator, source_md5, item.sparsity, options, example, scan)


def held_out_count(example: Tensor) -> int:
    """Inputs that the difference is measured on, for inputs of the size of `example` (1, …)."""
    return max(FEWEST_HELD_OUT, min(HELD_OUT_IMAGES, HELD_OUT_VALUES // example.numel()))


if __name__ == "__main__":
    raise SystemExit(stage_main("compress", work))
