import json

import pytest
import torch
from safetensors import safe_open
from torch import nn

from ganpress.errors import CheckpointError
from ganpress.files.checkpoint import load_model, load_weights_, read_model_file, save_atomically, save_model
from ganpress.files.tensor_files import read_tensors, tensor_bytes
from models.builders import Blueprint

BLUEPRINT = Blueprint("wdcgan_generator", {"spec": "2_3", "size": 16, "channels": 1})


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "generator.safetensors"
    model = BLUEPRINT.build()
    save_model(path, model, BLUEPRINT)
    return path, model


def test_round_trip_gives_the_same_images(saved):
    path, model = saved
    loaded, blueprint = load_model(path, "wdcgan_generator")
    z = torch.randn(3, 100)
    assert blueprint == BLUEPRINT
    assert not loaded.training
    assert torch.equal(loaded(z), model.eval()(z))


def test_same_weights_same_bytes(saved, tmp_path):
    path, model = saved
    other = tmp_path / "elsewhere" / "again.pt"
    save_model(other, model, BLUEPRINT)
    assert other.read_bytes() == path.read_bytes()


def test_checkpoint_of_another_architecture_is_refused(saved):
    with pytest.raises(CheckpointError, match="holds a 'wdcgan_generator', but a 'classifier' is needed here"):
        load_model(saved[0], "classifier")


def test_weights_that_do_not_fit_name_the_first_tensor(saved, tmp_path):
    path = tmp_path / "wrong.pt"
    save_model(path, saved[1], Blueprint("wdcgan_generator", BLUEPRINT.arguments | {"spec": "2"}))
    with pytest.raises(CheckpointError, match=r"'blocks\.1\.bias' is \(3,\), this architecture needs \(2,\)"):
        load_model(path)


def test_missing_and_surplus_weights_are_named():
    layer = nn.Linear(2, 1)
    with pytest.raises(CheckpointError, match=r"file lacks 'bias' \(1,\)"):
        load_weights_(layer, {"weight": torch.zeros(1, 2)}, "file")
    state = layer.state_dict() | {"scale": torch.zeros(1)}
    with pytest.raises(CheckpointError, match="file has 'scale', which this architecture does not have"):
        load_weights_(layer, state, "file")


@pytest.mark.parametrize("keep", [0, 10, 1000])
def test_truncated_file_is_one_line(saved, keep):
    path, _ = saved
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match=r"generator\.safetensors is damaged or not a weights file") as caught:
        load_model(path)
    assert "\n" not in str(caught.value)


def test_changed_weights_are_refused_by_their_digest(saved, tmp_path):
    path, model = saved
    content = bytearray(path.read_bytes())
    weights = model.state_dict()["blocks.0.conv.weight"].numpy().tobytes()
    content[content.index(weights) + 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"generator\.safetensors was changed after it was written: its digest"):
        load_model(path)
    save_model(path, model, BLUEPRINT)
    whole = read_model_file(path)
    whole["state_dict"]["blocks.0.bias"].add_(1)
    former = path.with_suffix(".pt")
    torch.save(whole, former)  # by the book, checksums of the archive included
    with pytest.raises(CheckpointError, match="its digest does not match; create it again"):
        load_model(former)


def test_files_of_before_safetensors_are_read(saved, tmp_path):
    path, model = saved
    torch.save(read_model_file(path), tmp_path / "generator.pt")
    loaded, blueprint = load_model(tmp_path / "generator.pt")
    assert blueprint == BLUEPRINT
    assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in model.state_dict().items())


def test_any_reader_of_safetensors_reads_them(saved):
    path, model = saved
    with safe_open(path, "numpy") as file:
        assert json.loads(file.metadata()["ganpress"])["builder"] == "wdcgan_generator"
        assert set(file.keys()) == set(model.state_dict())


def test_tied_weights_are_written_once_each(tmp_path):
    tied = torch.ones(2, 3)
    state, facts = read_tensors(tensor_bytes({"a": tied, "b": tied.T}, {"x": 1}))
    assert torch.equal(state["a"], state["b"].T)
    assert facts == {"x": 1}


def test_files_without_a_digest_are_read(saved):
    path, model = saved
    whole = read_model_file(path)
    torch.save({name: part for name, part in whole.items() if name != "sha256"}, path.with_suffix(".pt"))
    loaded, _ = load_model(path.with_suffix(".pt"))
    assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in model.state_dict().items())


def test_every_type_and_shape_of_tensor_has_a_digest(tmp_path):
    path = tmp_path / "judge.safetensors"
    blueprint = Blueprint("classifier", {"channels": 1, "classes": 3, "width": 4, "features": 8})
    save_model(path, blueprint.build(), blueprint)  # with batch normalisation: whole numbers of no dimension
    assert load_model(path)[1] == blueprint


def test_pickled_code_is_refused(tmp_path):
    path = tmp_path / "module.pt"
    torch.save(nn.Linear(1, 1), path)
    with pytest.raises(CheckpointError, match="is damaged or not a weights file"):
        load_model(path)


def test_other_formats_versions_and_builders(tmp_path):
    path = tmp_path / "file.pt"
    for content, message in (
        ({"weights": 1}, "not a ganpress model file"),
        ({"format": "ganpress-model", "version": 99}, "format version 99, but this program reads 1"),
        ({"format": "ganpress-model", "version": 1, "builder": "vgg", "arguments": {}}, "unknown builder 'vgg'"),
    ):
        torch.save(content, path)
        with pytest.raises(CheckpointError, match=message):
            load_model(path)
    with pytest.raises(CheckpointError, match=r"nothing\.pt does not exist"):
        load_model(tmp_path / "nothing.pt")


def test_failed_save_leaves_the_old_file(tmp_path):
    path = tmp_path / "file.pt"
    save_atomically(path, {"good": torch.ones(2)})
    with pytest.raises(Exception, match="pickle"):
        save_atomically(path, {"bad": lambda: None})
    assert [one.name for one in tmp_path.iterdir()] == ["file.pt"]
    assert torch.load(path)["good"].tolist() == [1, 1]
