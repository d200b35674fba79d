"""Reading the next batch while a step runs changes no random draw."""

import itertools
import sys
import threading
from pathlib import Path

import pytest
import torch

from ganpress.data.prepared.arrays import ImageArray
from ganpress.data.prepared.read_ahead import Ahead
from ganpress.training import distillation, distillation_step, gan, translation_training

sys.path.append(str(Path(__file__).parent))

from rank_trainings import IMAGES, TRAINERS, drawn


@pytest.mark.parametrize(
    "name",
    ["gan", "gan-augmented", "wgan-gp", "student-joint", "pix2pix", "cyclegan", "distil-paired", "distil-supernet"],
)
def test_a_training_reads_ahead_and_is_the_same(name, monkeypatch):
    trainer = TRAINERS[name]
    whole = drawn(trainer.train(None, None), trainer.inputs)
    for module in (distillation, distillation_step, gan, translation_training):
        monkeypatch.setattr(module, "ahead_for", lambda _, rest: Ahead(rest, pinned=False))
    read, readers = ImageArray.batch, []

    def noted(self, indices):
        readers.append(threading.current_thread() is threading.main_thread())
        return read(self, indices)

    monkeypatch.setattr(ImageArray, "batch", noted)
    assert torch.equal(drawn(trainer.train(None, None), trainer.inputs), whole)
    assert readers.count(True) == 1  # the first one; all others were guessed rightly
    assert len(readers) >= 6


def test_a_wrong_guess_changes_no_batch():
    plain, ahead = (torch.Generator().manual_seed(3) for _ in range(2))
    wrong = Ahead(lambda stream: torch.rand(1, generator=stream), pinned=False)
    both = IMAGES.random_batches(plain, 8), IMAGES.random_batches(ahead, 8, ahead=wrong)
    for _ in range(4):
        one, other = map(next, both)
        assert torch.equal(one, other)
    assert torch.equal(plain.get_state(), ahead.get_state())


def test_an_error_of_the_reader_reaches_the_training(monkeypatch):
    reads = itertools.count()
    monkeypatch.setattr(ImageArray, "batch", lambda self, indices: 1 / (1 - next(reads)))
    batches = IMAGES.random_batches(torch.Generator().manual_seed(0), 8, ahead=Ahead(lambda _: None, pinned=False))
    assert next(batches) == 1
    with pytest.raises(ZeroDivisionError):
        next(batches)
