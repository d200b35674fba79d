import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from ganpress.basics.pixel_values import images_to_uint8, uint8_to_images
from ganpress.errors import DataError
from ganpress.metrics.images.gray_values import uint8_to_gray
from ganpress.metrics.images.sharpness import sharpness_ratio, variance_of_laplacian


def pixels(count: int, channels: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, channels, 12, 17), dtype=np.uint8)


def test_it_is_the_variance_of_the_kernel_over_a_mirrored_border():
    images = pixels(5, 1)
    around = np.pad(images[:, 0].astype(float), ((0, 0), (1, 1), (1, 1)), mode="reflect")
    kernel = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]])
    windows = np.lib.stride_tricks.sliding_window_view(around, (3, 3), axis=(1, 2))
    expected = (windows * kernel).sum(axis=(3, 4)).var(axis=(1, 2))
    np.testing.assert_array_equal(variance_of_laplacian(images), expected)


def test_colour_is_measured_on_its_rounded_gray():
    images = pixels(4, 3)
    np.testing.assert_array_equal(variance_of_laplacian(images), variance_of_laplacian(uint8_to_gray(images)[:, None]))


def test_gray_is_pillows_to_one_level():
    images = pixels(4, 3)
    theirs = np.stack([np.asarray(Image.fromarray(image.transpose(1, 2, 0)).convert("L")) for image in images])
    assert np.abs(uint8_to_gray(images).astype(int) - theirs).max() <= 1


def test_flat_images_have_none():
    assert (variance_of_laplacian(np.full((2, 1, 8, 8), 77, np.uint8)) == 0).all()


def test_blur_lowers_and_noise_raises_it():
    image = ndimage.gaussian_filter(pixels(1, 1)[0, 0].astype(float), 1)
    noisy = (image + np.random.default_rng(1).normal(0, 10, image.shape)).clip(0, 255)
    blurred = ndimage.gaussian_filter(image, 1.5)
    values = [variance_of_laplacian(one.astype(np.uint8)[None, None])[0] for one in (blurred, image, noisy)]
    assert values == sorted(values)


def test_the_ratio_is_that_of_means():
    assert sharpness_ratio(np.array([1.0, 3.0]), np.array([0.0, 4.0])) == 1.0


def test_a_flat_teacher_is_refused():
    with pytest.raises(DataError, match="teacher's images are all flat"):
        sharpness_ratio(np.ones(3), np.zeros(3))


def test_floats_are_refused():
    with pytest.raises(DataError, match="defined on uint8 images, found float32"):
        variance_of_laplacian(np.zeros((1, 1, 8, 8), np.float32))  # type: ignore[arg-type]


def test_two_channels_are_refused():
    with pytest.raises(DataError, match=r"\(N, 1 or 3, H, W\), found shape \(4, 2, 12, 17\)"):
        variance_of_laplacian(pixels(4, 2))


def test_lines_are_refused():
    with pytest.raises(DataError, match="at least 2 x 2 pixels, found 1 x 9"):
        variance_of_laplacian(np.zeros((1, 1, 1, 9), np.uint8))


def test_bytes_survive_the_way_to_images_and_back():
    every = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    assert torch.equal(images_to_uint8(uint8_to_images(every)), every)


def test_pixels_are_rounded_and_clipped():
    found = images_to_uint8(torch.tensor([-2.0, -1.0, -0.997, 0.9999, 1.0, 3.0]))
    assert found.tolist() == [0, 0, 0, 255, 255, 255]


def test_nan_pixels_are_refused():
    with pytest.raises(DataError, match="NaN or infinite pixels"):
        images_to_uint8(torch.tensor([0.0, float("nan")]))
