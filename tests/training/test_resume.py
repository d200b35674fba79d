"""Resuming gives the same result as not stopping, bit for bit, for every trainer."""

import numpy as np
import pytest
import torch

from ganpress.config.judge_section import JudgeConfig
from ganpress.config.training_section import DistillationTraining, GanTraining, JointTraining, SupernetConfig
from ganpress.data.prepared.arrays import ImageArray
from ganpress.errors import CheckpointError
from ganpress.training.distillation import JointTerm, train_student
from ganpress.training.gan import train_gan
from ganpress.training.judge_examples import labelled_examples
from ganpress.training.judge_training import train_judge
from ganpress.training.loop import Checkpointing, Training, TrainingRun
from ganpress.training.supernet_training import train_supernet
from models.builders import elastic_blueprint
from models.family import Canvas
from models.wdcgan import wdcgan_discriminator, wdcgan_generator

GAN = GanTraining(
    objective="gan",
    train_images=160,
    batch_size=8,
    generator_learning_rate=1e-3,
    discriminator_learning_rate=1e-3,
    beta1=0.5,
    discriminator_steps=1,
    ema_half_life_images=40,
)
JOINT = JointTraining(objective="gan", discriminator_learning_rate=1e-3, beta1=0.5)
DISTILLATION = DistillationTraining(
    train_images=160, batch_size=8, learning_rate=1e-3, beta1=0.5, ema_half_life_images=40
)


class Killed(BaseException):
    """Stands for a kill: not an Exception, so nothing tidies up after it."""


def kill_after(images):
    def on_samples(point, _generator):
        if point.images >= images:
            raise Killed

    return on_samples


@pytest.fixture
def images():
    pixels = np.random.default_rng(0).integers(0, 256, (64, 1, 16, 16), dtype=np.uint8)
    return ImageArray(pixels, np.arange(64, dtype=np.int64) % 3)


def build(builder, *arguments):
    torch.manual_seed(0)
    return builder(*arguments)


def gan(images, config=GAN):
    def run(checkpointing, on_samples):
        generator = build(wdcgan_generator, "2", 16, 1)
        discriminator = build(wdcgan_discriminator, 2, 16, 1, config.gradient_penalty is None)
        return train_gan(
            generator, discriminator, images, config, TrainingRun(1, "gan", checkpointing, on_samples)
        ).generator

    return run


def wgan_config(**options):
    return GAN.model_copy(update={"objective": "wgan", "discriminator_steps": 2, **options})


def student(images, joint, config=DISTILLATION, gradient_ratio=None):
    def run(checkpointing, on_samples):
        discriminator = build(wdcgan_discriminator, 2, 16, 1, True)
        term = JointTerm(discriminator, images, JOINT, 0.01, gradient_ratio) if joint else None
        made, teacher = build(wdcgan_generator, "2", 16, 1), build(wdcgan_generator, "3", 16, 1)
        return train_student(made, teacher, config, TrainingRun(1, "student", checkpointing, on_samples), term).student

    return run


def elastic():
    return elastic_blueprint("wdcgan", Canvas(1, 16, 16), ((2, 3),)).build()


def supernet(images, training=DISTILLATION):
    config = SupernetConfig(widths=((2, 3),), sandwich=True, random_specs=1, training=training)

    def run(checkpointing, on_samples):
        made, teacher = build(elastic), build(wdcgan_generator, "3", 16, 1)
        return train_supernet(made, teacher, config, TrainingRun(1, "supernet", checkpointing, on_samples))[0]

    return run


TRAINERS = {
    "gan": gan,
    "wgan-clip": lambda images: gan(images, wgan_config(weight_clip=0.05)),
    "wgan-gp": lambda images: gan(images, wgan_config(gradient_penalty=10.0)),
    "r3gan": lambda images: gan(images, wgan_config(objective="r3gan", gradient_penalty=1.0)),
    "gan-augmented": lambda images: gan(images, GAN.model_copy(update={"augment": "diffaugment"})),
    "gan-bf16": lambda images: gan(images, GAN.model_copy(update={"bf16": True})),
    "student-mse": lambda images: student(images, joint=False),
    "student-kept": lambda images: student(images, False, DISTILLATION.model_copy(update={"teacher_images": 50})),
    "student-joint": lambda images: student(images, joint=True),
    "student-balanced": lambda images: student(images, joint=True, gradient_ratio=0.5),
    "supernet": supernet,
}


