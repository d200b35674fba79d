"""Stage `compress`: compresses a generator without fine-tuning; channels and weights are pruned first, then quantized.

`generator.ganpack` is the packed result, whose size is reported; `generator.safetensors` contains the decoded network
for the stages downstream.
"""

import json
from typing import Any

from torch import Tensor, nn

from ganpress.basics.seeding import derived_seed
from ganpress.compression.applying import apply_item, held_out_count
from ganpress.compression.compressor import CompressionData
from ganpress.compression.packed.packing import load_packed, save_packed
from ganpress.compression.record import CompressionRecord, record_compression
from ganpress.config.edge_section import SHORT_FORM, CompressConfig, CompressItem
from ganpress.data.prepared.generator_inputs import open_inputs
from ganpress.files.checkpoint import file_digest, save_model
from ganpress.metrics.fidelity import compare_outputs
from ganpress.structure.input_checks import check_generator, check_inputs
from ganpress.tracking import StageRun
from ganpress.training.loop import TrainingRun
from tasks.shared.generator_training import checkpointing
from tasks.shared.item_generators import load_generator
from tasks.shared.previous_outputs import keeps_former
from tasks.shared.stage import Stage, stage_main


@keeps_former
def work(stage: Stage, run: StageRun) -> None:
    """Compress one generator and write it with a record of what was done."""
    config = stage.section(CompressConfig)
    item = stage.chosen(config.items)
    source = stage.artifact(item.generator) / "generator.safetensors"
    original, blueprint = load_generator(stage, item.generator)
    run.uses_model(source)
    prepared = stage.artifact("prepare")
    run.uses_data(prepared / "train.npy")
    seed = derived_seed(stage.seed, "compress", "calibration")
    calibration = open_inputs(prepared, "train").draw(seed, "calibration", config.calibration_images)
    unseen = open_inputs(prepared, "validation")
    held_out = unseen.draw(stage.seed, "compress-held-out", held_out_count(unseen.example()))
    check_generator(original, calibration, "calibration inputs")
    check_inputs(original, held_out, "inputs of the validation split")
    resume = checkpointing(stage, [source])
    training = TrainingRun(stage.seed, stage.label, resume)
    data = CompressionData(calibration, seed, open_inputs(prepared, "train"), training, stage.device)
    compressed, blueprint = apply_item(original, blueprint, item, data)
    path, packed = stage.out / "generator.safetensors", stage.out / "generator.ganpack"
    save_packed(packed, compressed, blueprint)
    compressed, blueprint = load_packed(packed)  # From here on, the network decoded from the packed file is measured.
    save_model(path, compressed, blueprint)
    resume.path.unlink(missing_ok=True)
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
    run.produces_model(path, family=stage.name, params={"generator": item.generator} | _options(item), metrics=metrics)


def _options(item: CompressItem) -> dict[str, Any]:
    """Return all options of an item's algorithms, including defaults; options of another package are prefixed with the
    algorithm's name.
    """
    found: dict[str, Any] = {}
    for compressor, options in item.algorithms():
        prefix = "" if compressor.name in SHORT_FORM else f"{compressor.name}."
        found |= {f"{prefix}{name}": value for name, value in options.model_dump().items()}
    return found


def _record(
    original: nn.Module, compressed: nn.Module, item: CompressItem, source_md5: str, calibration: Tensor
) -> CompressionRecord:
    chosen = _options(item)
    sparsity = chosen.pop("sparsity", 0.0)
    options = {name: value for name, value in chosen.items() if name not in ("weight_bits", "activation_bits", "scan")}
    scans = [one.scan(original, of, calibration) for one, of in item.algorithms() if one.scan is not None]
    scan = next((one for one in scans if one is not None), None)
    return record_compression(compressed, item.generator, source_md5, sparsity, options, calibration[:1], scan)


if __name__ == "__main__":
    raise SystemExit(stage_main("compress", work))
