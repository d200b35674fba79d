"""The sources of a student's training batches, and what the precision does not change."""

import pytest
import torch

from ganpress.config.training_section import DistillationTraining
from ganpress.training.distillation import train_student
from ganpress.training.loop import TrainingRun
from ganpress.training.teacher_images import TeacherImages
from models.wdcgan import wdcgan_generator

SETTINGS = {"train_images": 320, "batch_size": 8, "learning_rate": 1e-3, "beta1": 0.5, "ema_half_life_images": 40}


class Counting(torch.nn.Module):
    """A teacher that counts the images it draws."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.inner, self.drawn = wdcgan_generator("2", 16, 1), 0

    def forward(self, z):
        self.drawn += len(z)
        return self.inner(z)


RUN = TrainingRun(1, "student")


def lessons(**options):
    teacher = Counting()
    config = DistillationTraining(**SETTINGS, **options)
    return teacher, TeacherImages(teacher, config, RUN, RUN.stream("training"))


def test_kept_images_are_drawn_once_and_belong_to_their_latents():
    teacher, source = lessons(teacher_images=20)
    assert teacher.drawn == 20
    seen = set()
    for _ in range(30):
        z, images = source.next_batch()
        assert torch.allclose(images, teacher.inner(z), atol=2**-10)  # float16 between -1 and 1
        seen |= {tuple(row.tolist()) for row in z[:, :3]}
    assert teacher.drawn == 20
    assert len(seen) == 20  # 240 draws of 20: all shown but for a chance of 1 in 10,000


def test_fresh_images_never_come_twice():
    teacher, source = lessons()
    latents = torch.cat([source.next_batch()[0] for _ in range(5)])
    assert teacher.drawn == 40
    assert len(latents.unique(dim=0)) == 40


@pytest.mark.parametrize("kept", [None, 64])
def test_bf16_moves_the_losses_a_little_and_leaves_weights_float32(kept):
    def run(bf16):
        torch.manual_seed(0)
        config = DistillationTraining(**SETTINGS, teacher_images=kept, bf16=bf16)
        return train_student(wdcgan_generator("2", 16, 1), Counting().inner, config, RUN)

    exact, rounded = run(False), run(True)
    assert rounded.curve[-1].losses["mse"] == pytest.approx(exact.curve[-1].losses["mse"], rel=0.1)
    assert rounded.curve[-1].losses != exact.curve[-1].losses
    assert {tensor.dtype for tensor in rounded.student.parameters()} == {torch.float32}
