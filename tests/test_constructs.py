"""Constructs of published generators, one small module each, from import to an edge file in integers.

The modules lie in a folder beside the checkout, or in the one that GANPRESS_CONSTRUCTS names; the first line of each
says what it reads. Each must go through, or be refused in one line where it is out of scope.
"""

import contextlib
import os
import re
import shutil
from pathlib import Path

import pytest
import torch

from ganpress.errors import GanpressError
from ganpress.imported.importing import ImportRequest
from ganpress.imported.program_files import read_program
from models.imported_adapter import InputPart, image_of
from models.imported_generator import build_network
from tests.constructs import pass_through

CHECKOUT = Path(__file__).resolve().parents[1]
FOLDER = Path(os.environ.get("GANPRESS_CONSTRUCTS", CHECKOUT.parent / "shared" / "cases" / "constructs"))
FILES = sorted(FOLDER.glob("*.py"))
OPTIONS = {
    "image_and_label": {"inputs": (InputPart("x", (3, 16, 16)), InputPart("c", (5,)))},
    "list_input": {"inputs": (InputPart("styles[]", (32,)),)},
    "noise_inside": {"noise": "fixed"},
}
"""What some of them need to be told; else their first line tells all."""
OUT_OF_SCOPE = {
    "tabular": "rows of a table, films and volumes are out of scope",
    "value_branch": "decides by values of the whole batch",
    "video_frames": "films and volumes are out of scope",
}
ENOUGH_DB = 15.0
"""Of integers with random weights: those of a network that computes something else stay around 0 dB."""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", FILES or [None], ids=[path.stem for path in FILES] or ["none"])
def test_a_construct_goes_through_or_is_refused_in_one_line(path, tmp_path):
    if path is None:
        pytest.skip(f"no constructs: set GANPRESS_CONSTRUCTS (looked at {FOLDER})")
    shutil.copy(path, tmp_path)
    found = re.search(r"example-input: (\S+)", path.read_text())
    assert found is not None
    options = OPTIONS.get(path.stem, {})
    shape = None if "inputs" in options else tuple(map(int, found[1].split("x")))
    request = ImportRequest(f"{path.name}:build", None, shape, **options)
    with contextlib.chdir(tmp_path):
        if path.stem in OUT_OF_SCOPE:
            with pytest.raises(GanpressError, match=OUT_OF_SCOPE[path.stem]) as caught:
                pass_through(tmp_path, request)
            assert "\n" not in str(caught.value)
            return
        outcome = pass_through(tmp_path, request)
    assert outcome.int8_snr_db is None or outcome.int8_snr_db > ENOUGH_DB
    assert outcome.float_error < 1e-4
    assert outcome.int8_file_snr_db is None or outcome.int8_file_snr_db > 60
    assert outcome.losses[1] <= outcome.losses[0]


NO_PROGRAM = {
    "deform_conv": (".pt2", ".onnx"),  # an operator of torchvision's
    "fft_conv": (".pt2", ".onnx"),  # transforms
    "noise_inside": (".pt2", ".onnx"),  # draws numbers itself
    "value_branch": (".pt2",),  # torch.export refuses it
    "adain_attribute": (".onnx",),  # weights of a normalisation that are computed
    "padding_modes": (".onnx",),  # what torch writes for circular borders, ONNX Runtime cannot run
    "spectral_norm_param": (".onnx",),  # torch writes no such file
    "multihead_attention": (".onnx",),  # the batch stands within other numbers of its shapes
}
"""Those that do not come through as one file, and of which kind."""
SEVERAL_INPUTS = frozenset({"image_and_label", "list_input"})


def what_hinders(network, x, file):
    """Why a network does not come through as one file; None where it does."""
    try:
        if file.suffix == ".pt2":
            torch.export.save(torch.export.export(network, (x,)), file)
        else:
            torch.onnx.export(network, (x,), str(file), dynamo=False)
    except Exception as error:  # torch's exporters raise many types
        return f"torch cannot export it: {type(error).__name__}"
    try:
        read, _ = read_program(file)
    except GanpressError as error:
        return str(error)
    with torch.no_grad():
        alike = torch.allclose(image_of(read(x)), image_of(network(x)), atol=1e-5)
    return None if alike else "it draws something else"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("suffix", [".pt2", ".onnx"])
@pytest.mark.parametrize("path", FILES or [None], ids=[path.stem for path in FILES] or ["none"])
def test_a_construct_comes_through_as_one_file(path, suffix, tmp_path):
    if path is None or path.stem in SEVERAL_INPUTS:
        pytest.skip("no constructs, or one of several inputs")
    shape = tuple(map(int, re.search(r"example-input: (\S+)", path.read_text())[1].split("x")))
    with contextlib.chdir(path.parent):
        network = build_network(f"{path.name}:build").eval().float()
    reason = what_hinders(network, torch.randn(shape), tmp_path / f"generator{suffix}")
    assert (reason is not None) == (suffix in NO_PROGRAM.get(path.stem, ())), reason
