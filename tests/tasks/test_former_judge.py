"""A new version of the data beside the former one, as the judge of the former version sees both."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
import yaml
from PIL import Image

from ganpress.data.gate.drift import distance_of_features
from tasks import judge, prepare, validate

PARAMS = {
    "seed": 1,
    "validate": {
        "min_images": 10,
        "min_size": 8,
        "channels": [1],
        "max_duplicate_fraction": 1,
        "max_leaked_fraction": 1,
        "max_flat_fraction": 1,
        "min_class_share": 0.2,
        "max_drift": 0.25,
    },
    "prepare": {"image_size": 16, "channels": 1, "validation_fraction": 0.2},
    "judge": {
        "kind": "classifier",
        "width": 4,
        "features": 16,
        "train_images": 3000,
        "batch_size": 50,
        "learning_rate": 0.005,
        "min_accuracy": 0.5,
    },
}
STAGES = {
    "validate": ["artifacts/validate/validation.json", "artifacts/validate/manifest.csv"],
    "prepare": ["artifacts/prepare"],
    "judge": ["artifacts/judge/judge.safetensors"],
}


def draw(data, seed, change=lambda pixels: pixels):
    """Replace the pictures: two classes, a square or a bar, at a random place left of the middle."""
    shutil.rmtree(data, ignore_errors=True)
    random = np.random.default_rng(seed)
    for number in range(600):
        label = "ab"[number % 2]
        pixels = random.integers(0, 40, (16, 16)).astype(np.uint8)
        top, left = random.integers(0, 9), random.integers(0, 3)
        pixels[top : top + 6, left : left + (6 if label == "a" else 3)] = random.integers(180, 256)
        path = data / label / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(change(pixels)).save(path)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory, run_stage):
    """A project whose first version of the data passed, was prepared, got a judge, and was recorded by DVC."""
    root = tmp_path_factory.mktemp("recorded")
    draw(root / "data", 1)
    for module in (validate, prepare, judge):
        assert run_stage(root, module, params=PARAMS) == 0
    stages = {
        name: {"cmd": "true", "params": ["seed", name], "outs": outs}
        for name, outs in STAGES.items()
    }  # fmt: skip
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    for arguments in (["init", "--quiet", "--no-scm"], ["commit", "--quiet", "--force"]):
        subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=root, check=True)
    return root


@pytest.fixture
def project(recorded, tmp_path):
    root = tmp_path / "project"
    shutil.copytree(recorded, root)
    # The name of the source is the folder, so the copy's former version would be of another one.
    for path in (root / ".dvc/cache").rglob("*"):
        if path.is_file() and str(recorded).encode() in path.read_bytes():
            path.chmod(0o644)
            path.write_bytes(path.read_bytes().replace(str(recorded).encode(), str(root).encode()))
    return root


@pytest.fixture
def validated(project, run_stage, capfd):
    """(change) -> exit code and what is said about a new draw of the pictures, changed so."""

    def run(change=lambda pixels: pixels, params=PARAMS):
        draw(project / "data", 2, change)
        code = run_stage(project, validate, params=params)
        return code, capfd.readouterr().err

    return run


def test_another_draw_of_the_same_pictures_passes(validated, project):
    assert validated()[0] == 0
    assert "features of the judge" not in (project / "artifacts/validate/summary.html").read_text()


def test_pictures_that_only_the_judge_can_tell_apart_are_refused(validated, project):
    """Mirrored pictures have the sizes, the brightness and the contrast of the former ones, to the last digit."""
    code, said = validated(np.fliplr)
    assert code == 2
    assert "drift (allowed: at most 0.25 away from the former version of the data; found 1 of 7: " in said
    distance = float(said.partition("features of the judge (")[2].partition(")")[0])
    assert distance > 0.5
    assert len(said.strip().splitlines()) == 1
    assert f"features of the judge ({distance:g})" in (project / "artifacts/validate/summary.html").read_text()


def test_inverted_pictures_are_refused(validated):
    code, said = validated(lambda pixels: 255 - pixels)
    assert code == 2
    assert "features of the judge (1)" in said


def test_without_a_limit_no_judge_is_asked(validated):
    code, said = validated(np.fliplr, PARAMS | {"validate": PARAMS["validate"] | {"max_drift": None}})
    assert (code, "drift" in said) == (0, False)


@pytest.mark.parametrize("lost", ["judge", "prepare"])
def test_a_former_judge_or_data_that_is_not_there_is_said(validated, project, lost, caplog):
    lock = yaml.safe_load((project / "dvc.lock").read_text())
    del lock["stages"][lost]
    (project / "dvc.lock").write_text(yaml.safe_dump(lock))
    assert validated(np.fliplr)[0] == 0
    assert "the former judge or the pictures that it was trained on are not available" in caplog.text


def test_a_damaged_copy_of_the_judge_is_one_line(validated, project):
    lock = yaml.safe_load((project / "dvc.lock").read_text())
    md5 = lock["stages"]["judge"]["outs"][0]["md5"]
    copy = project / ".dvc/cache/files/md5" / md5[:2] / md5[2:]
    copy.chmod(0o644)
    copy.write_bytes(copy.read_bytes()[:100])
    code, said = validated()
    assert code == 2
    assert "the former judge cannot be loaded from DVC's cache (" in said
    assert "run `dvc fetch judge`, or set validate.max_drift to null" in said


def halves(features):
    return features[::2], features[1::2]


@pytest.mark.parametrize(("shift", "scale", "expected"), [(0, 1, 0), (2, 1, 0.683), (0, 3, 0.5), (50, 1, 1)])
def test_the_distance_is_that_of_known_distributions(shift, scale, expected):
    """Two normal distributions, two standard deviations apart, differ by 2 Phi(1) - 1 = 0.683 at most."""
    random = np.random.default_rng(0)
    former, new = random.normal(size=(2000, 8)), random.normal(size=(2000, 8))
    new[:, 0] = new[:, 0] * scale + shift
    assert distance_of_features(halves(new), halves(former)) == pytest.approx(expected, abs=0.06)


def test_equal_and_constant_features_have_no_distance():
    features = np.random.default_rng(0).normal(size=(500, 8)).astype(np.float32)
    assert distance_of_features(halves(features), halves(features)) == 0
    constant = np.ones((500, 8), np.float32)
    assert distance_of_features(halves(constant), halves(constant)) == 0
