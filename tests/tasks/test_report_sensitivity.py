"""Scans of layers over bits, read for the report: absent ones are left out, damaged ones are named."""

import json

import pytest

from ganpress.errors import DataError
from tasks.shared.report_sensitivity import sensitivities

SCAN = {"head": {"macs": 10, "weights": {"2": 0.5, "8": 0.001}, "activations": {"2": 0.25}, "bytes": {"2": 20}}}


@pytest.fixture
def write(tmp_path):
    def record(item, content):
        folder = tmp_path / "compress" / item
        folder.mkdir(parents=True)
        (folder / "compression.json").write_text(content if isinstance(content, str) else json.dumps(content))

    return record


def test_scans_come_in_the_order_of_the_items(tmp_path, write):
    write("w4", {"scan": SCAN})
    write("plain", {"source": "teacher"})
    write("w8", {"scan": SCAN})
    found = sensitivities(tmp_path, ["w8", "gone", "plain", "w4"])
    assert [one.item for one in found] == ["w8", "w4"]
    assert found[0].weights == {"head": {2: 0.5, 8: 0.001}}
    assert found[0].activations == {"head": {2: 0.25}}


@pytest.mark.parametrize(
    "content",
    [
        "{",
        {"scan": {"head": {"weights": {"2": 0.5}}}},
        {"scan": {"head": {"weights": {"two": 0.5}, "activations": {}}}},
        {"scan": {"head": {"weights": {"2": None}, "activations": {}}}},
        {"scan": ["head"]},
    ],
)
def test_damaged_records_are_named_with_what_to_do(tmp_path, write, content):
    write("w4", content)
    with pytest.raises(DataError, match=r"compression\.json is damaged \(.*\); delete it and run `dvc repro"):
        sensitivities(tmp_path, ["w4"])
