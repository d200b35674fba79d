"""Networks of several inputs, lists, classes, layouts, random numbers and ranges, behind one tensor."""

import sys
from pathlib import Path

import pytest
import torch

from ganpress.compression.quantization import QuantizationConfig, quantize
from ganpress.data.prepared.generator_inputs import LatentInputs
from ganpress.edge.graphs.onnx_export import export_onnx
from ganpress.edge.onnx_runtime import OnnxGenerator
from ganpress.errors import ConfigError
from ganpress.imported.import_card import load_imported
from ganpress.imported.importing import ImportRequest, import_generator
from ganpress.metrics.fidelity import compare_outputs
from models.imported_adapter import Adapter, Drawn, InputPart
from models.imported_generator import build_network

FOREIGN = Path(__file__).parent / "foreign"
PICTURE = (1, 3, 16, 16)


@pytest.fixture(scope="module", autouse=True)
def foreign_modules():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(FOREIGN), *sys.path])
        yield


def imported(root, name, example=None, **options):
    """Card and generator of a network of `foreign/adapters.py`, and the network itself with the same weights."""
    network = build_network(f"adapters:{name}").eval()
    torch.save(network.state_dict(), root / "w.pt")
    card = import_generator(root, ImportRequest(f"adapters:{name}", root / "w.pt", example, **options))
    return card, load_imported(root, "adapters")[0], network


def inputs(count, *shape):
    return torch.rand((count, *shape), generator=torch.Generator().manual_seed(3)) * 2 - 1


def survives_the_edge(generator, x, path):
    """Integers come near, and the file of these draws what they draw, whatever the batch."""
    quantized = quantize(generator, x, QuantizationConfig(8, 8))
    assert compare_outputs(generator, quantized, x).snr_db > 20
    export_onnx(quantized, path, x[:1])
    for count in (1, 3):
        found = compare_outputs(quantized, OnnxGenerator(path, 1), x[:count])
        assert found.snr_db is None or found.snr_db > 60


@torch.no_grad()
def test_latents_and_class_numbers(tmp_path):
    parts = (InputPart("z", (8,)), InputPart("y", (), "int64", 10))
    card, generator, network = imported(tmp_path, "Conditional", inputs=parts)
    assert card.input_shape == [1, 9]
    z, y = inputs(4, 8), torch.tensor([0, 3, 7, 9])
    packed = torch.cat((z, torch.special.ndtri((2 * y[:, None] + 1) / 20)), 1)
    assert torch.allclose(generator(packed), network(z, y), atol=1e-6)
    assert any("class k of 'y'" in note and "(2 k + 1) / 20, at place 8" in note for note in card.notes)
    survives_the_edge(generator, packed, tmp_path / "g.onnx")


def test_latents_that_are_drawn_anywhere_hold_every_class_equally_often():
    adapter = Adapter((InputPart("z", (8,)), InputPart("y", (), "int64", 10)), normal=True)
    drawn = {}
    adapter.results(lambda z, y: drawn.update(z=z, y=y), LatentInputs(9).draw(0, "test", 20_000))
    counts = torch.bincount(drawn["y"], minlength=10)
    assert 1_800 < counts.min() <= counts.max() < 2_200
    assert drawn["z"].std() == pytest.approx(1, abs=0.02)


def test_a_model_file_of_an_older_version_reads_its_class_numbers_as_before():
    parts = (InputPart("z", (8,)), InputPart("y", (), "int64", 10))
    arguments = Adapter(parts, normal=True).to_arguments()
    del arguments["normal"]
    drawn = {}
    packed = torch.cat((torch.zeros(10, 8), (2 * torch.arange(10)[:, None] + 1) / 10 - 1), 1)
    Adapter.from_arguments(arguments).results(lambda z, y: drawn.update(y=y), packed)
    assert drawn["y"].tolist() == list(range(10))


