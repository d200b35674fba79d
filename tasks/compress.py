"""Stage `compress`: a smaller generator without fine-tuning; pruned first, then quantized."""

import copy
import json

from torch import Tensor, nn

from ganpress.checkpoint import file_digest, load_model, save_model
from ganpress.compression.pruning import prune_
from ganpress.compression.quantization import QuantizationConfig, quantize, quantized_blueprint
from ganpress.compression.record import record_compression
from ganpress.config.edge import CompressConfig, CompressItem
from ganpress.data.inputs import open_inputs
from ganpress.fidelity import compare_outputs
from ganpress.seeding import derived_seed
from ganpress.tracking import StageRun
from models.builders import Blueprint
from tasks.stage import Stage, require, stage_main

HELD_OUT_IMAGES = 256
"""Inputs, never calibrated on, that the difference to the original is measured on."""
HELD_OUT_VALUES = 2**22
"""Large inputs are fewer, so that the measurement stays a matter of seconds: 21 pictures of 3x256x256."""
FEWEST_HELD_OUT = 8


def work(stage: Stage, run: StageRun) -> None:
    """Compress one generator and write it beside the record of what was done."""
    config = stage.section(CompressConfig)
    item = stage.chosen(config.items)
    source = require(stage.artifact(item.generator) / "generator.pt", item.generator.replace("/", "@"))
    original, blueprint = load_model(source)
    run.uses_model(source)
    prepared = stage.artifact("prepare")
    seed = derived_seed(stage.seed, "compress", "calibration")
    calibration = open_inputs(prepared, "train").draw(seed, "calibration", config.calibration_images)
    compressed, blueprint = compress(original, blueprint, item, calibration, seed)
    path = stage.out / "generator.pt"
    save_model(path, compressed, blueprint)
    options = item.model_dump(
        exclude_defaults=True, exclude={"generator", "sparsity", "weight_bits", "activation_bits"}
    )
    record = record_compression(compressed, item.generator, file_digest(source, "md5"), item.sparsity, options)
    record.save(stage.out / "compression.json")
    unseen = open_inputs(prepared, "validation")
    held_out = unseen.draw(stage.seed, "compress-held-out", held_out_count(unseen.example()))
    snr_db = compare_outputs(original, compressed, held_out).snr_db
    metrics = {"size_bytes": path.stat().st_size, "sparsity": record.zero_share}
    if snr_db is not None:
        metrics["snr_db"] = snr_db
    (stage.out / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    run.log_metrics(metrics)
    run.produces_model(path, family=stage.name, params=item.model_dump(), metrics=metrics)


def compress(
    original: nn.Module, blueprint: Blueprint, item: CompressItem, calibration: Tensor, seed: int
) -> tuple[nn.Module, Blueprint]:
    """Prune and quantize a copy of `original`; a generator that is only pruned keeps its architecture."""
    model = copy.deepcopy(original)
    if item.sparsity > 0:
        prune_(model, item.sparsity)
    if item.weight_bits is None and item.activation_bits is None:
        return model, blueprint
    config = QuantizationConfig(**item.model_dump(exclude={"generator", "sparsity"}))
    quantized = quantize(model, calibration, config, seed)
    return quantized, quantized_blueprint(quantized, blueprint)


def held_out_count(example: Tensor) -> int:
    """Inputs that the difference is measured on, for inputs of the size of `example` (1, …)."""
    return max(FEWEST_HELD_OUT, min(HELD_OUT_IMAGES, HELD_OUT_VALUES // example.numel()))


if __name__ == "__main__":
    raise SystemExit(stage_main("compress", work))
