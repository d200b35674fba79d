"""Every stage refuses inputs that were made with parameters other than those in params.yaml."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from ganpress.files.checkpoint import save_model
from models.builders import Blueprint
from tasks import (
    candidate,
    compress,
    control,
    evaluate,
    export,
    judge,
    search,
    student,
    subnet,
    supernet,
    sweep,
    teacher,
)

READERS = {
    judge: None,
    candidate: "d8",
    teacher: None,
    student: "d2-mse",
    control: "d2",
    supernet: None,
    search: None,
    subnet: None,
    compress: "subnet-int8",
    export: "teacher",
    sweep: None,
    evaluate: None,
}
"""Every stage that reads prepared data, with one of its items in params.yaml."""
DEFAULTS = yaml.safe_load((Path(__file__).parents[2] / "params.yaml").read_text())


@pytest.fixture
def refusal(tmp_path, write_prepared, run_stage, capsys):
    """(stage module, item, section=changes) -> the single line of a stage on 60 prepared images of 1x16x16 a split."""
    write_prepared(tmp_path / "artifacts")

    def run(module, item=None, **sections):
        prepare = DEFAULTS["prepare"] | {"image_size": 16}
        params = DEFAULTS | {"prepare": prepare}
        params |= {name: params[name] | more for name, more in sections.items()}
        assert run_stage(tmp_path, module, item, params) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        return line.partition(": ")[2]

    return run


@pytest.mark.parametrize(("module", "item"), READERS.items(), ids=lambda one: getattr(one, "__name__", None))
def test_every_reader_refuses_images_of_another_size(refusal, module, item):
    expected = "artifacts/prepare was made with image_size 16 instead of 64, width 16 instead of 64: it is older than "
    expected += "params.yaml or was changed; run `dvc repro prepare` or `ganpress run`"
    assert refusal(module, item, prepare={"image_size": 64}) == expected


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"channels": 3}, "channels 1 instead of 3"),
        ({"width": 32}, "width 16 instead of 32"),
        ({"max_train_images": 20}, "max_train_images 60 instead of 20"),
    ],
)
def test_each_parameter_that_shows_in_the_arrays(refusal, changes, words):
    assert refusal(judge, prepare=changes).startswith(f"artifacts/prepare was made with {words}: ")


def test_arrays_that_are_not_what_their_meta_says(refusal, tmp_path):
    path = tmp_path / "artifacts" / "prepare" / "validation.npy"
    np.save(path, np.load(path)[:40, :, :8])
    np.save(path.with_name("validation_labels.npy"), np.load(path.with_name("validation_labels.npy"))[:40])
    words = "validation images 40 instead of 60, validation shape (1, 8, 16) instead of (1, 16, 16): "
    assert refusal(judge).startswith(f"artifacts/prepare was made with {words}")


@pytest.mark.parametrize(
    ("module", "item", "sections", "reference"),
    [
        (
            compress,
            "one",
            {"compress": {"items": {"one": {"generator": "student/d2-mse", "weight_bits": 8}}}},
            "student",
        ),
        (export, "one", {"export": {"items": {"one": {"generator": "student/d2-mse"}}}}, "student"),
        (sweep, None, {"sweep": {"generator": "student/d2-mse"}}, "student"),
    ],
)
def test_generator_of_another_size_than_its_item(refusal, tmp_path, module, item, sections, reference):
    blueprint = Blueprint("wdcgan_generator", {"spec": "3", "size": 16, "channels": 1})
    save_model(tmp_path / "artifacts" / reference / "d2-mse" / "generator.safetensors", blueprint.build(), blueprint)
    line = refusal(module, item, **sections)
    assert line == (
        "artifacts/student/d2-mse/generator.safetensors is wdcgan_generator(spec=3, size=16, channels=1), but "
        "student.items.d2-mse of params.yaml asks for wdcgan_generator(spec=2, size=16, channels=1); "
        "run `dvc repro student@d2-mse` or `ganpress run`"
    )
