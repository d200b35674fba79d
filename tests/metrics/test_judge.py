from urllib.error import URLError

import numpy as np
import pytest
import torch
from torch import nn
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from ganpress.basics.pixel_values import images_to_uint8, uint8_to_images
from ganpress.config.judge_section import JudgeConfig
from ganpress.errors import CheckpointError, ConfigError, DataError
from ganpress.files.checkpoint import save_model
from ganpress.metrics.judges.feature_networks import ClassifierJudge, load_judge, save_external_judge
from ganpress.metrics.judges.judge_output import weights_digest
from models.builders import Blueprint

CLASSIFIER = Blueprint("classifier", {"channels": 1, "classes": 3, "width": 4, "features": 8})


def judge_config(kind: str, weights: str | None = None) -> JudgeConfig:
    training = {"width": 4, "features": 8, "train_images": 1, "batch_size": 2, "learning_rate": 0.1, "min_accuracy": 0}
    return JudgeConfig(kind=kind, weights=weights, **training)


@pytest.fixture
def judge_file(tmp_path):
    save_model(tmp_path / "judge.safetensors", CLASSIFIER.build(), CLASSIFIER)
    return tmp_path / "judge.safetensors"


@pytest.fixture
def images():
    return torch.rand(5, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture(scope="module")
def inception_network(tmp_path_factory):
    """Random He weights in torch-fidelity's own layout; its default ones make all features equal."""
    path = tmp_path_factory.mktemp("inception") / "weights.pth"
    torch.save({}, path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
        network = FeatureExtractorInceptionV3("inception", ["2048", "logits_unbiased"], str(path))
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            fan_in = module.weight[0].numel()
            module.weight.normal_(0, (2 / fan_in) ** 0.5, generator=generator)
    return network


@pytest.fixture(scope="module")
def inception_judge(inception_network, tmp_path_factory):
    path = tmp_path_factory.mktemp("inception") / "weights.pth"
    torch.save(inception_network.state_dict(), path)
    return load_judge(judge_config("inception", str(path)))


def test_the_classifier_gives_features_and_probabilities(judge_file, images):
    judge = load_judge(judge_file)
    seen = judge(images)
    assert (judge.name, judge.digest) == ("judge", weights_digest(judge_file))
    assert seen.features.shape == (5, 8)
    assert seen.probabilities.shape == (5, 3)
    np.testing.assert_allclose(seen.probabilities.sum(1), 1, rtol=1e-12)


def test_the_judge_looks_at_bytes(judge_file, images):
    judge = load_judge(judge_file)
    rounded = uint8_to_images(images_to_uint8(images))
    assert not torch.equal(rounded, images)
    np.testing.assert_array_equal(judge(images).features, judge(rounded).features)


def test_the_judge_is_in_eval_mode_so_that_batches_do_not_matter(images):
    judge = ClassifierJudge(CLASSIFIER.build().train(), "0")
    one_by_one = np.concatenate([judge(image[None]).features for image in images])
    np.testing.assert_allclose(judge(images).features, one_by_one, rtol=1e-4, atol=1e-6)


def test_another_judge_has_another_digest(tmp_path, judge_file):
    save_model(tmp_path / "other.pt", CLASSIFIER.build(), CLASSIFIER)
    assert load_judge(tmp_path / "other.pt").digest != load_judge(judge_file).digest
    assert len(load_judge(judge_file).digest) == 12


def test_a_generator_is_no_judge(tmp_path):
    generator = Blueprint("wdcgan_generator", {"spec": "1", "size": 16, "channels": 1})
    save_model(tmp_path / "judge.safetensors", generator.build(), generator)
    with pytest.raises(CheckpointError, match="holds a 'wdcgan_generator', but a judge is needed"):
        load_judge(tmp_path / "judge.safetensors")


def test_a_missing_or_damaged_file_is_one_line(tmp_path):
    with pytest.raises(CheckpointError, match=r"judge\.safetensors does not exist"):
        load_judge(tmp_path / "judge.safetensors")
    (tmp_path / "judge.safetensors").write_bytes(b"no weights")
    with pytest.raises(CheckpointError, match="is damaged or not a weights file"):
        load_judge(tmp_path / "judge.safetensors")


def test_a_classifier_is_not_loaded_from_its_section():
    with pytest.raises(ConfigError, match="dvc repro judge"):
        load_judge(judge_config("classifier"))


def test_inception_equals_torch_fidelitys_and_repeats_gray(inception_judge, inception_network, images):
    seen = inception_judge(images[:1])
    features, logits = inception_network(images_to_uint8(images[:1]).repeat(1, 3, 1, 1))
    assert inception_judge.name == "inception"
    np.testing.assert_array_equal(seen.features, features.numpy())
    np.testing.assert_allclose(seen.probabilities, logits.double().softmax(1).numpy())
    assert seen.features.std() > 0


def test_the_file_of_an_inception_judge_leads_to_its_weights_and_notices_changes(tmp_path, inception_judge):
    weights = inception_judge.weights
    save_external_judge(tmp_path / "judge.safetensors", inception_judge, str(weights))
    assert load_judge(tmp_path / "judge.safetensors").digest == weights_digest(weights)
    torch.save(torch.load(weights, weights_only=True) | {"fc.bias": torch.ones(1008)}, weights)
    with pytest.raises(CheckpointError, match=f"was made with {inception_judge.digest}"):
        load_judge(tmp_path / "judge.safetensors")


def test_missing_inception_weights_are_one_line(tmp_path):
    with pytest.raises(ConfigError, match=r"judge\.weights: .*absent\.pth does not exist; name a local copy of https"):
        load_judge(judge_config("inception", str(tmp_path / "absent.pth")))


def test_no_network_is_one_line(tmp_path, monkeypatch):
    def offline(*_args: object, **_options: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(DataError, match=r"cannot be read .*no route to host.*set judge\.weights"):
        load_judge(judge_config("inception"))


def test_weights_of_another_network_are_one_line(tmp_path):
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="does not hold torch-fidelity's InceptionV3"):
        load_judge(judge_config("inception", str(tmp_path / "other.pth")))
