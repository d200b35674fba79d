import json

import pytest

from ganpress.data.raw.dataset_card import DatasetCard, display_name, read_card, with_place


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("digits", "digits"),
        ("folder:a/b", "folder:<a/b>"),
        ("pairs:a/b", "pairs:<a/b>"),
        ("pairs:a/b:BA", "pairs:<a/b>:BA"),
        ("unpaired:a", "unpaired:<a>"),
        ("edges:mnist", "edges:mnist"),
        ("edges:folder:a", "edges:folder:<a>"),
        ("domains:digits:0,1:2", "domains:digits:0,1:2"),
        ("domains:folder:a:x:y z", "domains:folder:<a>:x:y z"),
        ("made:up", "made:up"),
    ],
)
def test_only_the_place_in_a_source_is_changed(source, expected):
    assert with_place(source, lambda path: f"<{path}>") == expected


def test_a_place_is_shown_by_its_own_name():
    assert display_name("segments:folder:/somewhere/else/faces") == "segments:folder:faces"


def test_unconditional_card_keeps_the_keys_that_it_always_had(tmp_path):
    DatasetCard("digits", "idx", {"train": 1}).save(tmp_path)
    keys = set(json.loads((tmp_path / "dataset.json").read_text()))
    assert keys == {"source", "layout", "counts", "classes", "origin"}
    assert read_card(tmp_path).pairing is None


def test_conditional_card_survives_a_round_trip(tmp_path):
    card = DatasetCard("x", "zip", {"train": 1}, [], "", "semantic", ["sky", "road"])
    card.save(tmp_path)
    assert read_card(tmp_path) == card
