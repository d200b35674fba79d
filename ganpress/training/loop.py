"""The resumable training loop that all trainers share: counts images, averages losses, checkpoints, shows progress."""

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ganpress.basics.device import allow_tf32
from ganpress.basics.progress import ticker
from ganpress.basics.ranks import averaged, everyones, rank
from ganpress.basics.seeding import torch_generator
from ganpress.basics.whole_files import put_aside
from ganpress.errors import CheckpointError, TrainingDiverged
from ganpress.files.checkpoint import load_weights_only, save_atomically
from ganpress.files.plain_values import fit
from ganpress.training.data_parallel import shared_step

logger = logging.getLogger(__name__)

Losses = Mapping[str, Tensor]
"""Name of a loss term -> detached scalar."""


class Stateful(Protocol):
    """Anything that a checkpoint can hold: a module, an optimizer, a weight average, a random stream."""

    def state_dict(self) -> Any: ...

    def load_state_dict(self, state: Any, /) -> Any: ...


class RandomStream:
    """A `torch.Generator` whose position is part of the checkpoint."""

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator

    def state_dict(self) -> dict[str, Tensor]:
        return {"state": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.generator.set_state(state["state"])


class OfEachRank:
    """A part of a training that each rank has for itself; the checkpoint holds all of them, by rank."""

    def __init__(self, part: Stateful) -> None:
        self._part = part

    def state_dict(self) -> list[Any]:
        return everyones(self._part.state_dict())

    def load_state_dict(self, states: list[Any]) -> None:
        self._part.load_state_dict(states[rank()])


@dataclass(frozen=True)
class Checkpointing:
    """Where a training stores its state, and the digest that identifies the training."""

    path: Path
    identity: str
    """Digest of everything that decides the result; a checkpoint of another identity is refused."""
    pause_seconds: float = 1.0
    """Least time between two checkpoints, so that short trainings are not all checkpoint."""

    def forget(self) -> None:
        """Remove the checkpoint, once the result is in other files; rank 0 writes these."""
        if rank() == 0:
            self.path.unlink(missing_ok=True)


@dataclass(frozen=True)
class CurvePoint:
    """Losses averaged over the steps since the last point."""

    images: int
    losses: dict[str, float]


class Length(Protocol):
    """Settings that the section of every training has."""

    @property
    def train_images(self) -> int: ...

    @property
    def batch_size(self) -> int: ...

    @property
    def tf32(self) -> bool: ...


OnSamples = Callable[[CurvePoint, nn.Module], None]
"""Shown the curve point and the training generator; must leave the generator's mode and weights as they are."""


@dataclass(frozen=True)
class TrainingRun:
    """Settings of a trainer's run: the source of random draws, its name, and where its state is stored."""

    seed: int
    label: str
    """Names the training in progress, curve and random streams."""
    checkpointing: Checkpointing | None = None
    """Settings of saving and resuming; None does neither."""
    on_samples: OnSamples | None = None
    """Shown each curve point with the network in training."""

    def stream(self, *purpose: str | int) -> torch.Generator:
        """Return the random stream of one purpose, e.g. "training"; it depends on the seed and the label alone."""
        return torch_generator(self.seed, self.label, *purpose)

    def train(
        self,
        network: nn.Module,
        step: Callable[[int], Losses],
        state: Mapping[str, Stateful],
        config: Length,
        images_per_step: int | None = None,
    ) -> list[CurvePoint]:
        """Repeat `step` until all images are shown, from the checkpoint where there is one; return the loss curve.

        Ranks take the steps together: each on its rows of the batch, all to the same weights.

        Args:
            network: what `on_samples` is shown.
            step: as `Training.step`.
            state: all that a step changes.
            config: length of the training, and whether it may multiply in TF32.
            images_per_step: images that a step shows; None: one batch.

        Raises:
            TrainingDiverged, CheckpointError: as `Training.run`.
        """
        on_samples = self.on_samples
        on_point = None if on_samples is None else lambda point: on_samples(point, network)
        shown = images_per_step or config.batch_size
        shared = shared_step(step, state.values())
        training = Training(self.label, shared, state, config.train_images, shown, self.checkpointing, on_point)
        allow_tf32(config.tf32)
        try:
            return training.run()
        finally:
            allow_tf32(False)


@dataclass
class Training:
    """One training: what one step does, what its state is, how long it goes on.

    `step(images_shown)` does one optimizer cycle and returns its losses; it shows `images_per_step` images.
    """

    label: str
    step: Callable[[int], Losses]
    state: Mapping[str, Stateful]
    total_images: int
    images_per_step: int
    checkpointing: Checkpointing | None = None
    on_point: Callable[[CurvePoint], None] | None = None
    """Called by rank 0 at every curve point; must not draw from the training's random streams."""
    points: int = 40
    """Curve points, and occasions for a checkpoint, over the whole length: a kill costs about 1/40 of it."""
    curve: list[CurvePoint] = field(default_factory=list)
    images_shown: int = 0
    _saved_at: float = -math.inf

    def run(self) -> list[CurvePoint]:
        """Train to the end, from the checkpoint where there is one.

        Raises:
            TrainingDiverged: if a loss is not finite; names the term, the images shown and the last good checkpoint.
            CheckpointError: if the checkpoint belongs to something else; one that cannot be read is put aside.
        """
        self._resume()
        interval = max(self.total_images // self.points, self.images_per_step)
        sums: dict[str, Tensor] = {}
        steps = 0
        with ticker(self.label, self.total_images, "images", done=self.images_shown) as progress:
            while self.images_shown < self.total_images:
                losses = self.step(self.images_shown)
                for name, value in losses.items():
                    sums[name] = sums[name] + value if name in sums else value
                steps += 1
                self.images_shown += self.images_per_step
                ended = self.images_shown >= self.total_images
                if ended or self.images_shown // interval > (self.images_shown - self.images_per_step) // interval:
                    self._mark(averaged({name: float(total) / steps for name, total in sums.items()}))
                    sums, steps = {}, 0
                progress.advance(self.images_per_step, self._note())
        return self.curve

    def _mark(self, losses: dict[str, float]) -> None:
        for name, value in losses.items():
            if not math.isfinite(value):
                raise TrainingDiverged(self._explain_divergence(name, value))
        self.curve.append(CurvePoint(self.images_shown, losses))
        if self.checkpointing is not None and self._is_time(self.checkpointing):
            content = self._content(self.checkpointing)  # of all ranks
            if rank() == 0:
                save_atomically(self.checkpointing.path, content)
            self._saved_at = time.monotonic()
        if self.on_point is not None and rank() == 0:
            self.on_point(self.curve[-1])

    def _is_time(self, checkpointing: Checkpointing) -> bool:
        """Whether a checkpoint is due by the clock of rank 0."""
        due: bool = everyones(time.monotonic() - self._saved_at >= checkpointing.pause_seconds)[0]
        return due

    def _explain_divergence(self, name: str, value: float) -> str:
        good = self.curve[-1].images if self.curve else 0
        where = f"; last good checkpoint: {self.checkpointing.path}" if self.checkpointing and self.curve else ""
        return (
            f"{self.label}: {name} became {value} between {good:,} and {self.images_shown:,} images; "
            f"lower the learning rate or change the objective{where}"
        )

    def _content(self, checkpointing: Checkpointing) -> dict[str, Any]:
        return {
            "identity": checkpointing.identity,
            "images_shown": self.images_shown,
            "curve": [[point.images, point.losses] for point in self.curve],
            "state": {name: part.state_dict() for name, part in self.state.items()},
        }

    def _resume(self) -> None:
        if self.checkpointing is None:
            return
        self._read_checkpoint(self.checkpointing)
        if len(set(everyones(self.images_shown))) > 1:
            raise CheckpointError(
                f"{self.checkpointing.path} was read by some ranks only; run again when nothing else changes it"
            )

    def _read_checkpoint(self, checkpointing: Checkpointing) -> None:
        if not checkpointing.path.exists():
            return
        try:
            content = load_weights_only(checkpointing.path)
        except CheckpointError as error:  # empty, cut off or noise: nothing of the training can be saved
            everyones(None)  # have read it
            if rank() == 0:
                place = put_aside(checkpointing.path)
                logger.warning(
                    "%s: %s; it was put aside as %s, and the training starts anew", self.label, error, place.name
                )
            return
        if not isinstance(content, dict) or content.get("identity") != checkpointing.identity:
            raise CheckpointError(
                f"{checkpointing.path} is the checkpoint of another training; delete it to start anew"
            )
        try:
            for name, part in self.state.items():
                part.load_state_dict(content["state"][name])
            points = fit(content["curve"], list[tuple[int, dict[str, float]]], "curve")
            self.images_shown = points[-1][0]
            if self.images_shown != content["images_shown"] or not self._is_possible(self.images_shown):
                raise ValueError("a length that this training never has")
        except Exception:  # modules, optimizers and random streams each raise types of their own
            raise CheckpointError(
                f"{checkpointing.path} does not hold the state of this training; delete it to start anew"
            ) from None
        self.curve = [CurvePoint(images, losses) for images, losses in points]

    def _is_possible(self, images: int) -> bool:
        return 0 < images <= self.total_images + self.images_per_step

    def _note(self) -> str:
        if not self.curve:
            return ""
        return "  ".join(f"{name} {value:.4g}" for name, value in self.curve[-1].losses.items())
