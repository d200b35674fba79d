import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio
from skimage.metrics import structural_similarity as scikit_ssim
from sklearn.datasets import load_sample_image

from ganpress.errors import DataError
from ganpress.metrics.images.similarity import mean_absolute_error, peak_signal_to_noise_ratio, structural_similarity

MEASURES = (mean_absolute_error, peak_signal_to_noise_ratio, structural_similarity)


@pytest.fixture(scope="module")
def pairs():
    """Crops of a photograph (4, 3, 40, 56) and noisier and noisier copies of them."""
    photo = torch.from_numpy(np.array(load_sample_image("china.jpg"))).permute(2, 0, 1)
    crops = torch.stack([photo[:, 60 * i : 60 * i + 40, 90 * i : 90 * i + 56] for i in range(4)])
    noise = torch.randn(crops.shape, generator=torch.Generator().manual_seed(0))
    levels = torch.tensor([2.0, 8.0, 20.0, 60.0])[:, None, None, None]
    return crops, (crops + levels * noise).round().clamp(0, 255).to(torch.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_ssim_is_scikit_images_with_the_published_window(pairs, channels):
    truth, images = (side[:, :channels] for side in pairs)
    expected = [
        scikit_ssim(
            one.numpy(),
            other.numpy(),
            channel_axis=0,
            data_range=255,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        for one, other in zip(truth, images, strict=True)
    ]
    np.testing.assert_allclose(structural_similarity(images, truth), expected, rtol=1e-7)


def test_psnr_is_scikit_images(pairs):
    truth, images = pairs
    expected = [
        peak_signal_noise_ratio(one.numpy(), other.numpy(), data_range=255)
        for one, other in zip(truth, images, strict=True)
    ]
    np.testing.assert_allclose(peak_signal_to_noise_ratio(images, truth), expected, rtol=1e-12)


def test_more_noise_is_less_alike(pairs):
    truth = pairs[0][:1].expand(4, -1, -1, -1)
    noise = torch.randn(truth[0].shape, generator=torch.Generator().manual_seed(1))
    levels = torch.tensor([2.0, 8.0, 20.0, 60.0])[:, None, None, None]
    images = (truth + levels * noise).round().clamp(0, 255).to(torch.uint8)
    assert np.all(np.diff(peak_signal_to_noise_ratio(images, truth)) < 0)
    assert np.all(np.diff(structural_similarity(images, truth)) < 0)
    assert np.all(np.diff(mean_absolute_error(images, truth)) > 0)


def test_equal_images_reach_the_ends_which_are_finite(pairs):
    truth, _ = pairs
    np.testing.assert_array_equal(mean_absolute_error(truth, truth), 0)
    np.testing.assert_allclose(structural_similarity(truth, truth), 1, rtol=1e-12)
    nearly = truth.clone()
    nearly[:, 0, 0, 0] ^= 1  # one value, one level: the smallest difference that bytes can show
    best = peak_signal_to_noise_ratio(truth, truth)
    assert np.all(np.isfinite(best))
    np.testing.assert_allclose(best, peak_signal_to_noise_ratio(nearly, truth))


@pytest.mark.parametrize("measure", MEASURES)
def test_all_are_symmetric_and_look_at_each_pair_alone(pairs, measure):
    truth, images = pairs
    np.testing.assert_allclose(measure(truth, images), measure(images, truth), rtol=1e-12)
    np.testing.assert_allclose(measure(truth[2:3], images[2:3]), measure(truth, images)[2:3], rtol=1e-12)


@pytest.mark.parametrize("measure", MEASURES)
def test_other_shapes_and_types_are_refused(pairs, measure):
    truth, images = pairs
    with pytest.raises(DataError, match=r"one shape .* found \(4, 3, 40, 56\) and \(4, 1, 40, 56\)"):
        measure(images, truth[:, :1])
    with pytest.raises(DataError, match="compared as uint8, found torch.float32"):
        measure(images.float(), truth)


def test_images_smaller_than_the_window_have_no_ssim(pairs):
    truth, images = pairs
    with pytest.raises(DataError, match="window is 11 x 11; the images are 10 x 56"):
        structural_similarity(images[:, :, :10], truth[:, :, :10])
