"""Training of the judge: a small classifier of the data set, the feature network where Inception is unfit.

Recipe of docs/metrics.md: cross-entropy with light shifts, temperature calibrated on held-out data so that its class
probabilities mean what they say.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn, optim
from torch.nn import functional

from ganpress.config.judge import JudgeConfig
from ganpress.data.arrays import ImageArray
from ganpress.errors import DataError, QualityGateFailed
from ganpress.seeding import seeded_initialisation, torch_generator
from ganpress.training.loop import Checkpointing, CurvePoint, Losses, RandomStream, Stateful, Training
from ganpress.training.schedule import CosineSchedule
from models.judge import Classifier, classifier

MAX_SHIFT = 0.06
"""Augmentation: random shift up to this share of the image size."""


@dataclass(frozen=True)
class TrainedJudge:
    """The outcome: calibrated classifier in eval mode, its test accuracy and the loss curve."""

    judge: Classifier
    accuracy_test: float
    curve: list[CurvePoint]


def train_judge(
    train: ImageArray,
    validation: ImageArray,
    test: ImageArray,
    config: JudgeConfig,
    seed: int,
    checkpointing: Checkpointing | None = None,
) -> TrainedJudge:
    """Train a classifier on `train`, calibrate it on `validation`, gate it on `test`.

    Raises:
        DataError: if the data set has fewer than two classes.
        QualityGateFailed: if the test accuracy is below `config.min_accuracy`.
        TrainingDiverged: if the loss is not finite.
    """
    classes = int(train.labels.max()) + 1
    if classes < 2:
        raise DataError(
            "a classifier judge needs at least 2 classes; set judge.kind to 'inception' for unlabelled data"
        )
    random = torch_generator(seed, "judge", "training")
    with seeded_initialisation(seed, "judge"):
        network = classifier(train.channels, classes, config.width, config.features)
    network.train()
    optimizer = optim.Adam(network.parameters(), config.learning_rate, weight_decay=1e-4)
    schedule = CosineSchedule(optimizer, config.learning_rate, config.train_images)
    labels = torch.from_numpy(train.labels)

    def step(images_shown: int) -> Losses:
        schedule.set(images_shown)
        indices = torch.randint(len(train), (config.batch_size,), generator=random)
        _, logits = network(shifted(train.batch(indices), random))
        loss = functional.cross_entropy(logits, labels[indices])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return {"cross_entropy": loss.detach()}

    state: dict[str, Stateful] = {"network": network, "optimizer": optimizer, "random": RandomStream(random)}
    training = Training("judge", step, state, config.train_images, config.batch_size, checkpointing)
    curve = training.run()
    network.eval()
    network.temperature.fill_(_best_temperature(*_logits_of(network, validation)))
    accuracy_test = _accuracy(*_logits_of(network, test))
    if accuracy_test < config.min_accuracy:
        raise QualityGateFailed(
            f"the judge reaches {accuracy_test:.3f} test accuracy, judge.min_accuracy asks for "
            f"{config.min_accuracy}; raise judge.train_images or judge.width, or lower the gate knowingly"
        )
    return TrainedJudge(network, accuracy_test, curve)


def shifted(images: Tensor, random: torch.Generator) -> Tensor:
    """Shift each image (N, C, H, W) by up to `MAX_SHIFT` of its size, repeating the border."""
    shift = (torch.rand((len(images), 2), generator=random) * 2 - 1) * 2 * MAX_SHIFT
    theta = torch.zeros((len(images), 2, 3))
    theta[:, 0, 0] = theta[:, 1, 1] = 1
    theta[:, :, 2] = shift
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


@torch.no_grad()
def _logits_of(network: nn.Module, images: ImageArray, batch_size: int = 500) -> tuple[Tensor, Tensor]:
    """Logits (N, K) and labels (N,) of a whole split, batch by batch."""
    parts = [network(images.batch(indices))[1] for indices in torch.split(torch.arange(len(images)), batch_size)]
    return torch.cat(parts), torch.from_numpy(images.labels[:])


def _accuracy(logits: Tensor, labels: Tensor) -> float:
    return float((logits.argmax(1) == labels).float().mean())


def _best_temperature(logits: Tensor, labels: Tensor) -> float:
    """The temperature with the least held-out cross-entropy, of 0.25 … 8 (Guo et al. 2017)."""
    candidates = torch.logspace(-2, 3, 81, base=2)
    losses = torch.stack([functional.cross_entropy(logits / temperature, labels) for temperature in candidates])
    return float(candidates[losses.argmin()])
