import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import squeezenet1_1

from ganpress.errors import CheckpointError, DataError
from ganpress.metrics.judges.lpips import CHANNELS, SCALE, SHIFT, TAPS, PerceptualDistance, load_perceptual_distance


@pytest.fixture(scope="module")
def content():
    """What the user's file holds, with random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = squeezenet1_1(weights=None).state_dict()
        heads = {f"lin{i}.model.1.weight": torch.rand(1, channels, 1, 1) for i, channels in enumerate(CHANNELS)}
    return {"backbone": backbone, "heads": heads}


@pytest.fixture
def file(content, tmp_path):
    torch.save(content, tmp_path / "lpips.pt")
    return tmp_path / "lpips.pt"


@pytest.fixture(scope="module")
def pairs():
    random = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (3, 3, 48, 40), generator=random, dtype=torch.uint8)
    noise = torch.randint(0, 60, images.shape, generator=random, dtype=torch.uint8)
    return images, images // 2 + noise


def test_the_distance_is_the_published_formula_on_every_layer(file, content, pairs):
    """Equation 1 of Zhang et al. 2018, written out pixel by pixel on torchvision's own network."""
    distance = load_perceptual_distance(file)
    network = squeezenet1_1(weights=None)
    network.load_state_dict(content["backbone"])
    expected = torch.zeros(3, dtype=torch.float64)
    sides = []
    for pixels in pairs:
        x = pixels / 127.5 - 1
        x = (x - torch.tensor(SHIFT)[:, None, None]) / torch.tensor(SCALE)[:, None, None]
        with torch.no_grad():
            sides.append([network.features[: tap + 1](x).double() for tap in TAPS])
    for layer, (one, other) in enumerate(zip(*sides, strict=True)):
        weights = content["heads"][f"lin{layer}.model.1.weight"].double().flatten()
        for image in range(3):
            per_pixel = []
            for y in range(one.shape[2]):
                for x in range(one.shape[3]):
                    a, b = one[image, :, y, x], other[image, :, y, x]
                    per_pixel.append((weights * (a / (a.norm() + 1e-10) - b / (b.norm() + 1e-10)) ** 2).sum())
            expected[image] += torch.stack(per_pixel).mean()
    np.testing.assert_allclose(distance(*pairs), expected.numpy(), rtol=1e-4)


def test_equal_images_are_at_distance_zero_and_it_is_symmetric(file, pairs):
    distance = load_perceptual_distance(file)
    images, others = pairs
    np.testing.assert_array_equal(distance(images, images), 0)
    assert np.all(distance(images, others) > 0)
    np.testing.assert_allclose(distance(images, others), distance(others, images), rtol=1e-6)


def test_gray_is_the_colour_image_of_three_equal_channels(file, pairs):
    distance = load_perceptual_distance(file)
    one, other = (side[:, :1] for side in pairs)
    np.testing.assert_allclose(distance(one, other), distance(one.expand(-1, 3, -1, -1), other.expand(-1, 3, -1, -1)))


def test_a_head_of_zeros_sees_nothing_and_one_channel_sees_only_itself():
    features = nn.Sequential(nn.Conv2d(3, 2, 1, bias=False))
    images, others = torch.zeros(2, 1, 3, 32, 32, dtype=torch.uint8).unbind()
    others = others + torch.tensor([0, 90, 200], dtype=torch.uint8)[:, None, None]
    assert PerceptualDistance(features, [torch.zeros(2)], (0,))(images, others)[0] == 0
    assert PerceptualDistance(features, [torch.tensor([1.0, 0.0])], (0,))(images, others)[0] > 0


def test_small_or_unequal_images_are_refused(file, pairs):
    distance = load_perceptual_distance(file)
    with pytest.raises(DataError, match=r"from 32 pixels on; found \(3, 3, 16, 40\)"):
        distance(pairs[0][:, :, :16], pairs[1][:, :, :16])
    with pytest.raises(DataError, match="images of one shape"):
        distance(pairs[0], pairs[1][:2])


def test_other_files_are_refused_by_name(content, tmp_path):
    with pytest.raises(CheckpointError, match="does not exist"):
        load_perceptual_distance(tmp_path / "lpips.pt")
    torch.save(content["backbone"], tmp_path / "backbone.pt")
    with pytest.raises(CheckpointError, match="must hold 'backbone' and 'heads' of LPIPS on SqueezeNet 1.1"):
        load_perceptual_distance(tmp_path / "backbone.pt")
    torch.save({"backbone": content["heads"], "heads": content["heads"]}, tmp_path / "swapped.pt")
    with pytest.raises(CheckpointError, match=r"backbone lacks 'features\.0\.weight'"):
        load_perceptual_distance(tmp_path / "swapped.pt")
    missing = {name: head for name, head in content["heads"].items() if not name.startswith("lin3")}
    torch.save({"backbone": content["backbone"], "heads": missing}, tmp_path / "headless.pt")
    with pytest.raises(CheckpointError, match=r"'lin3\.model\.1\.weight' is missing, needed is \(1, 384, 1, 1\)"):
        load_perceptual_distance(tmp_path / "headless.pt")
