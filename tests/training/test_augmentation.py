"""What a discriminator sees of augmented images."""

import pytest
import torch

from ganpress.training.augmentation import NUMBERS, _coloured, _cut_out, _shifted, augmented

MIDDLE = torch.full((4, NUMBERS), 0.5)
"""Changes that leave colours and place as they are."""


@pytest.fixture
def images():
    return torch.rand((4, 3, 16, 24), generator=torch.Generator().manual_seed(0)) * 2 - 1


def stream():
    return torch.Generator().manual_seed(1)


def test_the_middle_of_all_changes_is_no_change(images):
    torch.testing.assert_close(_coloured(images, MIDDLE[:, :3]), images)
    assert torch.equal(_shifted(images, MIDDLE[:, 3:5]), images)


def test_images_are_shifted_by_up_to_an_eighth(images):
    ends = torch.tensor([[0.0, 0.0], [0.999, 0.999], [0.0, 0.5], [0.5, 0.999]])
    moved = _shifted(images, ends)
    for image, result, (down, right) in zip(images, moved, [(2, 3), (-2, -3), (2, 0), (0, -3)], strict=True):
        expected = image.roll((down, right), (1, 2))
        inner = (slice(None), slice(2, -2), slice(3, -3))
        assert torch.equal(result[inner], expected[inner])
    assert not moved[0, :, :2].any()  # what comes in is a middle grey


def test_a_square_of_half_the_side_is_blanked(images):
    seen = _cut_out(images, MIDDLE[:, 5:])
    assert not seen[:, :, 5:12, 7:18].any()
    assert torch.equal(seen[:, :, :4], images[:, :, :4])
    assert torch.equal(seen[..., :6], images[..., :6])


def test_colours_move_in_brightness_saturation_and_contrast(images):
    bright = _coloured(images, torch.tensor([[1.0, 0.5, 0.5]]).expand(4, 3))
    torch.testing.assert_close(bright, images + 0.5)
    grey = _coloured(images, torch.tensor([[0.5, 0.0, 0.5]]).expand(4, 3))
    torch.testing.assert_close(grey, images.mean(1, keepdim=True).expand_as(images))
    flat = _coloured(images, torch.tensor([[0.5, 0.5, 0.0]]).expand(4, 3))
    torch.testing.assert_close(flat.std((1, 2, 3)), images.std((1, 2, 3)) / 2)


def test_gradients_pass_and_the_stream_decides(images):
    images.requires_grad_(True)
    seen = augmented(images, stream())
    assert torch.equal(seen, augmented(images, stream()))
    assert not torch.equal(seen[0], augmented(images, torch.Generator().manual_seed(2))[0])
    (gradient,) = torch.autograd.grad(seen.sum(), images)
    assert (gradient != 0).flatten(1).any(1).all()
