"""Distillation of conditional generators: the effect of each loss term, paired and unpaired; resuming; progress."""

import copy
from functools import partial

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from ganpress.config.translation_section import FeatureDistillation
from ganpress.data.prepared.arrays import ImageArray
from ganpress.data.prepared.pairs import PairArray, SourceArray
from ganpress.errors import ConfigError, DataError
from ganpress.training import translation_training as translation
from ganpress.training.distillation_step import DistillationSetup, DistillationStep, Student, in_turn, run_tapped
from ganpress.training.feature_distillation import distil_supernet, distil_translation
from ganpress.training.feature_matching import FeatureAdaptors
from ganpress.training.loop import Checkpointing, TrainingRun
from models.builders import elastic_blueprint
from models.discriminators import patch_discriminator
from models.family import Canvas
from models.resnet import resnet_generator
from models.spade import spade_generator

TAPS = ("down2", "blocks.2", "blocks.5", "blocks.8")
RUN, STUDENT, SUPERNET = (TrainingRun(1, label) for label in ("test", "student", "supernet"))
TERMS = ("lambda_adversarial", "lambda_recon", "lambda_distill", "lambda_feature_matching")


class Killed(BaseException):
    """Stands for a kill: not an Exception, so nothing tidies up after it."""


def config(**options):
    base = {
        "framework": "gan_compression",
        "train_images": 32,
        "batch_size": 4,
        "learning_rate": 1e-3,
        "discriminator_learning_rate": 1e-3,
        "beta1": 0.5,
        "objective": "hinge",
        "lambda_recon": 10,
        "lambda_distill": 1,
    }
    return FeatureDistillation(**(base | options))


def only(term, **options):
    return config(**({name: float(name == term) for name in TERMS} | options))


def pairs(pairing="paired", count=40, size=16):
    """Squares at random places: the source is the outline, the target the square."""
    random = np.random.default_rng(0)
    sources, targets = np.zeros((2, count, 1, size, size), np.uint8)
    for source, target in zip(sources, targets, strict=True):
        y, x = random.integers(0, size - 8, 2)
        target[0, y : y + 8, x : x + 8] = 255
        source[0, y : y + 8, x : x + 8] = 255
        source[0, y + 1 : y + 7, x + 1 : x + 7] = 0
    return PairArray(SourceArray(sources), ImageArray(targets, np.zeros(count, np.int64)), pairing)


def generator(ngf=2, seed=0, separable=True):
    torch.manual_seed(seed)
    return resnet_generator(f"ngf={ngf}", 1, 1, separable)


def discriminator(conditional=True, seed=0):
    torch.manual_seed(seed)
    return patch_discriminator(2 if conditional else 1, 4, 1, "instance")


def one_step(config, pairing="paired", student=None, teacher=None, taps=TAPS):
    """A step that is built and has not been taken."""
    student, teacher = student or generator(2), teacher or generator(3, 1, separable=False)
    inherited = discriminator(pairing != "unpaired")
    setup = DistillationSetup(teacher, inherited, pairs(pairing), config, taps)
    alone = Student("", partial(run_tapped, student))
    return DistillationStep(student, lambda _: [alone], alone, setup, RUN), setup, student


def bytes_of(*modules):
    return [parameter.detach().clone() for module in modules for parameter in module.parameters()]


def moved(before, *modules):
    return [not torch.equal(old, new) for old, new in zip(before, bytes_of(*modules), strict=True)]


# Feature matching.


def test_distill_is_zero_and_stays_so_when_the_student_is_the_teacher():
    teacher = generator(2)
    step, _, student = one_step(only("lambda_distill"), student=copy.deepcopy(teacher), teacher=teacher)
    step.state["adaptors"].start_as_identity_()
    before = bytes_of(student, step.state["adaptors"])
    for shown in range(0, 12, 4):
        assert step(shown)["distill"] == 0
    assert not any(moved(before, student, step.state["adaptors"]))


def test_distill_is_the_mean_squared_error_of_projected_features():
    adaptors = FeatureAdaptors(("a", "b"), (3, 4), (5, 6))
    student = {"a": torch.randn(2, 3, 4, 4), "b": torch.randn(2, 4, 2, 2)}
    teacher = {"a": torch.randn(2, 5, 4, 4), "b": torch.randn(2, 6, 2, 2)}
    wanted = sum(
        (conv(student[tap]) - teacher[tap]).square().mean() for tap, conv in zip("ab", adaptors.convs, strict=True)
    )
    assert torch.allclose(adaptors(student, teacher), wanted)


