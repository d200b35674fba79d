"""Edge files that were cut or changed, or need a kernel that the installed runtime does not have: one line for each."""

import re

import pytest
import torch
from torch import nn

from ganpress.edge.proof.card_writing import TargetFacts, write_card
from ganpress.edge.proof.edge_card import Lineage, read_card
from ganpress.edge.proof.verification import verify_export
from ganpress.edge.targets.target import UnsupportedGenerator
from ganpress.errors import CheckpointError
from ganpress.registries import TARGETS

LINEAGE = Lineage(source="teacher", source_md5="0" * 32, builder="wdcgan_generator")
RUNTIMES = {"onnx": "ONNX Runtime", "openvino": "OpenVINO", "executorch": "ExecuTorch"}
EXAMPLE = torch.rand((2, 3, 8, 8), generator=torch.Generator().manual_seed(0)) * 2 - 1
SLOW = pytest.mark.slow  # importing and lowering take half a minute


class CumulativeSum(nn.Module):
    """An operator that no target delegates."""

    def forward(self, x):
        return torch.tanh(torch.cumsum(x, 1))


class Determinant(nn.Module):
    def forward(self, x):
        return x * torch.linalg.det(x)[..., None, None]


def network(last):
    model = nn.Sequential()
    model.add_module("body", nn.Conv2d(3, 3, 3, padding=1))
    model.add_module("head", last)
    return model.eval()


@pytest.fixture(scope="module", params=["onnx", "openvino", pytest.param("executorch", marks=SLOW)])
def written(request, tmp_path_factory):
    """One exported generator with its card, the files' contents, and its target."""
    target = TARGETS[request.param]
    if target.missing():
        pytest.skip(f"needs {target.missing()}")
    path = tmp_path_factory.mktemp(target.name) / f"generator{target.suffix}"
    model = network(CumulativeSum())
    files = target.write(model, path, EXAMPLE)
    proof = verify_export(model, path, EXAMPLE, 1e-4, target=target)
    write_card(path, model, EXAMPLE[:1], proof, LINEAGE, facts=TargetFacts(target.version(), target.name, files))
    return target, path, {one: one.read_bytes() for one in files}


@pytest.fixture
def file(written):
    """The same, its files fixed after each test."""
    target, path, contents = written
    yield target, path
    for one, content in contents.items():
        one.write_bytes(content)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
def test_truncated_files_are_refused_by_the_runtime_and_by_the_card(file, share):
    target, path = file
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError) as refused:
        target.open(path)
    assert re.search(rf"cannot be loaded by {RUNTIMES[target.name]}: .*; export it again", str(refused.value))
    assert "\n" not in str(refused.value)
    with pytest.raises(CheckpointError, match=r"bytes, its card says [\d,]+: truncated; export again"):
        read_card(path)


def test_changed_weights_are_found_by_their_digest(file):
    """Runtimes load them without a word."""
    target, path = file
    for one in (path, *([path.with_suffix(".bin")] if target.name == "openvino" else [])):
        content = bytearray(one.read_bytes())
        content[len(content) // 2] ^= 1
        one.write_bytes(content)
        with pytest.raises(
            CheckpointError, match=r"has sha256 \w{12}…, its card says .*: it was changed after the exp"
        ):
            read_card(path)
        content[len(content) // 2] ^= 1
        one.write_bytes(content)
    assert read_card(path).file == path.name


def test_operator_that_the_installed_runtime_has_not_is_named(file):
    target, path = file
    names = {"onnx": (b"CumSum", b"CumSux"), "openvino": (b"CumSum", b"CumSux")}
    known, unknown = names.get(target.name, (b"aten::cumsum", b"aten::cumsux"))
    content = path.read_bytes()
    assert known in content
    path.write_bytes(content.replace(known, unknown))
    with pytest.raises(CheckpointError) as refused:
        target.open(path)
    message = str(refused.value)
    assert re.search(r"needs a kernel that (onnxruntime|openvino|executorch) [\d.]+ does not have: ", message)
    assert unknown.decode() in message
    assert "`uv sync --upgrade-package " in message
    assert "\n" not in message


def test_openvino_names_the_operator_that_it_cannot_run_and_its_layer(tmp_path):
    if TARGETS["openvino"].missing():
        pytest.skip(f"needs {TARGETS['openvino'].missing()}")
    with pytest.raises(UnsupportedGenerator, match=r"OpenVINO cannot run .*: the operator linalg_det of layer 'head'$"):
        TARGETS["openvino"].write(network(Determinant()), tmp_path / "generator.xml", EXAMPLE)
    assert not list(tmp_path.iterdir())


@SLOW
@pytest.mark.needs_target("executorch")
def test_a_program_that_would_abort_the_process_is_refused_in_one_line(trained_like, tmp_path):
    """ExecuTorch ends its process when it words an error with a name that is no text; another process finds out."""
    path = tmp_path / "generator.pte"
    TARGETS["executorch"].write(trained_like("2", 16, 1), path, torch.randn(2, 100), "float32")
    content = path.read_bytes()
    assert b"XnnpackBackend" in content
    path.write_bytes(content.replace(b"XnnpackBackend", b"\xff" * len("XnnpackBackend")))
    with pytest.raises(CheckpointError, match=r"is damaged: ExecuTorch ended by signal 6|cannot be loaded"):
        TARGETS["executorch"].open(path)