@pytest.mark.parametrize("name", TRAINERS)
def test_resuming_equals_not_stopping(name, images, tmp_path):
    train = TRAINERS[name](images)
    whole = train(None, None).state_dict()
    checkpointing = Checkpointing(tmp_path / "checkpoint.pt", "identity", pause_seconds=0)
    with pytest.raises(Killed):
        train(checkpointing, kill_after(72))
    torch.randn(5)  # the global generator must not matter
    seen = []
    resumed = train(checkpointing, lambda point, _: seen.append(point.images)).state_dict()
    assert min(seen) > 72
    for key, value in whole.items():
        assert torch.equal(value, resumed[key]), key


def test_judge_resumes_too(images, tmp_path, monkeypatch):
    config = JudgeConfig(
        kind="classifier", width=4, features=8, train_images=160, batch_size=8, learning_rate=1e-3, min_accuracy=0
    )
    examples = labelled_examples(config, images, images, images)
    whole = train_judge(*examples, config, TrainingRun(1, "judge")).judge.state_dict()
    checkpointing = Checkpointing(tmp_path / "judge.safetensors", "identity", pause_seconds=0)
    draw, drawn = ImageArray.batch, []

    def killed_at_the_tenth_step(array, indices):
        drawn.append(len(indices))
        if len(drawn) == 10:
            raise Killed
        return draw(array, indices)

    monkeypatch.setattr(ImageArray, "batch", killed_at_the_tenth_step)
    with pytest.raises(Killed):
        train_judge(*examples, config, TrainingRun(1, "judge", checkpointing))
    monkeypatch.undo()
    assert checkpointing.path.exists()
    resumed = train_judge(*examples, config, TrainingRun(1, "judge", checkpointing))
    assert resumed.curve[0].images == 8  # the points before the kill are still there
    for key, value in whole.items():
        assert torch.equal(value, resumed.judge.state_dict()[key]), key


def test_same_seed_same_bytes_other_seed_other_bytes(images):
    def weights(seed):
        generator, discriminator = build(wdcgan_generator, "2", 16, 1), build(wdcgan_discriminator, 2, 16, 1, True)
        return train_gan(generator, discriminator, images, GAN, TrainingRun(seed, "gan")).generator.head.weight

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_checkpoint_of_something_else_is_refused(images, tmp_path):
    train = gan(images)
    train(Checkpointing(tmp_path / "checkpoint.pt", "one", pause_seconds=0), None)
    with pytest.raises(CheckpointError, match="checkpoint of another training; delete it to start anew"):
        train(Checkpointing(tmp_path / "checkpoint.pt", "two"), None)


@pytest.mark.parametrize("damage", [lambda whole: b"", lambda whole: whole[:1000], lambda whole: bytes(len(whole))])
def test_a_checkpoint_that_cannot_be_read_is_put_aside_and_the_training_starts_anew(images, tmp_path, caplog, damage):
    path = tmp_path / "checkpoint.pt"
    whole = gan(images)(Checkpointing(path, "one", pause_seconds=0), None)
    path.write_bytes(damage(path.read_bytes()))
    again = gan(images)(Checkpointing(path, "one", pause_seconds=0), None)
    assert (tmp_path / "checkpoint.pt.damaged").exists()
    assert "it was put aside as checkpoint.pt.damaged, and the training starts anew" in caplog.text
    for one, other in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("images", [-(2**63), -1, 0, 10**9, None, "4", 2.5, True])
@pytest.mark.parametrize("field", ["images_shown", "curve"])
def test_a_checkpoint_of_an_impossible_length_is_refused(tmp_path, field, images):
    """Found by the fuzzer: a negative number trained without end, a large one not at all."""
    layer = torch.nn.Linear(1, 1)
    training = Training("x", lambda _: {}, {"layer": layer}, 4, 4, Checkpointing(tmp_path / "c.pt", "x"))
    content = {
        "identity": "x",
        "images_shown": 4,
        "curve": [[4, {"loss": 0.5}]],
        "state": {"layer": layer.state_dict()},
    }
    content[field] = images if field == "images_shown" else [[images, {"loss": 0.5}]]
    torch.save(content, tmp_path / "c.pt")
    with pytest.raises(CheckpointError, match="does not hold the state of this training; delete it to start anew"):
        training.run()