def test_adaptors_of_a_narrow_student_are_the_first_columns():
    adaptors = FeatureAdaptors(("a",), (4,), (5,))
    narrow, teacher = torch.randn(2, 2, 3, 3), torch.randn(2, 5, 3, 3)
    padded = torch.cat((narrow, torch.zeros(2, 2, 3, 3)), 1)
    assert torch.allclose(adaptors({"a": narrow}, {"a": teacher}), adaptors({"a": padded}, {"a": teacher}))


def test_features_of_another_size_are_refused():
    student, teacher = {"a": torch.zeros(1, 2, 4, 4)}, {"a": torch.zeros(1, 2, 8, 4)}
    with pytest.raises(ConfigError, match=r"tap 'a' are 4x4 in the student and 8x4 in the teacher; distil at layers"):
        FeatureAdaptors.between(student, teacher)


# Gradient flow.


@pytest.mark.parametrize("term", TERMS)
def test_each_term_reaches_the_student_and_never_the_teacher(term):
    step, setup, student = one_step(only(term))
    before = bytes_of(student)
    teachers, judges = bytes_of(setup.teacher), bytes_of(setup.discriminator)
    losses = step(0)
    assert any(moved(before, student))
    assert not any(moved(teachers, setup.teacher))
    reads_discriminator = term in ("lambda_adversarial", "lambda_feature_matching")
    assert any(moved(judges, setup.discriminator)) == reads_discriminator
    assert ("discriminator_loss" in losses) == reads_discriminator
    assert ("adaptors" in step.state) == (term == "lambda_distill")


def test_a_slowed_discriminator_learns_at_a_tenth_of_the_rate():
    rates = {}
    for way in ("inherited", "slowed", "fresh"):
        step, _, _ = one_step(only("lambda_adversarial", discriminator=way, decay_fraction=0.5))
        step(16)
        rates[way] = step.state["discriminator_optimizer"].param_groups[0]["lr"]
    assert rates["inherited"] == rates["fresh"]
    assert rates["slowed"] == pytest.approx(rates["inherited"] / 10)


def test_without_a_discriminator_its_terms_are_left_out():
    step, setup, _ = one_step(config(discriminator="none"))
    judges = bytes_of(setup.discriminator)
    assert set(step(0)) == {"recon", "distill"}
    assert not any(moved(judges, setup.discriminator))
    with pytest.raises(ValidationError, match="needs a discriminator, but discriminator is 'none': set it to 0"):
        config(discriminator="none", lambda_feature_matching=1)


def test_distill_trains_every_adaptor_and_nothing_behind_the_last_tap():
    step, _, student = one_step(only("lambda_distill"))
    before, adaptors = bytes_of(student.up1, student.up2, student.head), bytes_of(step.state["adaptors"])
    step(0)
    assert all(moved(adaptors, step.state["adaptors"]))
    assert not any(moved(before, student.up1, student.up2, student.head))


def test_the_generators_pass_leaves_no_gradient_in_the_discriminator():
    step, setup, student = one_step(only("lambda_adversarial"))
    batch = step._next_batch()
    images, features = run_tapped(student, batch.source, ())
    step.objective.total(step.objective.terms(batch, images, features)).backward()
    assert all(parameter.grad is None for parameter in setup.discriminator.parameters())
    assert any(parameter.grad is not None for parameter in student.parameters())


# Paired and unpaired.


@pytest.mark.parametrize("pairing", ["paired", "unpaired"])
def test_recon_compares_with_the_truth_or_with_the_teacher(pairing):
    step, setup, student = one_step(only("lambda_recon"), pairing)
    source, target = next(setup.data.random_batches(RUN.stream("training"), 4))
    wanted = target if pairing == "paired" else setup.teacher(source)
    recon = (student(source) - wanted).abs().mean()
    assert torch.allclose(step(0)["recon"], recon)


