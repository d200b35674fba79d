"""Records how each compression and export changed single samples: `samples.csv`, and the worst samples as pictures."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ganpress.config.edge_section import CompressConfig, ExportConfig
from ganpress.data.pictures import image_grid
from ganpress.metrics.feature_inputs import Float64
from ganpress.metrics.images.gray_values import Uint8
from ganpress.metrics.samples.sample_changes import Classes, SampleChanges, sample_changes
from ganpress.metrics.samples.sample_store import SampleStore
from ganpress.metrics.scores import Scores
from ganpress.registries import METRICS
from ganpress.tracking import StageRun
from tasks.shared.sample_files import PICTURES, TABLE
from tasks.shared.stage import Stage

WORST = 12
"""Number of samples shown for each step."""


@dataclass(frozen=True)
class Step:
    """Changes that one compression or export made to the samples of one generator."""

    reference: str
    source: str
    changes: SampleChanges
    realism_before: Float64
    """(N,) realism of the samples in [0, 1] (`ganpress.metrics.neighbours.hashed_nearest.BallScores.scores`)."""
    realism_after: Float64
    worst: Mapping[str, Uint8]
    """`before` and `after`: images (n, C, H, W) of the worst samples, the worst first."""

    def metrics(self, judge: str) -> dict[str, float]:
        """Means over all samples, by name."""
        changes = self.changes
        values = {
            "feature_distance": float(changes.feature_distance.mean()),
            "class_kept": changes.class_kept,
            "modes_kept": changes.modes_kept,
        }
        count = len(changes.feature_distance)
        return {METRICS[name].full_name(count, "", judge): value for name, value in values.items() if value is not None}


def step_sources(stage: Stage) -> dict[str, str]:
    """Return the source of each compressed generator and edge file: `export/teacher` -> `teacher`."""
    compress, export = stage.section(CompressConfig, "compress").items, stage.section(ExportConfig, "export").items
    sources = {f"compress/{item}": one.generator for item, one in compress.items()}
    return sources | {f"export/{item}": one.generator for item, one in export.items()}


def sources_first(references: Sequence[str], sources: Mapping[str, str]) -> list[str]:
    """Order generators so that each comes after the one that it was made from."""

    def steps(reference: str) -> int:
        return 1 + steps(sources[reference]) if reference in sources else 0

    return sorted(references, key=steps)


def measure_step(
    reference: str, source: str, stores: Mapping[str, SampleStore], scores: Mapping[str, Scores], seed: int
) -> Step:
    """Compare the samples of one generator with those of the generator that it was made from."""
    before, after = stores[source], stores[reference]
    changes = sample_changes(before, after, seed)
    worst = changes.worst(WORST)
    return Step(
        reference,
        source,
        changes,
        scores[source].lsh_neighbours.generated.scores,
        scores[reference].lsh_neighbours.generated.scores,
        {"before": before.pictures(worst), "after": after.pictures(worst)},
    )


def write_steps(stage: Stage, run: StageRun, steps: Sequence[Step], names: Sequence[str]) -> None:
    """Write `samples.csv`, with one row for each sample and step, and `samples.npz` with `<reference>/before` and
    `/after`.

    Args:
        stage: The stage that measured.
        run: Its MLflow run.
        steps: All compressions and exports.
        names: Names of the judge's classes; empty if they have none.
    """
    with (stage.out / TABLE).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for step in steps:
            writer.writerows(_rows(step, names))
    pictures = {f"{step.reference}/{side}": images for step in steps for side, images in step.worst.items()}
    np.savez_compressed(stage.out / PICTURES, allow_pickle=False, **pictures)
    run.log_file(stage.out / TABLE)
    for step in steps:
        pairs = np.concatenate([step.worst["before"], step.worst["after"]], axis=2)
        if pairs.shape[1] in (1, 3):
            run.log_image(f"worst/{step.reference}", image_grid(pairs, columns=len(pairs)))


_COLUMNS = (
    "generator",
    "made_from",
    "sample",
    "feature_distance",
    "pixel_distance",
    "realism_before",
    "realism_after",
    "buckets_lost",
    "class_before",
    "class_after",
)


def _rows(step: Step, names: Sequence[str]) -> list[list[str]]:
    changes = step.changes
    numbers = (
        changes.feature_distance,
        changes.pixel_distance,
        step.realism_before,
        step.realism_after,
        changes.buckets_lost,
    )
    classes = [_named(one, names, len(changes.feature_distance)) for one in _classes(changes)]
    return [
        [step.reference, step.source, str(sample), *(f"{column[sample]:.5g}" for column in numbers), *labels]
        for sample, labels in enumerate(zip(*classes, strict=True))
    ]


def _classes(changes: SampleChanges) -> tuple[Classes | None, Classes | None]:
    return changes.classes_before, changes.classes_after


def _named(classes: Classes | None, names: Sequence[str], count: int) -> list[str]:
    """Return the names of the classes, or their numbers if they have none; empty if the judge has no classes."""
    if classes is None:
        return [""] * count
    return [names[one] if names else str(one) for one in classes]
