"""Training of the judge: a small network of the data set, the feature network where Inception is unfit.

Recipe of docs/metrics.md: cross-entropy with light shifts; the temperature of a classifier calibrated on held-out data,
so that its class probabilities mean what they say.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn, optim
from torch.nn import functional

from ganpress.basics.device import CPU, device_of, moved
from ganpress.basics.seeding import seeded_initialisation
from ganpress.config.judge_section import JudgeConfig
from ganpress.errors import QualityGateFailed
from ganpress.metrics.judges.segmentation import IGNORED
from ganpress.training.judge_examples import Examples, LabelledImages
from ganpress.training.loop import CurvePoint, Losses, RandomStream, Stateful, Training, TrainingRun
from ganpress.training.schedule import CosineSchedule
from models.builders import Blueprint

MAX_SHIFT = 0.06
"""Augmentation: random shift up to this share of the image size."""


@dataclass(frozen=True)
class TrainedJudge:
    """The outcome: judge network in eval mode, what it is, its accuracy on the test split and the loss curve."""

    judge: nn.Module
    blueprint: Blueprint
    accuracy_test: float
    """Share of right answers; of right pixels for a segmenter."""
    curve: list[CurvePoint]


def train_judge(
    train: Examples,
    validation: Examples,
    test: Examples,
    config: JudgeConfig,
    run: TrainingRun,
    device: torch.device = CPU,
) -> TrainedJudge:
    """Train a judge on `train`, calibrate a classifier on `validation`, gate it on `test`.

    Raises:
        QualityGateFailed: if the accuracy on `test` is below `config.min_accuracy`.
        TrainingDiverged: if the loss is not finite.
    """
    blueprint = Blueprint(
        train.builder,
        {
            "channels": train.channels,
            "classes": train.classes,
            "width": config.width,
            "features": config.features,
        },
    )
    random = run.stream("training")
    with seeded_initialisation(run.seed, run.label):
        network = blueprint.build()
    network.train().to(device)
    optimizer = optim.Adam(network.parameters(), config.learning_rate, weight_decay=1e-4)
    schedule = CosineSchedule(optimizer, config.learning_rate, config.train_images)

    def step(images_shown: int) -> Losses:
        schedule.set(images_shown)
        images, answers = (moved(one, device) for one in train.draw(config.batch_size, random))
        images, answers = shifted_pairs(images, answers, random)
        _, logits = network(images)
        loss = functional.cross_entropy(logits, answers, ignore_index=IGNORED)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return {"cross_entropy": loss.detach()}

    state: dict[str, Stateful] = {"network": network, "optimizer": optimizer, "random": RandomStream(random)}
    training = Training(run.label, step, state, config.train_images, config.batch_size, run.checkpointing)
    curve = training.run()
    network.eval()
    if isinstance(validation, LabelledImages):
        _calibrate_(network, validation)
    accuracy = _accuracy(network, test)
    _gate(accuracy, config)
    return TrainedJudge(network, blueprint, accuracy, curve)


def shifted_pairs(
    images: Float[Tensor, "n c h w"], answers: Int64[Tensor, " n *map"], random: torch.Generator
) -> tuple[Float[Tensor, "n c h w"], Int64[Tensor, " n *map"]]:
    """Shift each image by up to `MAX_SHIFT` of its size, repeating the border.

    Answers are returned as they are, unless they are label maps, which move with their images.
    """
    grid = _shifts(images, random)
    if answers.dim() == 3:
        maps = answers[:, None].to(images.dtype)
        moved = functional.grid_sample(maps, grid, mode="nearest", padding_mode="border", align_corners=False)
        answers = moved[:, 0].long()
    return functional.grid_sample(images, grid, padding_mode="border", align_corners=False), answers


def _shifts(images: Float[Tensor, "n c h w"], random: torch.Generator) -> Float[Tensor, "n h w 2"]:
    shift = (torch.rand((len(images), 2), generator=random) * 2 - 1) * 2 * MAX_SHIFT
    theta = torch.zeros((len(images), 2, 3))
    theta[:, 0, 0] = theta[:, 1, 1] = 1
    theta[:, :, 2] = shift
    return functional.affine_grid(moved(theta, images.device), list(images.shape), align_corners=False)


@torch.no_grad()
def _calibrate_(network: nn.Module, validation: LabelledImages) -> None:
    """Set the network's temperature to the one with the least held-out cross-entropy (Guo et al. 2017)."""
    device = device_of(network)
    seen = [(network(images.to(device))[1].cpu(), labels) for images, labels in validation.once()]
    logits, labels = (torch.cat(parts) for parts in zip(*seen, strict=True))
    network.get_buffer("temperature").fill_(_best_temperature(logits, labels))


@torch.no_grad()
def _accuracy(network: nn.Module, test: Examples) -> float:
    """Share of right answers; of right pixels where answers are label maps, the ignored ones left out."""
    right = counted = 0
    device = device_of(network)
    for images, answers in test.once():
        known = answers != IGNORED
        right += int(((network(images.to(device))[1].argmax(1).cpu() == answers) & known).sum())
        counted += int(known.sum())
    return right / counted


def _gate(accuracy: float, config: JudgeConfig) -> None:
    if accuracy < config.min_accuracy:
        raise QualityGateFailed(
            f"the judge reaches {accuracy:.3f} test accuracy, judge.min_accuracy asks for "
            f"{config.min_accuracy}; raise judge.train_images or judge.width, or lower the gate knowingly"
        )


def _best_temperature(logits: Float[Tensor, "n k"], labels: Int64[Tensor, " n"]) -> float:
    """The temperature with the least held-out cross-entropy, of 0.25 … 8."""
    candidates = torch.logspace(-2, 3, 81, base=2)
    losses = torch.stack([functional.cross_entropy(logits / temperature, labels) for temperature in candidates])
    return float(candidates[losses.argmin()])