def test_l2_is_the_other_distance():
    step, setup, student = one_step(only("lambda_recon", distance="l2"))
    source, target = next(setup.data.random_batches(RUN.stream("training"), 4))
    recon = (student(source) - target).square().mean()
    assert torch.allclose(step(0)["recon"], recon)


def test_label_maps_and_batch_norm(monkeypatch):
    monkeypatch.setattr(translation, "CALIBRATION_IMAGES", 20)
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, (8, 1, 64, 64)).astype(np.uint8)
    targets = ImageArray(np.repeat(labels * 80, 3, 1), np.zeros(8, np.int64))
    data = PairArray(SourceArray(labels, classes=3), targets, "semantic")
    torch.manual_seed(0)
    student, teacher = (spade_generator(f"ngf={ngf} semantic=3 upsampling=normal", 3, True) for ngf in (1, 2))
    judge = patch_discriminator(6, 2, 1, "instance")
    short = config(train_images=4, batch_size=2, lambda_feature_matching=10)
    setup = DistillationSetup(teacher, judge, data, short, ("head_0", "middle_1", "up_1"))
    distilled = distil_translation(student, setup, STUDENT)
    norm = distilled.student.head_0.norm_0.norm
    assert norm.num_batches_tracked == 10  # measured anew on sources, not in the two steps of training
    assert set(distilled.curve[0].losses) == {
        *("recon", "distill", "adversarial", "feature_matching", "discriminator_loss")
    }


# Supernet.


def supernet(seed=0):
    torch.manual_seed(seed)
    return elastic_blueprint("mobile_resnet_9blocks", Canvas(1, 16, 16, 1), ((1, 2, 3),)).build()


def test_supernet_trains_ends_and_random_specs_with_one_set_of_adaptors():
    setup = DistillationSetup(generator(4, 1), discriminator(), pairs(), config(train_images=8), TAPS)
    _, curve = distil_supernet(supernet(), setup, SUPERNET, sandwich=True, random_specs=2)
    totals = {name for name in curve[-1].losses if name.startswith("total_")}
    assert totals == {"total_largest", "total_smallest", "total_random_0", "total_random_1"}


