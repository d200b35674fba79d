"""Stage `sweep`: quality and diversity of one generator at one compression level, beside itself in floats."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from ganpress.basics.device import copied_to
from ganpress.basics.progress import ticker
from ganpress.basics.seeding import derived_seed
from ganpress.compression.applying import held_out_count
from ganpress.config.edge_section import CompressConfig, EvaluateConfig
from ganpress.config.sweep_section import SweepConfig
from ganpress.data.prepared.generator_inputs import LatentInputs, SourceInputs, open_inputs
from ganpress.evaluation.compression_level import PackedGenerator, pack_float, pack_level
from ganpress.evaluation.measurement import (
    PURPOSE,
    Reference,
    open_truth,
    real_arrays,
    reference_features,
    score_generator,
)
from ganpress.metrics.fidelity import compare_outputs
from ganpress.metrics.intervals.score_intervals import interval_metrics
from ganpress.metrics.judges.feature_networks import Judge, load_judge
from ganpress.metrics.scores import Scores
from ganpress.structure.input_checks import check_generator, check_inputs
from ganpress.tracking import StageRun
from tasks.shared.generator_training import prepared, write_json
from tasks.shared.item_generators import load_generator
from tasks.shared.stage import Stage, require, stage_main

FLOAT = "float"
"""Key of the generator's own row in metrics.json."""
OF_TEACHERS = ("mae_teacher", "lpips_teacher")
"""Compare with the chain's teacher elsewhere; here there is none."""


@dataclass(frozen=True)
class Protocol:
    """What both forms of the generator are measured by: that of `evaluate`, with the sweep's own number of images."""

    judge: Judge
    reference: Reference
    config: EvaluateConfig
    inputs: LatentInputs | SourceInputs
    seed: int

    def score(self, generator: nn.Module) -> Scores:
        """Measure one form.

        Raises:
            DataError: if it makes NaN, or a sample count does not fit the data.
        """
        count = self.config.images
        if isinstance(self.inputs, SourceInputs):
            count = min(count, len(self.inputs))
        with ticker("sweep", count, "images") as progress:
            return score_generator(
                generator,
                self.judge,
                self.reference,
                self.config,
                self.seed,
                self.inputs,
                on_images=progress.advance,
            )


def work(stage: Stage, run: StageRun) -> None:
    """Compress, measure, write metrics.json: the level's numbers, and the float generator's under `float`."""
    config = stage.section(SweepConfig)
    level = config.point(stage.item)
    original, blueprint = load_generator(stage, config.generator)
    run.uses_model(stage.artifact(config.generator) / "generator.safetensors")
    data = prepared(stage)
    run.uses_data(require(data / "test.npy", "prepare"))
    seed = derived_seed(stage.seed, "compress", "calibration")  # as `compress` draws them, so that numbers agree
    calibration_images = stage.section(CompressConfig, "compress").calibration_images
    calibration = open_inputs(data, "train").draw(seed, "calibration", calibration_images)
    check_generator(original, calibration, "calibration inputs")
    compressed = pack_level(original, blueprint, level, calibration, seed)
    protocol = _protocol(stage, config)
    before, after = (protocol.score(copied_to(one, stage.device)) for one in (original, compressed.model))
    metrics = _row(after, before, compressed) | _fidelity(stage, original, compressed.model)
    metrics["float_layers"] = compressed.float_layers
    of_float = _row(before, before, pack_float(original, blueprint))
    write_json(stage.out / "metrics.json", {**metrics, FLOAT: of_float})
    run.log_metrics(metrics | {f"{FLOAT}/{name}": value for name, value in of_float.items()})


def _protocol(stage: Stage, config: SweepConfig) -> Protocol:
    data = prepared(stage)
    measured = stage.section(EvaluateConfig, "evaluate").model_copy(update={"images": config.images})
    judge = load_judge(require(stage.artifact("judge") / "judge.safetensors", "judge"), stage.device)
    inputs = open_inputs(data, "test")
    split, arrays = real_arrays(data)
    truth = open_truth(data, "test", inputs, stage.seed, PURPOSE, config.images)
    reference = reference_features(
        arrays, judge, measured.neighbours, split, truth=truth, seed=stage.seed, device=stage.device
    )
    return Protocol(judge, reference, measured, inputs, stage.seed)


def _row(own: Scores, in_floats: Scores, packed: PackedGenerator) -> dict[str, float]:
    """Numbers of one form; retained shares are of the float generator's scores."""
    numbers: Mapping[str, float] = {**own.metrics(in_floats), **interval_metrics(own, in_floats)}
    kept = {name: value for name, value in numbers.items() if not name.startswith(OF_TEACHERS)}
    return kept | {"packed_bytes": packed.packed_bytes}


def _fidelity(stage: Stage, original: nn.Module, compressed: nn.Module) -> dict[str, float]:
    """SNR to the float generator on inputs that were not calibrated on; none where images are equal."""
    unseen = open_inputs(prepared(stage), "validation")
    held_out = unseen.draw(stage.seed, "compress-held-out", held_out_count(unseen.example()))
    check_inputs(original, held_out, "inputs of the validation split")
    snr_db = compare_outputs(original, compressed, held_out).snr_db
    return {} if snr_db is None or not math.isfinite(snr_db) else {"snr_db": snr_db}


if __name__ == "__main__":
    raise SystemExit(stage_main("sweep", work))
