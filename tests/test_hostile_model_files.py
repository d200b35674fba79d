"""Model files with wrong fields, and files that would take more memory or time than they should: one line each."""

import io
import pickle
import zipfile

import pytest
import torch
from torch import nn

from ganpress.errors import CheckpointError
from ganpress.files.blueprint_files import LARGEST_NUMBER
from ganpress.files.checkpoint import load_model, load_weights_only, read_model_file, save_model
from ganpress.files.torch_files import LARGEST_PICKLE_BYTES
from models.builders import Blueprint

BLUEPRINT = Blueprint("wdcgan_generator", {"spec": "2", "size": 16, "channels": 1})
GUARDS = ("weights_only", "safe_globals", "allowlist", "trust")
HUGE = "9" * 100_000


@pytest.fixture
def content(tmp_path):
    """What a model file holds; `written` makes one of before safetensors of it."""
    save_model(tmp_path / "g.safetensors", BLUEPRINT.build(), BLUEPRINT)
    return read_model_file(tmp_path / "g.safetensors")


def refusal(path, read=load_model):
    with pytest.raises(CheckpointError) as caught:
        read(path)
    line = str(caught.value)
    assert line.isprintable()
    assert not any(guard in line for guard in GUARDS)
    return line


def written(tmp_path, value):
    torch.save(value, tmp_path / "file.pt")
    return tmp_path / "file.pt"


@pytest.mark.parametrize("field", ["version", "builder", "arguments", "state_dict", "format"])
@pytest.mark.parametrize("value", [None, [], {}, 7, "x\n\x1b[2J", 1.5, True, torch.zeros(2), {"a": {"b": 1}}, {1: 2}])
def test_wrong_fields(tmp_path, content, field, value):
    refusal(written(tmp_path, content | {field: value}))


@pytest.mark.parametrize("field", ["version", "builder", "arguments", "state_dict", "format"])
def test_missing_fields(tmp_path, content, field):
    refusal(written(tmp_path, {name: value for name, value in content.items() if name != field}))


OWN = {"spec": "2", "size": 16, "channels": 1}
BASE = {"builder": "wdcgan_generator", "arguments": OWN}
UNET = {"spec": "ngf=2", "in_channels": 1, "out_channels": 1}
BITS = {"latent": 1, "widths": [1], "channels": 1, "weight_bits": 8, "activation_bits": 8}
WRONG_ARGUMENTS = [
    ("wdcgan_generator", OWN | {"spec": HUGE}, "'spec' is too long"),
    ("wdcgan_generator", OWN | {"spec": "2" * 10}, "a number of more than nine digits"),
    ("wdcgan_generator", OWN | {"spec": 2}, "'spec' must be text, found 2"),
    ("wdcgan_generator", {"spec": "2", "size": 16}, "lacks the argument 'channels'"),
    ("wdcgan_generator", OWN | {"depth": 2}, "has the argument 'depth', known are spec"),
    ("wdcgan_generator", OWN | {"size": float("nan")}, "must be a number up to"),
    ("wdcgan_generator", OWN | {"size": 16.0}, "'size' must be a whole number, found 16.0"),
    ("wdcgan_generator", OWN | {"size": True}, "'size' must be a whole number"),
    ("wdcgan_generator", OWN | {"size": -16}, "found -16"),
    ("wdcgan_generator", OWN | {"channels": -1}, "do not describe a valid network"),
    ("wdcgan_generator", {"spec": "65535", "size": 64, "channels": 65535}, "this architecture needs (524280,)"),
    ("wdcgan_discriminator", OWN | {"channels": 10**9}, f"up to {LARGEST_NUMBER:,}"),
    ("unet_generator", UNET | {"downs": 65_000}, "more than"),
    ("patch_discriminator", {"in_channels": 1, "ndf": 64, "layers": 65_000}, "at most 16 layers"),
    ("multiscale_discriminator", {"in_channels": 1, "ndf": 1, "layers": 1, "scales": 65_000}, "1 to 16 scales"),
    ("patch_discriminator", {"in_channels": 1, "ndf": 64, "norm": "none"}, "'norm' must be"),
    ("elastic", {"base": [], "widths": [[1]]}, "argument 'base' must be names with values"),
    ("elastic", {"base": {"builder": "elastic"}, "widths": [[1]]}, "must name a builder and its arguments"),
    ("elastic", {"base": BASE, "widths": [[]]}, "ascending"),
    ("elastic", {"base": BASE, "widths": 3}, "a list"),
    ("quantized_wdcgan", BITS | {"weight_bits": 77}, "2 to 8"),
    ("quantized_wdcgan", BITS | {"widths": [1] * 60_000}, "no W-DCGAN generator has these"),
]


