"""Training data of a student: the teacher's images of given inputs, new for every step or generated once."""

import torch
from jaxtyping import Float, Float16, Float32, Int64
from torch import Tensor, nn

from ganpress.basics.device import device_of, moved
from ganpress.basics.progress import ticker
from ganpress.basics.ranks import own_rows
from ganpress.config.training_section import DistillationTraining
from ganpress.data.prepared.generator_inputs import LatentInputs, TrainingInputs
from ganpress.training.arithmetic import autocast
from ganpress.training.drawn_pairs import Pairs
from ganpress.training.loop import TrainingRun
from models.family import latent_of


class TeacherImages:
    """Inputs, mostly latents, and the teacher's images of them, batch by batch.

    With `config.teacher_images` that many are drawn at the start, kept in float16 (a quarter of a grey level) and shown
    again and again in random order, so that a teacher of many thousand times the student's work runs once an image
    instead of once a step. Otherwise every batch is fresh.

    Args:
        teacher: inputs (N, …) -> images (N, C, H, W), changed to eval mode, without gradients; or what it has drawn.
        config: batch size, precision, and how many images are kept.
        run: whose seed and label the kept inputs depend on, so that a resumed training sees the same.
        random: the training's own stream, which fresh inputs and the order are drawn from.
        inputs: where inputs come from; None: latents of the teacher's length.
    """

    def __init__(
        self,
        teacher: nn.Module | Pairs,
        config: DistillationTraining,
        run: TrainingRun,
        random: torch.Generator,
        inputs: TrainingInputs | None = None,
    ) -> None:
        self._config, self._random = config, random
        self._kept: tuple[Tensor, Tensor] | None = None
        if isinstance(teacher, Pairs):
            self._kept, self._device = (teacher.inputs, teacher.images), teacher.inputs.device
            return
        self._teacher = teacher.eval().requires_grad_(False).to(memory_format=torch.channels_last)
        self._inputs, self._device = inputs or LatentInputs(latent_of(teacher)), device_of(teacher)
        if config.teacher_images is not None:
            self._kept = self._draw_all(config.teacher_images, run)

    def next_batch(self) -> tuple[Float[Tensor, "n ..."], Float32[Tensor, "n c h w"]]:
        """This rank's inputs and the teacher's images, on the teacher's device."""
        drawn = self.draw(self._random)[own_rows(self._config.batch_size)]
        if self._kept is None:
            z = moved(drawn, self._device)
            return z, self._images(z)
        (inputs, images), chosen = self._kept, drawn
        kept = moved(images[chosen], self._device, torch.channels_last)
        return moved(inputs[chosen], self._device), kept.float()

    def draw(self, stream: torch.Generator) -> Float[Tensor, "n ..."] | Int64[Tensor, " n"]:
        """Draw a whole batch: inputs, or which of the kept ones."""
        count = self._config.batch_size
        if self._kept is None:
            return self._inputs.random(stream, count)
        return torch.randint(len(self._kept[0]), (count,), generator=stream)

    @torch.no_grad()
    def _images(self, z: Float[Tensor, "n ..."]) -> Float32[Tensor, "n c h w"]:
        with autocast(self._config, z.device):
            images: Tensor = self._teacher(z)
        return images.float()

    def _draw_all(self, count: int, run: TrainingRun) -> tuple[Float[Tensor, "n ..."], Float16[Tensor, "n c h w"]]:
        inputs = self._inputs.random(run.stream("teacher images"), count)
        images = []
        with ticker(f"{run.label}, teacher", count, "images") as progress:
            for z in inputs.split(self._config.batch_size):
                images.append(self._images(z.to(self._device)).half().cpu())
                progress.advance(len(z))
        return inputs, torch.cat(images)
