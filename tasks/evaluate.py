"""Stage `evaluate`: measures every generator of the chain, including edge files, by one protocol in one process."""

import csv
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from ganpress.basics.device import copied_to
from ganpress.basics.progress import ticker
from ganpress.config.edge_section import EvaluateConfig
from ganpress.data.prepared.arrays import read_meta
from ganpress.data.prepared.generator_inputs import LatentInputs, SourceInputs, open_inputs
from ganpress.edge.roofline import measure_peaks, roofline_metrics
from ganpress.errors import ConfigError, DataError
from ganpress.evaluation.measurement import (
    PURPOSE,
    Reference,
    open_truth,
    real_arrays,
    reference_features,
    score_generator,
)
from ganpress.metrics.intervals.score_intervals import interval_metrics
from ganpress.metrics.judges.feature_networks import Judge, load_judge
from ganpress.metrics.judges.lpips import load_perceptual_distance
from ganpress.metrics.samples.sample_store import SampleStore
from ganpress.metrics.scores import Scores
from ganpress.metrics.scoring import Generate
from ganpress.performance.generator_cost import Cost
from ganpress.performance.latency import Latency, measure_latency
from ganpress.registries import TARGETS
from ganpress.structure.input_checks import check_generator
from ganpress.tracking import StageRun
from tasks.shared.gallery import write_gallery
from tasks.shared.machine import write_machine
from tasks.shared.previous_outputs import keeps_former
from tasks.shared.stage import Stage, require, stage_main
from tasks.shared.step_changes import Step, measure_step, sources_first, step_sources, write_steps
from tasks.shared.subjects import TEACHER, Subject, find_subjects, float_cost, open_runner

OWN = "judge"
"""Name of a judge that was trained on the data set."""
THREADS = 1
"""Number of threads for latency. One thread is comparable between machines and avoids contention between thread
pools."""
THROUGHPUT_BATCH = 64
"""Batch size of the second latency, for latents only; one such call on 256 x 256 sources would take minutes."""


@keeps_former
def work(stage: Stage, run: StageRun) -> None:
    """Measure everything and write metrics.json, generators.csv, samples.csv, pictures and machine.json."""
    config = stage.section(EvaluateConfig)
    subjects = find_subjects(stage)
    judge = load_judge(require(stage.artifact("judge") / "judge.safetensors", "judge"), stage.device)
    tracked = [subject for subject in subjects if subject.tracked]
    for subject in tracked:
        run.uses_model(subject.path)
    test_split = require(stage.artifact("prepare") / "test.npy", "prepare")
    run.uses_data(test_split)
    inputs = open_inputs(test_split.parent, "test")
    runners = {subject.reference: open_runner(stage, subject, THREADS) for subject in subjects}
    _check_images(runners, test_split.parent, inputs.draw(stage.seed, PURPOSE, 1))
    reference = _reference(stage, test_split.parent, judge, config, inputs)
    scores, steps = _score_all(stage, runners, judge, reference, config, inputs)
    timed = {one.reference: runners[one.reference] for one in subjects if _runs_here(one)}
    latency = _latencies(timed, config, inputs, stage.seed)
    metrics = {
        one.reference: {
            **scores[one.reference].metrics(scores[TEACHER]),
            **interval_metrics(scores[one.reference], scores[TEACHER]),
            **(steps[one.reference].metrics(judge.name) if one.reference in steps else {}),
            **_cost_metrics(float_cost(one, inputs.example()), one.size_bytes),
            **latency.get(one.reference, {}),
        }
        for one in subjects
    }
    peaks = measure_peaks(THREADS)
    for one in subjects:
        if one.reference not in timed:
            continue
        row = metrics[one.reference]
        row |= roofline_metrics(row["macs_exact"], row["latency_ms_p50"], _number_type(one, inputs.example()), peaks)
    _write_tables(stage.out, metrics)
    write_gallery(stage, run, runners, inputs)
    # The classes of a judge that was not trained on this data are not those of the data.
    write_steps(stage, run, list(steps.values()), read_meta(test_split.parent).classes if judge.name == OWN else [])
    write_machine(stage.out, THREADS, peaks)
    run.log_metrics({f"{name}/{metric}": value for name, row in metrics.items() for metric, value in row.items()})
    for subject in tracked:
        run.measures_model(subject.path, metrics[subject.reference], test_split)


def _check_images(runners: Mapping[str, Generate], prepared: Path, example: Tensor) -> None:
    """Run every generator once, so that errors appear before hours of measurement.

    Args:
        runners: generators by reference.
        prepared: folder of the stage `prepare`.
        example: one input (1, …) of the test split.

    Raises:
        ConfigError: if a generator does not read this data's inputs or does not draw images of its shape; the message
            names it.
    """
    meta = read_meta(prepared)
    wanted = meta.channels, meta.size, meta.width
    for reference, generate in runners.items():
        drawn = tuple(check_generator(generate, example, "inputs of the test split", reference).shape[1:])
        if drawn != wanted:
            raise ConfigError(
                f"{reference} draws images {drawn}, but the prepared ones are {wanted}; prepare the data that "
                f"it was trained on, or train it on this data"
            )


