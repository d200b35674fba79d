import numpy as np
import pytest
import torch

from ganpress.data.prepared.arrays import Conditioning, PreparedMeta
from ganpress.data.prepared.generator_inputs import LatentInputs, SourceInputs, canvas_of, open_inputs
from ganpress.data.prepared.pairs import SourceArray
from models.family import Canvas


@pytest.fixture
def sources():
    pixels = np.random.default_rng(0).integers(0, 256, (50, 3, 4, 6), np.uint8)
    return SourceInputs(SourceArray(pixels))


@pytest.fixture(params=["latents", "sources"])
def inputs(request):
    return LatentInputs() if request.param == "latents" else request.getfixturevalue("sources")


def test_equal_seed_and_purpose_give_equal_inputs(inputs):
    assert torch.equal(inputs.draw(1, "evaluate", 20), inputs.draw(1, "evaluate", 20))
    assert not torch.equal(inputs.draw(1, "evaluate", 20), inputs.draw(1, "gallery", 20))
    assert not torch.equal(inputs.draw(1, "evaluate", 20), inputs.draw(2, "evaluate", 20))


def test_batches_are_the_draw_in_pieces(inputs):
    pieces = list(inputs.batches(1, "evaluate", 23, batch_size=5))
    assert [len(piece) for piece in pieces] == [5, 5, 5, 5, 3]
    assert torch.equal(torch.cat(pieces), inputs.draw(1, "evaluate", 23))


def test_example_has_the_shape_of_one_input(inputs):
    assert inputs.example().shape == inputs.draw(1, "evaluate", 1).shape


def test_sources_come_once_each_and_name_their_rows(sources):
    rows = sources.rows(1, "evaluate", 20)
    assert len(set(rows.tolist())) == 20
    assert torch.equal(sources.draw(1, "evaluate", 20), sources.sources.batch(rows))
    assert len(sources.draw(1, "evaluate", 999)) == len(sources) == 50


def meta(conditioning: Conditioning | None) -> PreparedMeta:
    return PreparedMeta("digits", 8, 3, [], {"train": 4}, "none", 16, conditioning)


def test_the_data_says_which_inputs_there_are(tmp_path):
    meta(None).save(tmp_path)
    assert isinstance(open_inputs(tmp_path, "test"), LatentInputs)
    meta(Conditioning("semantic", 5, 8, 16, list("abcde"), {"test": 4})).save(tmp_path)
    np.save(tmp_path / "test_sources.npy", np.full((4, 1, 8, 16), 3, np.uint8))
    drawn = open_inputs(tmp_path, "test").draw(1, "evaluate", 4)
    assert drawn.shape == (4, 5, 8, 16)
    assert torch.equal(drawn.argmax(1), torch.full((4, 8, 16), 3))


def test_canvas_is_what_is_read_and_drawn():
    assert canvas_of(meta(None)) == Canvas(3, 8, 16)
    source = Conditioning("paired", 1, 4, 8, [], {"test": 4})
    assert canvas_of(meta(source)).source_shape == (1, 4, 8)