def test_uniform_numbers_among_latents_stay_uniform():
    adapter = Adapter(noises=(Drawn(uniform=True, batched=True, shape=(4,)),), noise="input", normal=True)
    drawn = {}

    def network(z):
        drawn["noise"] = torch.rand(len(z), 4)
        return z

    adapter.results(network, LatentInputs(12).draw(0, "test", 5_000))
    assert (drawn["noise"].min() > 0, drawn["noise"].max() < 1) == (True, True)
    assert drawn["noise"].histc(10, 0, 1).min() > 1_800


@torch.no_grad()
def test_a_picture_and_a_vector_and_the_result_that_is_a_picture(tmp_path):
    parts = (InputPart("image", (3, 16, 16)), InputPart("style", (2,)))
    card, generator, network = imported(tmp_path, "Styled", inputs=parts)
    assert card.input_shape == [1, 5, 16, 16]
    assert any("the image is image; --output names another" in note for note in card.notes)
    image, style = inputs(4, 3, 16, 16), inputs(4, 2)
    packed = torch.cat((image, style[:, :, None, None].expand(-1, -1, 16, 16)), 1)
    assert torch.allclose(generator(packed), network(image, style=style)["image"], atol=1e-6)
    survives_the_edge(generator, packed, tmp_path / "g.onnx")


@torch.no_grad()
def test_a_list_of_latents(tmp_path):
    _, generator, network = imported(tmp_path, "Listed", inputs=(InputPart("styles[]", (8,)),) * 2)
    first, second = inputs(3, 8), inputs(3, 8) / 2
    assert torch.allclose(generator(torch.cat((first, second), 1)), network([first, second]), atol=1e-6)


@torch.no_grad()
def test_channels_last(tmp_path):
    with pytest.raises(ConfigError, match="add --layout NHWC"):
        imported(tmp_path, "ChannelsLast", PICTURE)
    _, generator, network = imported(tmp_path, "ChannelsLast", PICTURE, layout="NHWC")
    x = inputs(2, 3, 16, 16)
    assert torch.allclose(generator(x), network(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), atol=1e-6)


@torch.no_grad()
def test_random_numbers_are_fixed_or_become_inputs(tmp_path):
    x = inputs(4, 3, 16, 16)
    _, fixed, _ = imported(tmp_path, "Noisy", PICTURE, noise="fixed")
    assert torch.equal(fixed(x), fixed(x))
    survives_the_edge(fixed, x, tmp_path / "g.onnx")
    card, given, _ = imported(tmp_path, "Noisy", PICTURE, noise="input")
    assert card.input_shape == [1, 5, 16, 16]
    noises = inputs(4, 2, 16, 16)
    one, other = given(torch.cat((x, noises), 1)), given(torch.cat((x, -noises), 1))
    assert not torch.allclose(one, other)


@pytest.mark.parametrize(("name", "white"), [("unit", 1), ("byte", 255)])
def test_the_range_of_the_images_is_seen_and_said(tmp_path, name, white):
    card, generator, network = imported(tmp_path, name, PICTURE)
    assert (tuple(card.output_range), tuple(card.input_range)) == ((0, white), (0, white))
    assert any(f"white for {white}; --output-range LOW,HIGH says otherwise" in note for note in card.notes)
    x = inputs(2, 3, 16, 16)
    with torch.no_grad():
        assert torch.allclose(generator(x), network((x + 1) / 2 * white) / white * 2 - 1, atol=1e-5)
    card, _, _ = imported(tmp_path, name, PICTURE, output_range=(-1, 1))
    assert tuple(card.output_range) == (-1, 1)


def test_pictures_of_no_whole_factor_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="of 33x33 pixels the network draws 34x34, which is no whole factor"):
        imported(tmp_path, "OneMore", (1, 3, 33, 33))


@torch.no_grad()
def test_latents_of_one_pixel(tmp_path):
    card, generator, network = imported(tmp_path, "dcgan", (1, 16, 1, 1))
    assert card.input_shape == [1, 16]
    z = inputs(3, 16)
    assert torch.allclose(generator(z), network(z[:, :, None, None]), atol=1e-6)
    assert any("never seen a batch" in note for note in card.notes)
    survives_the_edge(generator, z, tmp_path / "g.onnx")
