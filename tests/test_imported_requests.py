"""What an import refuses: one clear line, and nothing written."""

import re
import sys
from pathlib import Path

import pytest
import torch

from ganpress.compression.pruning.structured_pruning import prune_channels
from ganpress.errors import CheckpointError, ConfigError
from ganpress.files.checkpoint import read_model_file
from ganpress.imported.import_card import imported_names, load_imported, read_card
from ganpress.imported.importing import ImportRequest, import_generator
from models.builders import Blueprint
from models.imported_adapter import image_of
from models.imported_generator import ImportedGenerator, build_network, imported_generator, parse_percents

IMAGE = (1, 3, 8, 8)


@pytest.fixture(autouse=True)
def foreign(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(Path(__file__).parent / "foreign"), *sys.path])


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    """A project with a module of its own."""
    (tmp_path / "my_network.py").write_text(
        "from odd_networks import global_residual as build\ndef make(): return build()\n"
    )
    monkeypatch.delitem(sys.modules, "my_network", raising=False)
    yield tmp_path
    sys.modules.pop("my_network", None)


def _refusal(root, source, **more):
    """The one line that an import ends with, which leaves nothing behind."""
    request = ImportRequest(source, more.pop("weights", None), more.pop("example", IMAGE), **more)
    with pytest.raises((ConfigError, CheckpointError)) as caught:
        import_generator(root, request)
    assert "\n" not in str(caught.value)
    assert not (root / "imported").exists() or list((root / "imported").iterdir()) == []
    return str(caught.value)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("no_such_module:build", "module 'no_such_module' cannot be imported from .*: ModuleNotFoundError"),
        ("bad_networks", "'bad_networks' does not name a function; write module:function"),
        ("net.pt2", "net.pt2 is a finished program.*ganpress compress.*name the function"),
        ("bad_networks:build", r"module 'bad_networks' \(.*bad_networks.py\) has no function 'build'"),
        ("bad_networks:NUMBER", "has no function 'NUMBER'"),
        ("bad_networks:fails", r"bad_networks:fails\(\) failed: RuntimeError: no such file: config.yaml"),
        ("bad_networks:not_a_module", r"bad_networks:not_a_module\(\) must return a torch.nn.Module, found str"),
        ("bad_networks:data_dependent", "the network cannot be traced: it needs the values of a tensor to go on"),
        ("bad_networks:lazy", r"layer '0' of bad_networks:lazy has no weights before its first call \(LazyConv2d\)"),
        ("bad_networks:scripted_inside", "layer '1' of bad_networks:scripted_inside is compiled by TorchScript"),
        ("bad_networks:keeps_results", "keeps results of its last call in the attribute 'kept'; keep nothing, or"),
        ("bad_networks:dynamic_shape", "the size of its images depends on the input's values"),
        ("bad_networks:random", "draws random numbers in its forward .*add --noise fixed .* or --noise input"),
        ("bad_networks:normalised_by_batch", "draws other images from a batch than from its inputs one by one"),
        ("bad_networks:vector", r"must draw float images \(N, channels, height, width\); it gives \(1, 3\)"),
        (
            "bad_networks:nothing",
            "must return a tensor, or a mapping or tuple .*--output names which result is the image",
        ),
        ("bad_networks:nan", "draws NaN or infinite pixels"),
        ("bad_networks:hidden_state", "rebuilt from its state_dict, the network draws other images"),
    ],
)
def test_unusable_functions(tmp_path, source, message):
    assert re.search(message, _refusal(tmp_path, source))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"example": None}, "needs --example-input, e.g. 1x3x256x256"),
        ({"example": (2, 3, 8, 8)}, "--example-input is one sample, .*; found 2x3x8x8"),
        ({"example": (1, 3, 8)}, "does not run on an input of 1x3x1x8"),
        ({"example": (1, 4, 3, 8, 8)}, "--example-input is one sample, .*; found 1x4x3x8x8: films and volumes"),
        ({"example": (1, 4, 8, 8)}, "does not run on an input of 1x4x8x8: RuntimeError: Given groups=1"),
        ({"name": "../up"}, r"the name of an imported generator is letters, digits, '_' and '-', found '\.\./up'"),
        ({"input_range": (1.0, 0.0)}, "--input-range must be the values of black and white, ascending"),
    ],
)
def test_unusable_requests(tmp_path, more, message):
    assert re.search(message, _refusal(tmp_path, "odd_networks:global_residual", **more))


def test_module_with_a_mistake(own_module):
    (own_module / "my_network.py").write_text("def build(:\n")
    line = _refusal(own_module, "my_network:build")
    assert re.search("module 'my_network' cannot be imported from .*SyntaxError", line)


def test_weights_that_do_not_fit_name_the_first_layer(tmp_path):
    state = build_network("odd_networks:global_residual").state_dict()
    torch.save({**state, "b.weight": torch.zeros(3, 9, 3, 3)}, tmp_path / "w.pt")
    line = _refusal(tmp_path, "odd_networks:global_residual", weights=tmp_path / "w.pt")
    assert "'b.weight' is (3, 9, 3, 3), this architecture needs (3, 8, 3, 3)" in line
    torch.save({name: tensor for name, tensor in state.items() if name != "a.bias"}, tmp_path / "w.pt")
    assert "lacks 'a.bias' (8,)" in _refusal(tmp_path, "odd_networks:global_residual", weights=tmp_path / "w.pt")


