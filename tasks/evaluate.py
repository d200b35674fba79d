"""Stage `evaluate`: every generator of the chain, edge files included, measured by one protocol in one process."""

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ganpress.checkpoint import load_model
from ganpress.config.edge import CompressConfig, EvaluateConfig, ExportConfig, ReportConfig
from ganpress.config.training import ControlConfig, StudentConfig
from ganpress.cost import Cost, generator_cost
from ganpress.data.pictures import image_grid
from ganpress.errors import ConfigError
from ganpress.evaluation import (
    Latency,
    Scores,
    interpolate_latents,
    measure_latency,
    reference_features,
    score_generator,
)
from ganpress.metrics.judge import Judge, load_judge
from ganpress.metrics.pixels import Uint8
from ganpress.metrics.scoring import Generate, draw_latents
from ganpress.pixels import images_to_uint8
from ganpress.progress import ticker
from ganpress.tracking import StageRun
from models.wdcgan import LATENT
from tasks.machine import write_machine
from tasks.stage import Stage, require, stage_main

TEACHER = "teacher"
THREADS = 1
"""Latency is that of one core: comparable between machines, and free of quarrels between two thread pools."""
THROUGHPUT_BATCH = 64


@dataclass(frozen=True)
class Subject:
    """One generator under evaluation."""

    reference: str
    path: Path
    base: str
    """Reference of the plain generator that it is a compressed or exported form of; itself where it is one."""

    @property
    def exported(self) -> bool:
        return self.reference.startswith("export/")