def _reference(
    stage: Stage, prepared: Path, judge: Judge, config: EvaluateConfig, inputs: LatentInputs | SourceInputs
) -> Reference:
    """Return the features of real images, and the target of each input."""
    split, arrays = real_arrays(prepared)
    seed, device = stage.seed, stage.device
    truth = open_truth(prepared, "test", inputs, seed, PURPOSE, config.images)
    lpips = load_perceptual_distance(Path(config.lpips_weights), device) if config.lpips_weights else None
    return reference_features(
        arrays, judge, config.neighbours, split, truth=truth, lpips=lpips, seed=seed, device=device
    )


def _score_all(
    stage: Stage,
    runners: Mapping[str, Generate],
    judge: Judge,
    reference: Reference,
    config: EvaluateConfig,
    inputs: LatentInputs | SourceInputs,
) -> tuple[dict[str, Scores], dict[str, Step]]:
    """Score the teacher and keep its images on disk, then score the others, whose images are compared with the
    teacher's.

    Each compressed or exported generator is also compared with its source, sample by sample. A network is on the
    stage's device only while it is scored, because latency is measured on the CPU.
    """
    seed, sources = stage.seed, step_sources(stage)
    count = min(config.images, len(inputs)) if isinstance(inputs, SourceInputs) else config.images
    scores: dict[str, Scores] = {}
    steps: dict[str, Step] = {}
    stores: dict[str, SampleStore] = {}
    with (
        tempfile.TemporaryDirectory(prefix="ganpress-evaluate-") as folder,
        ticker("evaluate", count * len(runners), "images") as progress,
    ):
        for name in [TEACHER, *sources_first([name for name in runners if name != TEACHER], sources)]:
            if name == TEACHER or name in sources or name in sources.values():
                stores[name] = SampleStore(Path(folder) / name)
            teacher = None if name == TEACHER else stores[TEACHER].images
            try:
                scores[name] = score_generator(
                    copied_to(runners[name], stage.device),
                    judge,
                    reference,
                    config,
                    seed,
                    inputs,
                    teacher,
                    on_images=progress.advance,
                    samples=stores.get(name),
                )
            except DataError as error:
                raise DataError(f"{name}: {error}") from None
            if name in sources:
                steps[name] = measure_step(name, sources[name], stores, scores, seed)
                if name not in sources.values():
                    stores.pop(name).delete()
    return scores, {name: steps[name] for name in runners if name in steps}


def _latencies(
    runners: Mapping[str, Generate], config: EvaluateConfig, inputs: LatentInputs | SourceInputs, seed: int
) -> dict[str, dict[str, float]]:
    """Time all generators in turn on one input, and on a batch if inputs are latents."""
    single = measure_latency(runners, inputs.draw(seed, "latency", 1), config.latency_repeats, THREADS)
    rows = {name: _latency_metrics(one, single[TEACHER]) for name, one in single.items()}
    if isinstance(inputs, LatentInputs):
        latents = inputs.draw(seed, "latency", THROUGHPUT_BATCH)
        rounds = max(3, config.latency_repeats // 20)
        for name, one in measure_latency(runners, latents, rounds, THREADS, warm_up=1).items():
            rows[name][f"latency_ms_p50_batch{one.batch_size}"] = one.p50_ms
    return rows


def _runs_here(subject: Subject) -> bool:
    """Return whether a generator runs in its own runtime, since other timings mean nothing."""
    return not subject.exported or not TARGETS[subject.target].stand_in


def _latency_metrics(single: Latency, teacher: Latency) -> dict[str, float]:
    return {
        "latency_ms_p50": single.p50_ms,
        "latency_ms_p95": single.p95_ms,
        "latency_ratio": teacher.p50_ms / single.p50_ms,
        "latency_threads": single.threads,
    }


def _number_type(subject: Subject, example: Tensor) -> str:
    """Return the number type of most of a generator's products, from its runtime's profile; torch only simulates
    integers.
    """
    if not subject.exported:
        return "float32"
    target = TARGETS[subject.target]
    weight: dict[str, float] = {"float32": 0.0}
    for kernel in target.kernels(subject.path, example).kernels:
        if kernel.multiplies:
            weight[kernel.number_type] = weight.get(kernel.number_type, 0.0) + (kernel.share or kernel.count)
    return max(weight, key=weight.__getitem__)


def _cost_metrics(cost: Cost, size_bytes: int) -> dict[str, float]:
    return {
        "parameters": cost.parameters,
        "macs_exact": cost.macs_exact,
        "macs_torchprofile": cost.macs_torchprofile,
        "size_bytes": size_bytes,
    }


def _write_tables(folder: Path, metrics: Mapping[str, Mapping[str, float]]) -> None:
    text = json.dumps(metrics, indent=2) + "\n"
    (folder / "metrics.json").write_text(text, encoding="utf-8")
    columns = list(dict.fromkeys(name for row in metrics.values() for name in row))
    with (folder / "generators.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["generator", *columns], lineterminator="\n")
        writer.writeheader()
        writer.writerows({"generator": reference, **row} for reference, row in metrics.items())


if __name__ == "__main__":
    raise SystemExit(stage_main("evaluate", work))