def test_student_of_a_supernet_is_trained_as_the_network_that_it_is():
    made = supernet()
    static, spec = made.extract(made.space.largest, {}).train(), made.space.largest
    of_supernet = Student("", lambda source, taps: made.run(source, spec, taps=taps))
    for model, student in ((static, Student("", partial(run_tapped, static))), (made, of_supernet)):
        setup = DistillationSetup(generator(3, 1), discriminator(), pairs(), config(), TAPS)
        step = DistillationStep(model, lambda _, student=student: [student], student, setup, RUN)
        for shown in range(0, 12, 4):
            step(shown)
    for one, other in zip(static.parameters(), made.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_fakes_of_all_students_take_turns():
    batches = [torch.full((3, 1), float(index)) for index in range(3)]
    assert in_turn(batches, 0).flatten().tolist() == [0, 1, 2]
    assert in_turn(batches, 4).flatten().tolist() == [1, 2, 0]
    assert in_turn([batch[:1] for batch in batches], 2).flatten().tolist() == [2]  # batches of one image, too


# Resume.


def run_student(pairing, dropout=0.0, data=None, **options):
    def run(checkpointing, on_samples):
        student = generator(2)
        for module in student.modules():
            if isinstance(module, nn.Dropout):
                module.p = dropout
        judge = discriminator(pairing != "unpaired")
        setting = config(ema_half_life_images=8, **options)
        setup = DistillationSetup(generator(3, 1), judge, data or pairs(pairing), setting, TAPS)
        distilled = distil_translation(student, setup, TrainingRun(1, "student", checkpointing, on_samples))
        return distilled.student, judge

    return run


def run_supernet(checkpointing, on_samples, data=None, **options):
    judge = discriminator()
    setup = DistillationSetup(generator(3, 1), judge, data or pairs(), config(**options), TAPS)
    made, _ = distil_supernet(supernet(), setup, TrainingRun(1, "supernet", checkpointing, on_samples), True, 1)
    return made, judge


RUNS = {
    "paired": run_student("paired"),
    "unpaired": run_student("unpaired"),
    "dropout": run_student("paired", 0.5),
    "bf16": run_student("unpaired", bf16=True),
    "supernet": run_supernet,
}


@pytest.mark.parametrize("name", RUNS)
def test_resuming_equals_not_stopping(name, tmp_path):
    def kill(point, _):
        if point.images >= 16:
            raise Killed

    whole = RUNS[name](None, None)
    checkpointing = Checkpointing(tmp_path / "checkpoint.pt", "identity", pause_seconds=0)
    with pytest.raises(Killed):
        RUNS[name](checkpointing, kill)
    torch.randn(5)  # the global generator must not matter
    resumed = RUNS[name](checkpointing, None)
    assert not any(moved(bytes_of(*whole), *resumed))


# Learning.


def test_student_learns_the_truth_and_the_teachers_features():
    torch.manual_seed(0)
    long = config(train_images=480, batch_size=8, lambda_adversarial=0.1, learning_rate=4e-3)
    setup = DistillationSetup(generator(4, 1), discriminator(), pairs(), long, TAPS)
    distilled = distil_translation(generator(3), setup, STUDENT)
    first, last = distilled.curve[0].losses, distilled.curve[-1].losses
    assert last["recon"] < 0.5 * first["recon"]
    assert last["distill"] < 0.7 * first["distill"]
    source, target = pairs().batch(torch.arange(40), torch.arange(40))
    with torch.no_grad():
        error = (distilled.student(source) - target).abs().mean()
        untrained = (generator(3)(source) - target).abs().mean()
    assert error < 0.5 * untrained


def first_step(memory_format=torch.contiguous_format, **options):
    short = config(train_images=4, **options)
    setup = DistillationSetup(generator(3, 1), discriminator(), pairs(), short, TAPS, memory_format)
    return distil_translation(generator(2), setup, STUDENT)


def test_bf16_moves_the_losses_a_little():
    exact, moved = first_step().curve[0].losses, first_step(bf16=True).curve[0].losses
    assert moved == pytest.approx(exact, rel=0.05)
    assert moved != exact


def test_another_memory_format_reaches_the_network_and_hardly_moves_the_losses():
    """Whether it moves them at all is the processor's choice of kernels."""
    exact, other = first_step(), first_step(memory_format=torch.channels_last)
    assert other.curve[0].losses == pytest.approx(exact.curve[0].losses, rel=0.05)
    weights = [one for one in other.student.parameters() if one.dim() == 4 and min(one.shape[1:]) > 1]
    assert weights
    assert all(one.is_contiguous(memory_format=torch.channels_last) for one in weights)


def test_bf16_is_for_training_only():
    setup = DistillationSetup(generator(3, 1), discriminator(), pairs(), config(bf16=True), TAPS)
    distilled = distil_translation(generator(2), setup, STUDENT)
    assert {tensor.dtype for tensor in distilled.student.state_dict().values()} == {torch.float32}
    assert distilled.student(torch.zeros(1, 1, 16, 16)).dtype == torch.float32


# Errors.


def distil(data=None, judge=None, taps=TAPS, **options):
    setup = DistillationSetup(generator(3), judge, data or pairs(), config(**options), taps)
    return distil_translation(generator(2), setup, STUDENT)


def test_tap_that_is_no_layer():
    with pytest.raises(ConfigError, match=r"taps of student: no layer 'middle' to tap .* layers: stem, down1"):
        distil(judge=discriminator(), taps=("down2", "middle"))


def test_teacher_without_discriminator_needs_no_adversarial_term():
    with pytest.raises(ConfigError, match=r"is 1 and .* without a discriminator .*: set discriminator to none"):
        distil()
    assert "adversarial" not in distil(discriminator="none", train_images=4).curve[0].losses


def test_feature_matching_needs_pairs():
    with pytest.raises(ConfigError, match=r"lambda_feature_matching is 10.* unpaired data has none: set it to 0"):
        distil(pairs("unpaired"), discriminator(False), lambda_feature_matching=10)


def test_no_weight_at_all():
    with pytest.raises(
        ConfigError, match=r"nothing to learn: .* lambda_distill is 0 or has no taps; set lambda_recon above 0"
    ):
        distil(lambda_adversarial=0, lambda_recon=0, lambda_distill=0)


def test_fewer_pairs_than_a_batch():
    with pytest.raises(DataError, match="3 sources are fewer than one batch of 4"):
        distil(pairs(count=3), discriminator())