def work(stage: Stage, run: StageRun) -> None:
    """Measure everything and write metrics.json, generators.csv, gallery.npz and machine.json."""
    config = stage.section(EvaluateConfig)
    subjects = find_subjects(stage)
    judge = load_judge(require(stage.artifact("judge") / "judge.pt", "judge"))
    for subject in subjects:
        run.uses_model(subject.path)
    test_split = require(stage.artifact("prepare") / "test.npy", "prepare")
    run.uses_data(test_split)
    runners = {subject.reference: open_runner(subject) for subject in subjects}
    scores = _score_all(runners, judge, test_split, config, stage.seed)
    latency = measure_latency(runners, config.latency_repeats, stage.seed, threads=THREADS)
    rounds = max(3, config.latency_repeats // 20)
    throughput = measure_latency(runners, rounds, stage.seed, THROUGHPUT_BATCH, threads=THREADS, warm_up=1)
    costs = {subject.reference: base_cost(stage, subject) for subject in subjects}
    metrics = {
        one.reference: {
            **scores[one.reference].metrics(scores[TEACHER]),
            **_cost_metrics(costs[one.reference], one.path),
            **_latency_metrics(latency[one.reference], throughput[one.reference], latency[TEACHER]),
        }
        for one in subjects
    }
    _write_tables(stage.out, metrics)
    _write_gallery(stage, run, runners)
    write_machine(stage.out, THREADS)
    run.log_metrics({f"{reference}/{name}": value for reference, row in metrics.items() for name, value in row.items()})
    for subject in subjects:
        run.measures_model(subject.path, metrics[subject.reference], test_split)


def find_subjects(stage: Stage) -> list[Subject]:
    """List every generator that params.yaml names, teacher first, and check that each file is there.

    Raises:
        ConfigError: if a compress or export item names a generator that does not exist.
        DataError: if a file is missing, naming the stage that makes it.
    """
    compress, export = stage.section(CompressConfig, "compress").items, stage.section(ExportConfig, "export").items
    sources = {f"compress/{item}": one.generator for item, one in compress.items()}
    sources |= {f"export/{item}": one.generator for item, one in export.items()}
    plain = [TEACHER]
    plain += [f"student/{item}" for item in stage.section(StudentConfig, "student").items]
    plain += [f"control/{item}" for item in stage.section(ControlConfig, "control").items]
    plain += ["subnet"]
    return [_subject(stage, reference, sources, plain) for reference in [*plain, *sources]]


def _subject(stage: Stage, reference: str, sources: Mapping[str, str], plain: list[str]) -> Subject:
    base = reference
    while base in sources:
        base = sources[base]
    if base not in plain:
        raise ConfigError(f"{reference} is made of '{base}', which is no generator of this chain: {', '.join(plain)}")
    name = "generator.onnx" if reference.startswith("export/") else "generator.pt"
    made_by = reference.replace("/", "@")
    return Subject(reference, require(stage.artifact(reference) / name, made_by), base)


def open_runner(subject: Subject) -> Generate:
    """Load a generator into the runtime that it is meant for: torch eager, or ONNX Runtime for edge files."""
    if subject.exported:
        from ganpress.edge.runtime import OnnxGenerator

        runner: Generate = OnnxGenerator(subject.path, threads=THREADS)
        return runner
    generator, _ = load_model(subject.path)
    return generator


def base_cost(stage: Stage, subject: Subject) -> Cost:
    """Count the plain generator: compression changes its numbers' width, not how many there are."""
    generator, _ = load_model(stage.artifact(subject.base) / "generator.pt")
    return generator_cost(generator, torch.zeros(1, LATENT))


def _score_all(
    runners: Mapping[str, Generate], judge: Judge, test_split: Path, config: EvaluateConfig, seed: int
) -> dict[str, Scores]:
    reference = reference_features(test_split, judge, config.neighbours)
    with ticker("evaluate", config.images * len(runners), "images") as progress:
        return {
            name: score_generator(runner, judge, reference, config, seed, progress.advance)
            for name, runner in runners.items()
        }


def _cost_metrics(cost: Cost, path: Path) -> dict[str, float]:
    return {
        "parameters": cost.parameters,
        "macs_exact": cost.macs_exact,
        "macs_torchprofile": cost.macs_torchprofile,
        "size_bytes": path.stat().st_size,
    }


def _latency_metrics(single: Latency, batch: Latency, teacher: Latency) -> dict[str, float]:
    return {
        "latency_ms_p50": single.p50_ms,
        "latency_ms_p95": single.p95_ms,
        "latency_ratio": teacher.p50_ms / single.p50_ms,
        "latency_threads": single.threads,
        f"latency_ms_p50_batch{batch.batch_size}": batch.p50_ms,
    }


def _write_tables(folder: Path, metrics: Mapping[str, Mapping[str, float]]) -> None:
    text = json.dumps(metrics, indent=2) + "\n"
    (folder / "metrics.json").write_text(text, encoding="utf-8")
    columns = list(dict.fromkeys(name for row in metrics.values() for name in row))
    with (folder / "generators.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["generator", *columns], lineterminator="\n")
        writer.writeheader()
        writer.writerows({"generator": reference, **row} for reference, row in metrics.items())


def _write_gallery(stage: Stage, run: StageRun, runners: Mapping[str, Generate]) -> None:
    """Draw the same latents through every generator, and a walk between two of them."""
    report = stage.section(ReportConfig, "report")
    samples = draw_latents(stage.seed, "gallery", report.sample_images)
    first, second = draw_latents(stage.seed, "interpolation", 2)
    walk = interpolate_latents(first, second, report.interpolation_steps)
    pictures: dict[str, Uint8] = {}
    with torch.no_grad():
        for reference, runner in runners.items():
            pictures[f"samples/{reference}"] = images_to_uint8(runner(samples)).numpy()
            if not reference.startswith(("control/", "compress/")):
                pictures[f"interpolation/{reference}"] = images_to_uint8(runner(walk)).numpy()
    np.savez_compressed(stage.out / "gallery.npz", allow_pickle=False, **pictures)
    for name, images in pictures.items():
        run.log_image(name, image_grid(images))


if __name__ == "__main__":
    raise SystemExit(stage_main("evaluate", work))
