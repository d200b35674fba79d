"""A user's own generator through the stages: candidate, teacher, student, supernet, search, subnet, int8, edge file.

The network is a small SRGAN x4 that nobody wrote for ganpress; the pairs are patches of a real photograph.
"""

import contextlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_image

from ganpress.config.base import parse, read_yaml
from ganpress.config.params import Params, merge_overlay
from ganpress.data.prepared.arrays import Conditioning, PreparedMeta
from ganpress.errors import ConfigError
from ganpress.files.checkpoint import load_model
from ganpress.imported.importing import ImportRequest, import_generator
from ganpress.tracking import StageRun
from tasks import candidate, compress, export, judge, search, student, subnet, supernet, teacher
from tasks.shared.stage import Stage

CHECKOUT = Path(__file__).resolve().parents[2]
SPLITS = ("train", "validation", "test")
DISTILLATION = {
    "framework": "gan_compression",
    "objective": "lsgan",
    "train_images": 32,
    "batch_size": 8,
    "learning_rate": 0.001,
    "discriminator_learning_rate": 0.001,
    "beta1": 0.5,
    "lambda_recon": 10,
    "lambda_distill": 1,
    "taps": ["network.block1", "network.block6"],
}
TRAINING = {
    "framework": "pix2pix",
    "objective": "lsgan",
    "train_images": 32,
    "batch_size": 8,
    "learning_rate": 0.001,
    "discriminator_learning_rate": 0.001,
    "beta1": 0.5,
    "ndf": 4,
    "discriminator_layers": 2,
}
CHANGES = {
    "judge": {"kind": "rotations", "width": 4, "features": 16, "train_images": 64, "batch_size": 16, "min_accuracy": 0},
    "candidate": {"imported": "imported/srgan", "training": TRAINING, "items": {"srgan": {"imported": True}}},
    "teacher": {"metric": "psnr", "images": 16},
    "student": {"training": DISTILLATION, "items": {"half": {"spec": "imported:50", "loss": "gan_compression"}}},
    "control": {"training": TRAINING, "items": {"other": {"spec": "mobile_resnet_9blocks:ngf=2"}}},
    "supernet": {"family": "imported", "widths": [[50, 100]], "initial": "teacher", "training": DISTILLATION},
    "search": {
        "metric": "psnr",
        "images": 8,
        "calibration_images": 8,
        "max_parameters": 40000,
        "population": 4,
        "generations": 2,
        "workers": 1,
    },
    "subnet": {"fine_tuning": DISTILLATION},
    "compress": {
        "calibration_images": 8,
        "items": {"subnet-int8": {"generator": "subnet", "weight_bits": 8, "activation_bits": 8}},
    },
    "export": {"verification_images": 4, "items": {"subnet-int8": {"generator": "compress/subnet-int8"}}},
}


def params_with(changes: dict) -> dict:
    return merge_overlay(merge_overlay(read_yaml(CHECKOUT / "params.yaml"), CHANGES), changes)


def execute(root: Path, module, name: str, item: str | None = None, **changes) -> Path:
    stage = Stage(name, item, root, params_with(changes))
    shutil.rmtree(stage.out, ignore_errors=True)  # as DVC does
    stage.out.mkdir(parents=True)
    with contextlib.chdir(root):
        module.work(stage, StageRun(root, None, ""))
    return stage.out


def patches_of_a_photo() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """32x32 patches of a photograph, and the same at a quarter of the size."""
    photo = load_sample_image("china.jpg")
    random, splits = np.random.default_rng(0), {}
    for split in SPLITS:
        corners = random.integers(0, (photo.shape[0] - 32, photo.shape[1] - 32), (32, 2))
        patches = [photo[top : top + 32, left : left + 32] for top, left in corners]
        small = [np.asarray(Image.fromarray(patch).resize((8, 8), Image.Resampling.BICUBIC)) for patch in patches]
        splits[split] = tuple(np.stack(images).transpose(0, 3, 1, 2) for images in (patches, small))
    return splits


@pytest.fixture(scope="module")
def chain(tmp_path_factory, write_pairs):
    root = tmp_path_factory.mktemp("imported_chain")
    write_pairs(root / "artifacts" / "prepare", "patches", patches_of_a_photo())
    shutil.copy(CHECKOUT / "tests" / "foreign" / "srgan.py", root / "users_srgan.py")
    request = ImportRequest("users_srgan:build_small", None, (1, 3, 8, 8), "srgan", None, (0, 1), (0, 1))
    import_generator(root, request)
    for module, name, item in (
        (judge, "judge", None),
        (candidate, "candidate", "srgan"),
        (teacher, "teacher", None),
        (student, "student", "half"),
        (supernet, "supernet", None),
        (search, "search", None),
        (subnet, "subnet", None),
    ):
        execute(root, module, name, item)
    return root


def parameters_of(path: Path) -> int:
    return sum(parameter.numel() for parameter in load_model(path)[0].parameters())


@pytest.fixture
def at_root(chain, monkeypatch):
    monkeypatch.chdir(chain)
    return chain / "artifacts"


def test_the_parameters_of_the_chain_are_valid():
    assert parse(params_with({}), Params, "test").supernet.family == "imported"


def test_the_imported_network_is_the_teacher_untouched(at_root):
    imported, _ = load_model(at_root.parent / "imported/srgan/generator.safetensors")
    taught, _ = load_model(at_root / "teacher/generator.safetensors")
    x = torch.rand(2, 3, 8, 8) * 2 - 1
    with torch.no_grad():
        assert torch.equal(imported(x), taught(x))


def test_students_and_subnets_are_the_same_network_thinned(at_root):
    whole = parameters_of(at_root / "teacher/generator.safetensors")
    assert parameters_of(at_root / "student/half/generator.safetensors") < 0.4 * whole
    best = json.loads((at_root / "search/best.json").read_text())
    assert parameters_of(at_root / "subnet/generator.safetensors") == best["parameters"] <= 40000 < whole
    x = torch.rand(2, 3, 8, 8) * 2 - 1
    with torch.no_grad():
        images = load_model(at_root / "subnet/generator.safetensors")[0](x)
    assert images.shape == (2, 3, 32, 32)
    assert images.abs().max() <= 1


@pytest.mark.slow
def test_int8_edge_file_of_the_thinned_network(chain, at_root):
    execute(chain, compress, "compress", "subnet-int8")
    card = json.loads((execute(chain, export, "export", "subnet-int8") / "card.json").read_text())
    assert card["number_type"] == "w8a8"
    assert card["verification"]["snr_db"] > 15


def test_a_name_that_was_never_imported(chain):
    with pytest.raises(ConfigError, match=r"no imported generator 'gone' \(imported: srgan\)"):
        execute(chain, candidate, "candidate", "srgan", candidate={"imported": "imported/gone"})


def test_data_that_the_imported_network_does_not_draw(chain, tmp_path):
    root = shutil.copytree(chain, tmp_path / "other")
    conditioning = Conditioning("paired", 3, 16, 16, [], dict.fromkeys(SPLITS, 32))
    meta = PreparedMeta("patches", 32, 3, [], dict.fromkeys(SPLITS, 32), "none", conditioning=conditioning)
    meta.save(root / "artifacts" / "prepare")
    with pytest.raises(
        ConfigError, match=r"draws \(1, 3, 64, 64\) of a source \(3, 16, 16\), but targets are \(1, 3, 32, 32\)"
    ):
        execute(root, candidate, "candidate", "srgan")
