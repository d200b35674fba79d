import numpy as np
import pytest
import torch
from sklearn.datasets import load_sample_images
from torch import Tensor, nn
from torchvision.models import squeezenet1_0

from ganpress.basics.pixel_values import uint8_to_images
from ganpress.config.judge_section import JudgeConfig
from ganpress.errors import CheckpointError, ConfigError
from ganpress.metrics.judges.external_judges import GivenSegmenterJudge, SqueezeNetJudge
from ganpress.metrics.judges.feature_networks import load_judge, save_external_judge

WEIGHTS = "squeezenet/squeezenet1_0_deepcompression_caffe_bgr.pth"


def section(kind, weights):
    numbers = {"width": 4, "features": 8, "train_images": 1, "batch_size": 2, "learning_rate": 0.1, "min_accuracy": 0}
    return JudgeConfig(kind=kind, weights=str(weights), **numbers)


@pytest.fixture(scope="module")
def images():
    return torch.rand(3, 1, 24, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture(scope="module")
def squeezenet_file(tmp_path_factory):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        path = tmp_path_factory.mktemp("squeezenet") / "squeezenet.pth"
        torch.save(squeezenet1_0(weights=None).state_dict(), path)
    return path


class BrightIsOne(nn.Module):
    """Class 1 where a pixel is brighter than gray, class 0 elsewhere, at half the resolution of the image."""

    def forward(self, images: Tensor) -> Tensor:
        gray = nn.functional.avg_pool2d(images.mean(1, keepdim=True), 2)
        return torch.cat([-gray, gray], 1)


@pytest.fixture(scope="module", params=["network.pt", "network.pt2"])
def segmenter_file(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("segmenter") / request.param
    if path.suffix == ".pt2":
        batch = torch.export.Dim("batch")
        program = torch.export.export(BrightIsOne(), (torch.zeros(2, 1, 24, 32),), dynamic_shapes=({0: batch},))
        torch.export.save(program, path)
    else:
        torch.jit.save(torch.jit.script(BrightIsOne()), str(path))
    return path


def test_squeezenet_gives_features_and_no_probabilities(squeezenet_file, images):
    judge = load_judge(section("squeezenet", squeezenet_file))
    seen = judge(images)
    assert judge.name == "squeezenet"
    assert seen.features.shape == (3, 512)
    assert seen.features.std() > 0
    assert seen.probabilities is None
    assert seen.label_maps is None


def test_squeezenet_recognises_a_temple_only_in_the_colour_order_of_its_weights(shared_data):
    """The photograph's buildings are classes 442 bell cote, 449 boathouse, 538 dome, 663 monastery, 698 palace."""
    judge = SqueezeNetJudge(shared_data / WEIGHTS)
    network = squeezenet1_0(weights=None)
    network.load_state_dict(torch.load(shared_data / WEIGHTS, weights_only=True))
    photo = torch.from_numpy(np.array(load_sample_images().images[0])).permute(2, 0, 1)[None, :, :, 100:527]
    shares = []
    for colours in (photo, photo.flip(1)):
        seen: list[Tensor] = []
        hook = judge.network.register_forward_hook(lambda _module, _inputs, output, seen=seen: seen.append(output))
        judge(uint8_to_images(colours))
        hook.remove()
        with torch.no_grad():
            probabilities = network.eval().classifier(seen[0]).flatten(1).softmax(1)[0]
        shares.append(float(probabilities[[442, 538, 663, 698]].sum()))
    assert shares[0] > 0.7
    assert shares[0] > shares[1]


def test_a_given_segmenter_labels_each_pixel_at_the_size_of_the_image(segmenter_file):
    judge = load_judge(section("segmenter", segmenter_file))
    half_bright = torch.full((5, 1, 24, 32), -1.0)
    half_bright[:, :, :, 16:] = 1
    seen = judge(half_bright)
    assert judge.name == "segmenter"
    assert seen.label_maps.shape == (5, 24, 32)
    np.testing.assert_array_equal(seen.label_maps, half_bright[:, 0].numpy() > 0)
    assert seen.features.shape == (5, 2 * 16)
    assert seen.probabilities is None


@pytest.mark.parametrize("kind", ["squeezenet", "segmenter"])
def test_its_file_leads_to_the_weights_and_notices_changes(kind, squeezenet_file, tmp_path, images):
    weights = tmp_path / "weights.pt"
    if kind == "squeezenet":
        weights.write_bytes(squeezenet_file.read_bytes())
    else:
        torch.jit.save(torch.jit.script(BrightIsOne()), str(weights))
    judge = load_judge(section(kind, weights))
    save_external_judge(tmp_path / "judge.safetensors", judge, str(weights))
    again = load_judge(tmp_path / "judge.safetensors")
    assert (again.name, again.digest) == (judge.name, judge.digest)
    np.testing.assert_array_equal(again(images).features, judge(images).features)
    torch.save({"features.0.bias": torch.ones(1)}, tmp_path / "other.pt")
    with weights.open("ab") as file:
        file.write(b"\0")
    with pytest.raises(CheckpointError):
        load_judge(tmp_path / "judge.safetensors")


def test_missing_weights_are_one_line(tmp_path):
    with pytest.raises(ConfigError, match=r"judge\.weights: .*absent\.pt does not exist; name a TorchScript"):
        load_judge(section("segmenter", tmp_path / "absent.pt"))
    with pytest.raises(ConfigError, match=r"judge\.weights: .*absent\.pth does not exist; name a state_dict"):
        load_judge(section("squeezenet", tmp_path / "absent.pth"))


def test_other_files_are_refused(tmp_path, squeezenet_file):
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"other\.pth lacks 'features\.0\.weight'"):
        load_judge(section("squeezenet", tmp_path / "other.pth"))
    with pytest.raises(CheckpointError, match=r"squeezenet\.pth is no segmentation network .*torch\.jit\.save"):
        load_judge(section("segmenter", squeezenet_file))


class NoLogits(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.mean((1, 2, 3))


def test_a_network_that_gives_no_logits_or_takes_other_images_is_refused(tmp_path, images):
    torch.jit.save(torch.jit.script(NoLogits()), str(tmp_path / "scalar.pt"))
    with pytest.raises(CheckpointError, match=r"must return logits \(N, classes, h, w\), found \(3,\)"):
        GivenSegmenterJudge(tmp_path / "scalar.pt")(images)
    torch.jit.save(torch.jit.script(nn.Conv2d(3, 2, 1)), str(tmp_path / "colour.pt"))
    with pytest.raises(CheckpointError, match=r"does not accept images \(3, 1, 24, 32\): .*3 channels"):
        GivenSegmenterJudge(tmp_path / "colour.pt")(images)


@pytest.mark.parametrize(
    ("kind", "weights", "message"),
    [
        ("squeezenet", None, "kind 'squeezenet' needs weights"),
        ("rotations", "w.pt", "kind 'rotations' is trained here and takes no weights; found w.pt"),
    ],
)
def test_weights_that_do_not_fit_the_kind_are_refused_by_the_config(kind, weights, message):
    numbers = {"width": 4, "features": 8, "train_images": 1, "batch_size": 2, "learning_rate": 0.1, "min_accuracy": 0}
    with pytest.raises(ValueError, match=message):
        JudgeConfig(kind=kind, weights=weights, **numbers)