@pytest.mark.parametrize(("builder", "arguments", "message"), WRONG_ARGUMENTS)
def test_wrong_arguments(tmp_path, content, builder, arguments, message):
    assert message in refusal(written(tmp_path, content | {"builder": builder, "arguments": arguments}))


def test_networks_inside_each_other_end_somewhere(tmp_path, content):
    arguments = dict(BLUEPRINT.arguments)
    builder = "wdcgan_generator"
    for _ in range(6):
        arguments, builder = {"base": {"builder": builder, "arguments": arguments}, "widths": [[1, 2]]}, "elastic"
    assert "inside each other" in refusal(written(tmp_path, content | {"builder": builder, "arguments": arguments}))


@pytest.mark.parametrize("depth", [20, 200])
def test_nested_values(tmp_path, content, depth):
    value = []
    for _ in range(depth):
        value = [value]
    refusal(written(tmp_path, content | {"arguments": {"spec": value}}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda one: one.double(), "is float64, this architecture needs float32"),
        (lambda one: one.to(torch.complex64), "is complex64"),
        (lambda one: one.flatten(), "this architecture needs"),
        (lambda one: one.to_sparse(), "only tensors and plain values are read"),
        (lambda one: one.to("meta"), "is damaged or not a weights file"),
        (lambda one: torch.zeros(1).expand(one.shape), "refers to the same numbers several times"),
        (lambda one: torch.zeros(1).expand(2**40), "refers to the same numbers several times"),
        (lambda one: None, "not a tensor"),
        (lambda one: one.numpy().tolist(), "not a tensor"),
    ],
)
def test_wrong_tensors(tmp_path, content, change, message):
    name = "blocks.0.conv.weight"
    state = dict(content["state_dict"])
    line = refusal(written(tmp_path, content | {"state_dict": {**state, name: change(state[name])}}))
    assert message in line


def test_names_are_printed_on_one_line(tmp_path, content):
    state = content["state_dict"] | {"a\n\x1b[31m" + "x" * 500: torch.zeros(1)}
    line = refusal(written(tmp_path, content | {"state_dict": state}))
    assert "which this architecture does not have" in line
    assert len(line) < 400


def _rewritten(path, change, compression=zipfile.ZIP_STORED):
    made = io.BytesIO()
    with zipfile.ZipFile(path) as origin, zipfile.ZipFile(made, "w", compression) as target:
        for name in origin.namelist():
            target.writestr(name, change(name, origin.read(name)))
    path.write_bytes(made.getvalue())
    return path


def test_compressed_records(tmp_path, content):
    path = _rewritten(written(tmp_path, content), lambda _, record: record, zipfile.ZIP_DEFLATED)
    assert "its records are compressed, which torch.save never does" in refusal(path)


