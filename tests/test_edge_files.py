"""Names of edge files: an edge file is found in a folder with all files that belong to it."""

from pathlib import Path

import pytest

from ganpress.files.edge_files import edge_name, edge_names, find_edge_file, parts_of
from ganpress.registries import TARGETS


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", TARGETS)
def test_file_of_each_target_is_found(tmp_path, name, packed):
    for other in ("card.json", "metrics.json", "generator.bin", "generator.bin.zst", "generator.safetensors"):
        (tmp_path / other).touch()
    path = tmp_path / edge_name(name, packed)
    path.touch()
    assert find_edge_file(tmp_path) == path
    assert path.name == f"generator{TARGETS[name].suffix}" + (".zst" if packed else "")


def test_names_are_one_each():
    assert len(set(edge_names())) == 2 * len(TARGETS)


def test_nothing_is_found_where_there_is_nothing(tmp_path):
    (tmp_path / "generator.safetensors").touch()
    assert find_edge_file(tmp_path) is None
    assert find_edge_file(tmp_path / "gone") is None


@pytest.mark.parametrize(
    ("opened", "parts"),
    [
        ("generator.onnx", ["generator.onnx"]),
        ("generator.pte.zst", ["generator.pte.zst"]),
        ("d=64.xml", ["d=64.xml", "d=64.bin"]),
        ("generator.xml.zst", ["generator.xml.zst", "generator.bin.zst"]),
        ("generator.safetensors", ["generator.safetensors"]),
    ],
)
def test_parts_of_a_file(opened, parts):
    assert parts_of(Path("folder") / opened) == tuple(Path("folder") / name for name in parts)
