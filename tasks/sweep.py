"""Stage `sweep`: measures quality and diversity of one generator at many compression levels, and in floats."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ganpress.basics.device import copied_to
from ganpress.basics.progress import ticker
from ganpress.basics.seeding import derived_seed
from ganpress.compression.applying import held_out_count
from ganpress.config.edge_section import CompressConfig, EvaluateConfig
from ganpress.config.sweep_section import FLOAT, SweepConfig, SweepPoint
from ganpress.data.prepared.generator_inputs import LatentInputs, SourceInputs, open_inputs
from ganpress.errors import ConfigError
from ganpress.evaluation.compression_level import PackedGenerator, pack_float, pack_level
from ganpress.evaluation.measurement import (
    PURPOSE,
    Reference,
    open_truth,
    real_arrays,
    reference_features,
    score_generator,
)
from ganpress.files.checkpoint import file_digest
from ganpress.metrics.fidelity import compare_outputs
from ganpress.metrics.intervals.score_intervals import interval_metrics
from ganpress.metrics.judges.feature_networks import Judge, load_judge
from ganpress.metrics.scores import Scores
from ganpress.search.score_book import ScoreBook
from ganpress.structure.input_checks import check_generator, check_inputs
from ganpress.tracking import StageRun
from models.builders import Blueprint
from tasks.shared.generator_training import prepared, write_json
from tasks.shared.item_generators import load_generator
from tasks.shared.stage import Stage, require, stage_main

OF_TEACHERS = ("mae_teacher", "lpips_teacher")
"""There is no comparison with the chain's teacher here."""


@dataclass(frozen=True)
class Protocol:
    """How each form of the generator is measured: as in `evaluate`, with the sweep's own number of images."""

    judge: Judge
    reference: Reference
    config: EvaluateConfig
    inputs: LatentInputs | SourceInputs
    seed: int

    def score(self, generator: nn.Module) -> Scores:
        """Measure one form.

        Raises:
            DataError: if it produces NaN, or a sample count does not fit the data.
        """
        return score_generator(generator, self.judge, self.reference, self.config, self.seed, self.inputs)


@dataclass(frozen=True)
class Original:
    """The generator from which all levels are made, and the calibration inputs."""

    model: nn.Module
    blueprint: Blueprint
    calibration: Tensor
    seed: int
    """Seed that drew the calibration inputs."""


def work(stage: Stage, run: StageRun) -> None:
    """Measure every level that is not in the score book; write metrics.json with the float generator and all levels."""
    if stage.item is not None:
        raise ConfigError(f"sweep has no items, found '{stage.item}'; all levels are measured by `dvc repro sweep`")
    config = stage.section(SweepConfig)
    original = _original(stage, config)
    run.uses_model(stage.artifact(config.generator) / "generator.safetensors")
    run.uses_data(require(prepared(stage) / "test.npy", "prepare"))
    book = ScoreBook(stage.checkpoints / f"sweep-{_identity(stage, config)[:16]}.jsonl")
    missing = [point for point in config.points if not book.of(point)]
    if missing or not book.of(FLOAT):
        _measure(stage, config, original, missing, book)
    levels = {point.item: dict(book.of(point)) for point in config.points}
    write_json(stage.out / "metrics.json", {"float": dict(book.of(FLOAT)), "levels": levels})
    run.log_metrics({f"float/{name}": value for name, value in book.of(FLOAT).items()})
    for point in config.points:  # One curve over bits for each method.
        run.log_metrics({f"{point.clipping}/{name}": value for name, value in levels[point.item].items()}, point.bits)


def _original(stage: Stage, config: SweepConfig) -> Original:
    model, blueprint = load_generator(stage, config.generator)
    seed = derived_seed(
        stage.seed, "compress", "calibration"
    )  # Inputs are drawn as in `compress`, so that results agree.
    calibration_images = stage.section(CompressConfig, "compress").calibration_images
    calibration = open_inputs(prepared(stage), "train").draw(seed, "calibration", calibration_images)
    check_generator(model, calibration, "calibration inputs")
    return Original(model, blueprint, calibration, seed)


def _identity(stage: Stage, config: SweepConfig) -> str:
    """Return a digest of everything that decides the results of a level, except the level itself."""
    judge = require(stage.artifact("judge") / "judge.safetensors", "judge")
    generator = stage.artifact(config.generator) / "generator.safetensors"
    measured = stage.section(EvaluateConfig, "evaluate")
    protocol = [measured.neighbours, measured.kid_subsets, measured.kid_subset_size, measured.is_splits, config.images]
    calibration = stage.section(CompressConfig, "compress").calibration_images
    facts = [stage.seed, calibration, *protocol, stage.code, torch.__version__, stage.device.type]
    digest = hashlib.sha256(json.dumps(facts).encode())
    for path in (generator, judge, *_data_files(prepared(stage))):
        digest.update(bytes.fromhex(file_digest(path, "sha256")))
    return digest.hexdigest()


def _data_files(folder: Path) -> list[Path]:
    """Return the prepared files on which levels are calibrated and measured."""
    return sorted({*real_arrays(folder)[1], folder / "test.npy", folder / "meta.json", *folder.glob("*_sources.npy")})


def _measure(stage: Stage, config: SweepConfig, of: Original, missing: list[SweepPoint], book: ScoreBook) -> None:
    """Measure the float generator, then the missing levels, and add each result to the book."""
    protocol, count = _protocol(stage, config), len(config.points)
    before = protocol.score(copied_to(of.model, stage.device))
    book.add_all(FLOAT, _row(before, before, pack_float(of.model, of.blueprint)))
    with ticker("sweep", count, "levels", done=count - len(missing)) as progress:
        for point in missing:
            compressed = pack_level(of.model, of.blueprint, point, of.calibration, of.seed)
            after = protocol.score(copied_to(compressed.model, stage.device))
            row = _row(after, before, compressed) | _fidelity(stage, of.model, compressed.model)
            book.add_all(point, row | {"float_layers": compressed.float_layers})
            progress.advance(1, point.item)


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
    """Return the results of one form; retained shares are relative to the float generator's scores."""
    numbers: Mapping[str, float] = {**own.metrics(in_floats), **interval_metrics(own, in_floats)}
    kept = {name: value for name, value in numbers.items() if not name.startswith(OF_TEACHERS)}
    return kept | {"packed_bytes": packed.packed_bytes}


def _fidelity(stage: Stage, original: nn.Module, compressed: nn.Module) -> dict[str, float]:
    """Return the SNR to the float generator on inputs that were not used for calibration; empty if images are equal."""
    unseen = open_inputs(prepared(stage), "validation")
    held_out = unseen.draw(stage.seed, "compress-held-out", held_out_count(unseen.example()))
    check_inputs(original, held_out, "inputs of the validation split")
    snr_db = compare_outputs(original, compressed, held_out).snr_db
    return {} if snr_db is None or not math.isfinite(snr_db) else {"snr_db": snr_db}


if __name__ == "__main__":
    raise SystemExit(stage_main("sweep", work))