def test_failed_import_leaves_the_former_one(tmp_path):
    request = ImportRequest("odd_networks:global_residual", None, IMAGE, "net")
    import_generator(tmp_path, request)
    before = (tmp_path / "imported" / "net" / "generator.safetensors").read_bytes()
    with pytest.raises(ConfigError, match="other images"):
        import_generator(tmp_path, ImportRequest("bad_networks:hidden_state", None, IMAGE, "net"))
    assert (tmp_path / "imported" / "net" / "generator.safetensors").read_bytes() == before
    assert [path.name for path in (tmp_path / "imported").iterdir()] == ["net"]


def test_second_import_replaces_the_first(tmp_path):
    import_generator(tmp_path, ImportRequest("odd_networks:global_residual", None, IMAGE, "net"))
    import_generator(tmp_path, ImportRequest("odd_networks:used_twice", None, IMAGE, "net"))
    assert read_card(tmp_path, "net").source == "odd_networks:used_twice"
    assert [path.name for path in (tmp_path / "imported").iterdir()] == ["net"]


def test_a_generator_that_was_imported_before_safetensors_is_there(tmp_path):
    import_generator(tmp_path, ImportRequest("odd_networks:used_twice", None, IMAGE, "net"))
    image = torch.rand(IMAGE)
    expected = load_imported(tmp_path, "net")[0](image)
    path = tmp_path / "imported" / "net" / "generator.safetensors"
    torch.save(read_model_file(path), path.with_suffix(".pt"))
    path.unlink()
    assert imported_names(tmp_path) == ["net"]
    assert torch.equal(load_imported(tmp_path, "net")[0](image), expected)


def test_changed_module_is_refused(own_module, monkeypatch):
    monkeypatch.chdir(own_module)
    import_generator(own_module, ImportRequest("my_network:make", None, IMAGE))
    load_imported(own_module, "my_network")
    with (own_module / "my_network.py").open("a") as file:
        file.write("# edited\n")
    with pytest.raises(ConfigError, match="my_network.py has changed since the import"):
        load_imported(own_module, "my_network")


def test_missing_name_lists_those_there_are(tmp_path):
    with pytest.raises(ConfigError, match=re.escape("no imported generator 'net' (imported: none yet)")):
        load_imported(tmp_path, "net")
    import_generator(tmp_path, ImportRequest("odd_networks:used_twice", None, IMAGE, "other"))
    with pytest.raises(ConfigError, match=re.escape("no imported generator 'net' (imported: other)")):
        load_imported(tmp_path, "net")


@pytest.mark.parametrize(("text", "message"), [(None, "import.json is missing"), ("{", "import.json is damaged")])
def test_damaged_card(tmp_path, text, message):
    import_generator(tmp_path, ImportRequest("odd_networks:used_twice", None, IMAGE, "net"))
    path = tmp_path / "imported" / "net" / "import.json"
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(CheckpointError, match=message):
        load_imported(tmp_path, "net")


def test_network_that_cannot_be_thinned_has_one_spec(tmp_path):
    import_generator(tmp_path, ImportRequest("bad_networks:weight_norm", None, IMAGE, "net"))
    assert read_card(tmp_path, "net").groups == []
    _, blueprint = load_imported(tmp_path, "net")
    with pytest.raises(ValueError, match="its only spec is '100', not '50'"):
        Blueprint("imported", blueprint.arguments | {"spec": "50"}).build()
    with pytest.raises(ValueError, match="2 numbers; this generator takes 1 or 3"):
        parse_percents("50_50", 3)


def test_ranges_are_mapped_to_and_from_the_convention():
    network = torch.nn.Identity()
    x = torch.tensor([-1.0, 0.0, 1.0])
    assert torch.equal(ImportedGenerator(network)(x), x)
    assert ImportedGenerator(network, (0.0, 1.0))(x).tolist() == [0.0, 0.5, 1.0]
    assert ImportedGenerator(network, output_range=(0.0, 255.0))((x + 1) * 127.5).tolist() == [-1.0, 0.0, 1.0]


@pytest.mark.parametrize("wrap", [lambda x: {"out": x, "aux": -x}, lambda x: (x, -x), lambda x: [[x]]])
def test_first_of_several_results_is_the_image(wrap):
    x = torch.ones(1)
    assert image_of(wrap(x)) is x


def test_skeletons_do_not_call_the_users_function(monkeypatch):
    arguments = {"spec": "100", "groups": {}, "example": [*IMAGE], "input_range": [-1, 1], "output_range": [-1, 1]}
    with torch.device("meta"):
        imported_generator("odd_networks:gated", **arguments)
        monkeypatch.setattr("models.imported_generator.build_network", lambda _: pytest.fail("called again"))
        made = imported_generator("odd_networks:gated", **arguments)
    assert {parameter.device.type for parameter in made.parameters()} == {"meta"}


def test_building_leaves_the_global_random_state():
    before = torch.get_rng_state()
    build_network("odd_networks:grouped")
    assert torch.equal(torch.get_rng_state(), before)


def test_copies_of_a_skeleton_share_no_module():
    made = [imported_generator_on_meta("odd_networks:used_twice") for _ in range(2)]
    modules = [{id(module) for module in network.modules()} for network in made]
    assert not modules[0] & modules[1]
    made[0].network.b.train(False).out_channels = 1
    assert made[1].network.b.training
    assert made[1].network.b.out_channels == 8


def imported_generator_on_meta(factory):
    with torch.device("meta"):
        return imported_generator(factory, "100", {}, [*IMAGE], [-1, 1], [-1, 1])


def test_channels_of_a_network_that_cannot_be_thinned_are_not_cut(tmp_path):
    import_generator(tmp_path, ImportRequest("bad_networks:weight_norm", None, IMAGE, "net"))
    model, blueprint = load_imported(tmp_path, "net")
    with pytest.raises(ConfigError, match="has no group of channels that could be cut; leave out width"):
        prune_channels(model, blueprint, 0.5, torch.zeros(IMAGE))
