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

from ganpress.errors import GanpressError
from ganpress.imported.importing import ImportRequest
from models.imported_adapter import InputPart
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
