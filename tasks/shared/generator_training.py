"""Functions of all stages that train a generator: initial weights, checkpoints, curves, sample grids, the model
file.
"""

import csv
import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ganpress.basics.device import run_where_it_is
from ganpress.basics.pixel_values import images_to_uint8
from ganpress.basics.ranks import GPUS, MAX_RANKS, PROCESSES, rank, ranks
from ganpress.basics.seeding import seeded_initialisation
from ganpress.data.pictures import image_grid, save_png
from ganpress.data.prepared.arrays import read_meta
from ganpress.data.prepared.generator_inputs import canvas_of, open_inputs
from ganpress.errors import CheckpointError, ConfigError
from ganpress.files.checkpoint import file_digest, load_model, save_model
from ganpress.tracking import StageRun
from ganpress.training.loop import Checkpointing, CurvePoint, TrainingRun
from models.builders import Blueprint, generator_blueprint
from models.families import FAMILIES
from models.family import Canvas
from tasks.shared.collapse_watch import CollapseWatch
from tasks.shared.stage import Stage, require

logger = logging.getLogger("ganpress")

GRID_IMAGES = 64


def fresh(stage: Stage, blueprint: Blueprint) -> nn.Module:
    """Build a module on the stage's device, with initial weights that depend only on the seed, the stage and the
    item.
    """
    with seeded_initialisation(stage.seed, stage.label, blueprint.builder):
        network = blueprint.build()
    return network.to(stage.device)


def canvas(stage: Stage) -> Canvas:
    """Return the input and output shapes of generators for the prepared data."""
    return canvas_of(read_meta(prepared(stage)))


def prepared(stage: Stage) -> Path:
    """Return the folder of the prepared data."""
    return require(stage.artifact("prepare") / "train.npy", "prepare").parent


def generator_of(stage: Stage, name: str) -> Blueprint:
    """Return the generator `family:spec` for the prepared data.

    Raises:
        ConfigError: if the name is wrong, or the architecture is not for this data.
    """
    try:
        return generator_blueprint(name, canvas(stage))
    except ValueError as error:
        raise ConfigError(f"{stage.label}: generator '{name}': {error}") from None


def load_teacher(stage: Stage) -> tuple[nn.Module, Blueprint]:
    """Return the teacher in eval mode, on the stage's device.

    Raises:
        CheckpointError: if its file is damaged, or its generator is not for this kind of data.
        DataError: if it does not exist yet.
    """
    path = require(stage.artifact("teacher") / "generator.safetensors", "teacher")
    teacher, blueprint = load_model(path)
    conditional = canvas(stage).reads > 0
    known = {family.builder for family in FAMILIES.values() if family.conditional == conditional} | {"imported"}
    if blueprint.builder not in known:
        raise CheckpointError(
            f"{path} holds a '{blueprint.builder}', but this data needs one of {', '.join(sorted(known))}; "
            "run `dvc repro --force teacher`"
        )
    return teacher.to(stage.device), blueprint


def sized_like(stage: Stage, name: str, teacher: Blueprint) -> Blueprint:
    """Return a student's generator `family:spec`; `imported:50` is the teacher's own imported network at other widths.

    Raises:
        ConfigError: if the name is wrong, or not for this data or teacher.
    """
    family, _, spec = name.partition(":")
    if family != "imported":
        return generator_of(stage, name)
    if teacher.builder != "imported":
        raise ConfigError(f"{stage.label}: '{name}' is for an imported teacher; this one is a {teacher.builder}")
    return Blueprint(teacher.builder, teacher.arguments | {"spec": spec or "100"})


def checkpointing(stage: Stage, inputs: list[Path]) -> Checkpointing:
    """Name the stage's checkpoint after everything that decides its result, so that no other training continues it."""
    digest = identity(stage, inputs)
    own = _of_ranks(stage, digest, ranks())
    if rank() == 0 and not own.path.exists():
        _say_if_other_ranks_began(stage, digest)
    return own


def _of_ranks(stage: Stage, digest: str, count: int) -> Checkpointing:
    """Return the checkpoint of a training with this number of ranks; each rank has its own dropout masks and picture
    pool.
    """
    shared = hashlib.sha256(f"{digest}, {count} ranks".encode()).hexdigest()
    return Checkpointing(stage.checkpoints / f"{stage.label}-{shared[:16]}.pt", shared)


def _say_if_other_ranks_began(stage: Stage, digest: str) -> None:
    """Log that a checkpoint of the same training exists for another number of ranks."""
    variable = GPUS if stage.device.type == "cuda" else PROCESSES
    for others in range(1, MAX_RANKS + 1):
        path = _of_ranks(stage, digest, others).path
        if path.exists():
            logger.warning(
                "%s: starts from the beginning, because %s is for %d ranks and not for %d; %s=%d would continue it",
                *(stage.label, path, others, ranks(), variable, others),
            )


def identity(stage: Stage, inputs: list[Path]) -> str:
    """Digest the stage's own parameters, its input files, its code, torch's version and the kind of its device.

    The number of threads is left out because it changes results only by rounding: a training continues with another
    `--jobs`.
    """
    section = stage.params[stage.name]
    own = {key: value for key, value in section.items() if key != "items"}
    item = section.get("items", {}).get(stage.item)
    facts = [stage.seed, own, item, stage.code, torch.__version__, stage.device.type]
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for path in inputs:
        digest.update(bytes.fromhex(file_digest(path, "sha256")))
    return digest.hexdigest()


