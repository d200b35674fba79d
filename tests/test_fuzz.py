"""A short run of the fuzzer with the same inputs each time, so that a result can be reproduced."""

import zipfile

import pytest

from benchmarks.fuzz.running import run_target
from benchmarks.fuzz.targets import TARGETS_BY_NAME
from ganpress.errors import DataError

LONG = ("openvino", "executorch", "executorch_vulkan", "executorch_coreml", "mnn", "ncnn", "coreml")
"""Their packages may be absent, and writing the first file takes seconds; `python -m benchmarks.fuzz` runs them."""


@pytest.mark.parametrize("name", [name for name in TARGETS_BY_NAME if name not in LONG])
def test_readers_take_changed_files_or_refuse_them_in_one_line(tmp_path, capsys, name):
    counts = run_target(name, seconds=60, seed=0, findings=tmp_path, inputs=12)
    assert counts.findings == 0, capsys.readouterr().out
    assert counts.inputs == 12
    assert counts.refused > 0 or name == "lines"  # a line that cannot be read is measured again
    assert counts.accepted > 0  # the first input is an honest file


def test_names_in_an_archive_reach_no_terminal_as_they_are(tmp_path):
    path = tmp_path / "images.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("train/a/1.png", "test/a/2.png", "\x1b[2J\u00a0rain/a/3.png"):
            archive.writestr(name, b"no picture")
    with pytest.raises(DataError, match="are outside the split folders") as caught:
        TARGETS_BY_NAME["zip"].read(path)
    assert r"\x1b[2J\xa0rain" in str(caught.value)
    assert str(caught.value).isprintable()
