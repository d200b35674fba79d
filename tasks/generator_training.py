"""What all stages that train a generator share: fresh weights, checkpoints, curves, sample grids, the model file."""

import csv
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from ganpress import losses
from ganpress.checkpoint import save_model
from ganpress.data.pictures import image_grid, save_png
from ganpress.pixels import images_to_uint8
from ganpress.seeding import seeded_initialisation, torch_generator
from ganpress.tracking import StageRun
from ganpress.training.loop import Checkpointing, CurvePoint
from models import builders
from models.builders import Blueprint
from models.wdcgan import LATENT
from tasks.stage import Stage

GRID_IMAGES = 64


def fresh(stage: Stage, blueprint: Blueprint) -> nn.Module:
    """Build a module with first weights that depend on the seed, the stage and the item only."""
    with seeded_initialisation(stage.seed, stage.label, blueprint.builder):
        return blueprint.build()


def checkpointing(stage: Stage, inputs: list[Path]) -> Checkpointing:
    """Name the checkpoint after all that decides the result: parameters, inputs, source code, thread count.

    A change of any of them starts another file, so a resumed training is always a continuation of the same one.
    """
    digest = hashlib.sha256()
    section = stage.params[stage.name]
    own_items = {key: value for key, value in section.items() if key != "items"}
    item = section.get("items", {}).get(stage.item)
    digest.update(json.dumps([stage.seed, own_items, item, torch.get_num_threads()], sort_keys=True).encode())
    for path in [*inputs, *_source_files()]:
        digest.update(hashlib.file_digest(path.open("rb"), "sha256").digest())
    identity = digest.hexdigest()
    return Checkpointing(stage.checkpoints / f"{stage.label}-{identity[:16]}.pt", identity)


def _source_files() -> list[Path]:
    library = Path(losses.__file__).parent
    folders = (library / "training", Path(builders.__file__).parent)
    return sorted([Path(losses.__file__), *(path for folder in folders for path in folder.glob("*.py"))])


def grid_latents(stage: Stage) -> Tensor:
    """The latents (64, Z) that every sample grid of this run shows."""
    return torch.randn((GRID_IMAGES, LATENT), generator=torch_generator(stage.seed, "samples"))


@torch.no_grad()
def log_samples(stage: Stage, run: StageRun, generator: nn.Module, images: int) -> None:
    """Track the grid of a generator in training as a step, leaving its mode as it was."""
    mode = generator.training
    grid = image_grid(images_to_uint8(generator.eval()(grid_latents(stage))).numpy())
    generator.train(mode)
    run.log_image("samples", grid, step=images)


def log_point(run: StageRun, point: CurvePoint) -> None:
    """Track one point of a loss curve."""
    run.log_metrics(point.losses, step=point.images)


def write_curve(path: Path, curve: list[CurvePoint]) -> None:
    """Write a loss curve as CSV: images, then one column a loss."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["images", *curve[0].losses], lineterminator="\n")
        writer.writeheader()
        for point in curve:
            writer.writerow({"images": point.images} | {name: f"{value:.6g}" for name, value in point.losses.items()})


def write_json(path: Path, content: Mapping[str, object]) -> None:
    """Write JSON with sorted keys, so that equal content is equal bytes."""
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
    """Write generator.pt, samples.png and metrics.json, and track them."""
    path = stage.out / "generator.pt"
    save_model(path, generator, blueprint)
    grid = image_grid(images_to_uint8(generator.eval()(grid_latents(stage))).numpy())
    save_png(stage.out / "samples.png", grid)
    run.log_image("result", grid)
    facts = {"parameters": parameter_count(generator), "size_bytes": path.stat().st_size} | dict(metrics)
    write_json(stage.out / "metrics.json", facts)
    run.log_metrics(facts)
    run.produces_model(path, family=stage.name, params=params, metrics=facts)


def parameter_count(module: nn.Module) -> int:
    """Number of weights and biases, as the papers count."""
    return sum(parameter.numel() for parameter in module.parameters())


def last_losses(curve: list[CurvePoint]) -> dict[str, float]:
    """Losses of the last curve point, named as such."""
    return {f"{name}_last": round(value, 6) for name, value in curve[-1].losses.items()}