class _Call:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (_Call(bytearray, 2**36), "bytearray"),
        (_Call(eval, "1"), "eval"),
        (_Call(torch.zeros, 2**40), "getattr"),
        (_Call(set, (1,)), "set"),
        (nn.Linear(1, 1), "torch.nn.modules.linear.Linear"),
    ],
)
def test_calls_of_anything_but_tensors(tmp_path, value, named):
    pickled = pickle.dumps({"x": value}, 2)
    path = _rewritten(written(tmp_path, {}), lambda name, one: pickled if name.endswith("data.pkl") else one)
    line = refusal(path, load_weights_only)
    assert named in line
    assert "only tensors and plain values are read; save `model.state_dict()`" in line
    torch.save({"x": 1}, path, _use_new_zipfile_serialization=False)
    path.write_bytes(pickled)
    assert named in refusal(path, load_weights_only)


def test_large_pickles_and_long_numbers(tmp_path):
    pickled = pickle.dumps("x" * (LARGEST_PICKLE_BYTES + 1), 2)
    path = _rewritten(written(tmp_path, {}), lambda name, one: pickled if name.endswith("data.pkl") else one)
    assert "its names and values take" in refusal(path, load_weights_only)
    assert "a number of more than 16 bytes" in refusal(written(tmp_path, {"x": 10**1000}), load_weights_only)


def test_a_tensor_that_claims_more_than_its_record_holds(tmp_path):
    """torch believes the claim, and reads what lies behind in memory."""
    path = written(tmp_path, {"x": torch.arange(4, dtype=torch.int32)})
    claim = pickle.dumps(4, 2)[2:-1]
    assert claim == b"K\x04"

    def lie(name, record):
        return (
            record.replace(b"K\x04tq", b"M\xff\xfftq").replace(b"K\x04\x85", b"M\xff\xff\x85")
            if "pkl" in name
            else record
        )

    before = path.read_bytes()
    assert _rewritten(path, lie).read_bytes() != before
    refusal(path, load_weights_only)


def test_values_that_hold_themselves(tmp_path, monkeypatch):
    monkeypatch.setattr("ganpress.files.torch_files.MOST_VALUES", 20_000)  # counting to two million takes seconds
    itself = []
    itself.append(itself)
    assert "nested deeper" in refusal(written(tmp_path, {"x": itself}), load_weights_only)
    doubled = [0]
    for _ in range(40):
        doubled = [doubled, doubled]
    assert "more than 20,000" in refusal(written(tmp_path, {"x": doubled}), load_weights_only)


@pytest.mark.parametrize("legacy", [True, False])
def test_honest_files_come_back(tmp_path, legacy):
    """Shared, transposed and empty tensors, parameters, whole numbers and texts; of both formats of torch.save."""
    weight = torch.randn(3, 4)
    value = {"a": weight, "tied": weight, "t": weight.t(), "row": weight[1], "n": torch.tensor(3), "e": torch.empty(0)}
    value |= {"p": nn.Parameter(weight.clone()), "facts": {"lr": 0.1, "steps": [1, 2], "at": (1, "x", None, True)}}
    torch.save(value, tmp_path / "f.pt", _use_new_zipfile_serialization=not legacy)
    read = load_weights_only(tmp_path / "f.pt")
    torch.save({"one": (state := {"x": torch.ones(9)}), "other": state}, tmp_path / "twice.pt")
    assert load_weights_only(tmp_path / "twice.pt")["other"]["x"].tolist() == [1.0] * 9
    (tmp_path / "f.pt").write_bytes(b"\0" * 4096)  # what was read is no part of the file any more
    assert read["facts"] == value["facts"]
    assert all(torch.equal(read[name], value[name]) for name in value if name != "facts")
    assert read["t"].stride() == value["t"].stride()
    assert read["a"].untyped_storage().data_ptr() == read["tied"].untyped_storage().data_ptr()
    assert isinstance(read["p"], nn.Parameter)


def test_loading_leaves_the_global_random_state_as_one_construction_does(tmp_path, content):
    path = written(tmp_path, content)
    torch.manual_seed(3)
    BLUEPRINT.build()
    expected = torch.get_rng_state()
    torch.manual_seed(3)
    load_model(path)
    assert torch.equal(torch.get_rng_state(), expected)