def grid_inputs(stage: Stage) -> Tensor:
    """Return the latents or held-out sources (64, …) of all sample grids of this run."""
    return open_inputs(prepared(stage), "validation").draw(stage.seed, "samples", GRID_IMAGES)


@torch.no_grad()
def _samples(stage: Stage, generator: nn.Module) -> NDArray[np.uint8]:
    """Return a generator's images of `grid_inputs`, uint8 (64, C, H, W); its mode is restored."""
    mode = generator.training
    images = images_to_uint8(run_where_it_is(generator.eval(), grid_inputs(stage))).cpu().numpy()
    generator.train(mode)
    return images


SAMPLE_EVERY = 4
"""Number of curve points between two tracked sample grids."""
LOOKED_AT_FROM = 10
"""Number of curve points, a quarter of a training, after which a generator's pictures have to differ."""


class CurveLog:
    """Tracks a training while it runs: losses at each curve point, and sometimes a sample grid of the generator.

    Args:
        stage: stage that gives the sample latents.
        run: MLflow run to which it is logged.
        samples: whether to draw the network as a generator of images.
    """

    def __init__(self, stage: Stage, run: StageRun, samples: bool = True) -> None:
        self._stage, self._run, self._samples = stage, run, samples
        self._logged: set[int] = set()
        self._watch = CollapseWatch(stage, stage.artifact("prepare"))

    def __call__(self, point: CurvePoint, network: nn.Module) -> None:
        """Track one point; the network's mode and weights are not changed."""
        self._log(point)
        if self._samples and len(self._logged) % SAMPLE_EVERY == 0:
            pictures = self._draw(network, point.images)
            if len(self._logged) >= LOOKED_AT_FROM:
                variety = self._watch.look(pictures, point.images)
                self._run.log_metrics({"variety": variety}, step=point.images)

    def start(self, network: nn.Module) -> nn.Module:
        """Track the untrained network as step 0, at which MLflow's slider starts, and return the point."""
        self._draw(network, 0)
        return network

    def complete(self, curve: list[CurvePoint]) -> None:
        """Track the points of a resumed training that an earlier, killed process reached."""
        for point in curve:
            if point.images not in self._logged:
                self._log(point)

    def _draw(self, network: nn.Module, images: int) -> NDArray[np.uint8]:
        pictures = _samples(self._stage, network)
        self._run.log_image("samples", image_grid(pictures), step=images)
        return pictures

    def _log(self, point: CurvePoint) -> None:
        self._logged.add(point.images)
        self._run.log_metrics(point.losses, step=point.images)


class TrackedTraining:
    """The training of a stage: tracked while it runs, and resumed from a checkpoint of the same training.

    Args:
        stage: stage whose seed, label and code the training depends on.
        run: MLflow run to which it is logged.
        inputs: files that decide its result.
        samples: whether to track the network in training as a generator of images.
    """

    def __init__(self, stage: Stage, run: StageRun, inputs: list[Path], samples: bool = True) -> None:
        self._stage, self._log = stage, CurveLog(stage, run, samples)
        self._resume = checkpointing(stage, inputs)
        run.uses_data(prepared(stage) / "train.npy")
        self.start = self._log.start
        self.run = TrainingRun(stage.seed, stage.label, self._resume, self._log)
        """Arguments for the trainers."""

    def note(self, curve: list[CurvePoint]) -> dict[str, float]:
        """Track and write the whole curve; return the images shown and the last losses."""
        self._log.complete(curve)
        write_curve(self._stage.out / "curves.csv", curve)
        return {"train_images": curve[-1].images} | last_losses(curve)

    def forget(self) -> None:
        """Remove the checkpoint after the result is in the stage's own files."""
        self._resume.forget()


def write_curve(path: Path, curve: list[CurvePoint]) -> None:
    """Write a loss curve as CSV: images, then one column per loss; a network that was not trained has only the row of
    0 images.
    """
    points = curve or [CurvePoint(0, {})]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["images", *points[0].losses], lineterminator="\n")
        writer.writeheader()
        for point in points:
            writer.writerow({"images": point.images} | {name: f"{value:.6g}" for name, value in point.losses.items()})


def write_json(path: Path, content: Mapping[str, object]) -> None:
    """Write JSON with sorted keys, so that equal content gives equal bytes."""
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


@torch.no_grad()
def deliver(
    stage: Stage,
    run: StageRun,
    generator: nn.Module,
    blueprint: Blueprint,
    metrics: Mapping[str, float],
    params: Mapping[str, object],
) -> None:
    """Write generator.safetensors, samples.png and metrics.json, and track them."""
    path = stage.out / "generator.safetensors"
    save_model(path, generator, blueprint)
    grid = image_grid(_samples(stage, generator))
    save_png(stage.out / "samples.png", grid)
    run.log_image("result", grid)
    facts = {"parameters": parameter_count(generator), "size_bytes": path.stat().st_size} | dict(metrics)
    write_json(stage.out / "metrics.json", facts)
    run.log_metrics(facts)
    run.produces_model(path, family=stage.name, params=params, metrics=facts)


def parameter_count(module: nn.Module) -> int:
    """Return the number of weights and biases, as the papers count them."""
    return sum(parameter.numel() for parameter in module.parameters())


def last_losses(curve: list[CurvePoint]) -> dict[str, float]:
    """Return the losses of the last curve point under their metric names."""
    return {f"{name}_last": round(value, 6) for name, value in curve[-1].losses.items()}
