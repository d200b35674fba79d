"""The perceptual loss on real weights, and files that fit no feature network."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import models
from torchvision.transforms.functional import gaussian_blur

from ganpress.errors import CheckpointError
from ganpress.training.perceptual import PerceptualLoss


@pytest.fixture(scope="module")
def caffe_weights(shared_data):
    return shared_data / "squeezenet" / "squeezenet1_0_deepcompression_caffe_bgr.pth"


@pytest.fixture(scope="module")
def horses(shared_data):
    """The horse pictures (3, 3, 64, 64) in [-1, 1]."""
    files = [shared_data / "generators" / f"horse_{index}.png" for index in range(3)]
    pictures = [np.asarray(Image.open(file).convert("RGB").resize((64, 64))) for file in files]
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2) / 127.5 - 1


def save_random(path, name):
    torch.manual_seed(0)
    state = getattr(models, name)(weights=None, num_classes=2).state_dict()
    torch.save({key: value for key, value in state.items() if key.startswith("features.")}, path)
    return path


def test_more_blur_is_further_away(caffe_weights, horses):
    loss = PerceptualLoss(caffe_weights)
    assert loss.network == "squeezenet1_0"
    blurred = [gaussian_blur(horses, [9, 9], [sigma, sigma]) for sigma in (0.5, 1.0, 2.0)]
    distances = [loss(images, horses).item() for images in (horses, *blurred)]
    assert distances[0] == 0
    assert distances == sorted(distances)
    assert len(set(distances)) == 4


def test_it_reads_a_caffe_network_as_caffe_does(caffe_weights, horses):
    grey = horses.mean(1, keepdim=True)
    caffe, torchvision = PerceptualLoss(caffe_weights), PerceptualLoss(caffe_weights, "torchvision")
    found = caffe._preprocess(torch.tensor([1.0, 0.0, -1.0]).view(1, 3, 1, 1)).flatten()
    assert found.tolist() == [-104.0, 10.5, 132.0]  # blue, green, red minus the mean of each
    assert caffe(grey, horses) != torchvision(grey, horses)
    assert caffe(grey, grey.expand(-1, 3, -1, -1)).item() == 0


def test_the_gradient_reaches_the_images_only(caffe_weights, horses):
    loss = PerceptualLoss(caffe_weights)
    images, references = (horses * share for share in (0.9, 1.0))
    images.requires_grad_(True)
    references.requires_grad_(True)
    loss(images, references).backward()
    assert images.grad.abs().sum() > 0
    assert references.grad is None
    assert all(parameter.grad is None for parameter in loss.parameters())


@pytest.mark.parametrize("name", ["squeezenet1_1", "vgg19"])
def test_the_file_decides_the_network(name, tmp_path):
    loss = PerceptualLoss(save_random(tmp_path / "weights.pth", name))
    assert loss.network == name
    images = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    assert loss(images, images).item() == 0
    assert loss(images, -images).item() > 0


def test_vgg_compares_the_five_published_layers(tmp_path):
    loss = PerceptualLoss(save_random(tmp_path / "vgg.pth", "vgg19"))
    one, other = (torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(seed)) * 2 - 1 for seed in (1, 2))
    mean, deviation = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    features = [((images + 1) / 2 - mean) / deviation for images in (one, other)]
    expected, block, relu = 0.0, 1, 1
    for layer in loss.features:  # named after VGG's blocks: relu1_1, relu1_2, pool, relu2_1, …
        features = [layer(x) for x in features]
        if isinstance(layer, torch.nn.MaxPool2d):
            block, relu = block + 1, 1
        elif isinstance(layer, torch.nn.ReLU):
            weight = {1: 1 / 32, 2: 1 / 16, 3: 1 / 8, 4: 1 / 4, 5: 1.0}[block] if relu == 1 else 0.0
            expected += weight * (features[0] - features[1]).abs().mean().item()
            relu += 1
    assert loss(one, other).item() == pytest.approx(expected, rel=1e-5)


def test_files_that_fit_nothing_are_refused(tmp_path):
    path = tmp_path / "weights.pth"
    with pytest.raises(CheckpointError, match="does not exist"):
        PerceptualLoss(path)
    torch.save({"features.0.weight": torch.zeros(7, 3, 3, 3)}, path)
    with pytest.raises(CheckpointError, match=r"fits no feature network .*vgg19.*found 'features\.0\.weight' \(7, 3,"):
        PerceptualLoss(path)
    torch.save({"layer.weight": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match=r"found no tensor below 'features\.'"):
        PerceptualLoss(path)
    torch.save([1, 2], path)
    with pytest.raises(CheckpointError, match="holds no state_dict but a list"):
        PerceptualLoss(path)


def test_images_that_it_cannot_read_are_refused(tmp_path):
    loss = PerceptualLoss(save_random(tmp_path / "weights.pth", "squeezenet1_1"))
    with pytest.raises(ValueError, match="grey or colour images, found 2 channels"):
        loss(torch.zeros(1, 2, 32, 32), torch.zeros(1, 2, 32, 32))
    with pytest.raises(ValueError, match="needs images of 17 pixels or more each way, found 32x16"):
        loss(torch.zeros(1, 3, 32, 16), torch.zeros(1, 3, 32, 16))
    loss(torch.zeros(1, 3, 17, 17), torch.zeros(1, 3, 17, 17))
