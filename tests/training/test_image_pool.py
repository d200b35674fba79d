"""The history of generated images: which images it returns, how often, and the state in a checkpoint."""

import pytest
import torch

from ganpress.training.image_pool import ImagePool


def numbered(first, count):
    """Images (count, 1, 1, 1) that carry their number."""
    return torch.arange(first, first + count, dtype=torch.float32).view(-1, 1, 1, 1)


def pool_of(capacity, seed=0):
    return ImagePool(capacity, torch.Generator().manual_seed(seed))


def test_a_filling_pool_returns_what_comes():
    pool = pool_of(10)
    for first in (0, 5):
        assert torch.equal(pool.exchange(numbered(first, 5)), numbered(first, 5))
    assert len(pool) == 10


def test_half_of_a_full_pool_s_answers_are_earlier_images():
    pool, steps = pool_of(50), 4000
    pool.exchange(numbered(0, 50))
    ages = torch.stack([step - pool.exchange(numbered(step, 1)).squeeze() for step in range(50, 50 + steps)])
    earlier = (ages > 0).float().mean().item()
    assert earlier == pytest.approx(0.5, abs=4 * (0.25 / steps) ** 0.5)
    # A stored image waits for its place to be drawn, with probability 1/2 * 1/50 a step: 100 steps on average.
    assert ages[1000:][ages[1000:] > 0].mean().item() == pytest.approx(100, rel=0.15)
    assert len(pool) == 50


def test_every_image_leaves_the_pool_at_most_once():
    pool = pool_of(5)
    answers = torch.cat([pool.exchange(numbered(4 * step, 4)) for step in range(100)]).flatten()
    earlier = answers[answers != torch.arange(400)]
    assert len(earlier.unique()) == len(earlier)


def test_without_capacity_nothing_is_kept_and_nothing_drawn():
    random = torch.Generator().manual_seed(1)
    before = random.get_state()
    pool = ImagePool(0, random)
    assert torch.equal(pool.exchange(numbered(0, 3)), numbered(0, 3))
    assert len(pool) == 0
    assert torch.equal(random.get_state(), before)


def test_images_come_out_without_a_graph():
    images = numbered(0, 3).requires_grad_(True) * 2
    assert not pool_of(0).exchange(images).requires_grad
    assert not pool_of(2).exchange(images).requires_grad


def test_a_restored_pool_goes_on_as_the_saved_one():
    pool = pool_of(8)
    pool.exchange(numbered(0, 20))
    state = pool.state_dict()
    restored = pool_of(8, seed=9)
    restored.load_state_dict(state)
    for first in (20, 40):
        assert torch.equal(pool.exchange(numbered(first, 20)), restored.exchange(numbered(first, 20)))


def test_a_negative_capacity_is_refused():
    with pytest.raises(ValueError, match="0 images or more, found -1"):
        pool_of(-1)
