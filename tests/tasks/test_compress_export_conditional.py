"""The stages compress and export on conditional data: pictures or label maps in, pictures out."""

import json

import numpy as np
import pytest
import torch

from ganpress.compression.applying import FEWEST_HELD_OUT, HELD_OUT_IMAGES, held_out_count
from ganpress.data.prepared.arrays import read_meta
from ganpress.data.prepared.generator_inputs import canvas_of, open_inputs
from ganpress.edge.graphs.graph_writer import SOURCE
from ganpress.edge.onnx_runtime import OnnxGenerator
from ganpress.edge.proof.edge_card import read_card
from ganpress.edge.proven_export import ENOUGH_SNR_DB
from ganpress.files.checkpoint import load_model, save_model
from ganpress.metrics.fidelity import compare_outputs
from models.builders import generator_blueprint
from models.quantized_network import QuantizedNetwork
from tasks import compress, export

KINDS = {
    "resnet": ("paired", "mobile_resnet_9blocks:ngf=4", 32),
    "spade": ("semantic", "mobile_spade:ngf=2 upsampling=normal", 64),
    "unet": ("paired", "unet_32:ngf=3", 32),
}
CLASSES = 4
COUNTS = {"train": 24, "validation": 8, "test": 8}
ITEMS = {
    "int8": {"generator": "teacher", "weight_bits": 8, "activation_bits": 8},
    "w4": {"generator": "teacher", "weight_bits": 4},
    "pruned": {"generator": "teacher", "sparsity": 0.6},
}
EXPORTED = {"int8": {"generator": "compress/int8"}, "float": {"generator": "teacher"}}


def blocks(labels, size):
    """Targets of three colours; sources of one colour, or label maps of coarse blocks with ids that are ignored."""
    random, splits = np.random.default_rng(0), {}
    for split, count in COUNTS.items():
        coarse = random.integers(0, CLASSES if labels else 256, (count, 1 if labels else 3, 8, 8)).astype(np.uint8)
        sources = coarse.repeat(size // 8, 2).repeat(size // 8, 3)
        if labels:
            sources[:, :, :3] = 255
        splits[split] = random.integers(0, 256, (count, 3, size, size)).astype(np.uint8), sources
    return splits


def lively(model, inputs):
    """Give batch normalisations the statistics of data, as training does."""
    with torch.no_grad():
        for _ in range(20):
            model.train()(inputs)
    return model.eval()


@pytest.fixture(scope="module", params=KINDS)
def project(request, tmp_path_factory, write_pairs, run_stage):
    """Artifacts of a conditional chain up to its teacher, compressed; generators are not trained."""
    pairing, name, size = KINDS[request.param]
    root = tmp_path_factory.mktemp(request.param)
    prepared = root / "artifacts" / "prepare"
    labels = pairing == "semantic"
    names = [f"class {place}" for place in range(CLASSES)] if labels else []
    write_pairs(prepared, "blocks", blocks(labels, size), pairing, names)
    blueprint = generator_blueprint(name, canvas_of(read_meta(prepared)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = lively(blueprint.build(), open_inputs(prepared, "train").draw(0, "statistics", 8))
    save_model(root / "artifacts" / "teacher" / "generator.safetensors", model, blueprint)
    params = {
        "seed": 3,
        "compress": {"calibration_images": 8, "items": ITEMS},
        "export": {"tolerance": 1e-3, "verification_images": 4, "items": EXPORTED},
    }
    for item in ITEMS:
        assert run_stage(root, compress, item, params) == 0
    return root / "artifacts"


def held_out(project):
    return open_inputs(project / "prepare", "test").draw(11, "test", 3)


def test_int8_draws_the_teachers_pictures(project):
    teacher, blueprint = load_model(project / "teacher" / "generator.safetensors")
    quantized, found = load_model(project / "compress" / "int8" / "generator.safetensors", "quantized")
    assert isinstance(quantized, QuantizedNetwork)
    assert found.arguments["base"] == {"builder": blueprint.builder, "arguments": blueprint.arguments}
    assert compare_outputs(teacher, quantized, held_out(project)).snr_db > 10
    metrics = json.loads((project / "compress" / "int8" / "metrics.json").read_text())
    assert metrics["snr_db"] > 10


def test_record_covers_every_layer(project):
    quantized, _ = load_model(project / "compress" / "int8" / "generator.safetensors")
    record = json.loads((project / "compress" / "int8" / "compression.json").read_text())
    named = {one["tensor"].rpartition(" ")[0] for one in record["activations"]}
    assert named == set(quantized.layers)
    assert not named & set(record["float_layers"])
    assert record["calibration"]["count"] == 8


def test_every_layer_loses_its_share_of_weights(project):
    record = json.loads((project / "compress" / "pruned" / "compression.json").read_text())
    assert all(layer["zeros"] == round(0.6 * layer["weights"]) for layer in record["layers"])
    _, blueprint = load_model(project / "compress" / "pruned" / "generator.safetensors")
    assert blueprint == load_model(project / "teacher" / "generator.safetensors")[1]


@pytest.mark.slow  # torch's exporter takes seconds; tests/compression exports each kind of layer
@pytest.mark.parametrize("item", EXPORTED)
def test_edge_file_reads_sources_and_draws_what_torch_draws(project, run_stage, item):
    assert run_stage(project.parent, export, item) == 0
    path = project / "export" / item / "generator.onnx"
    card = read_card(path)
    exported, inputs = OnnxGenerator(path, threads=1), held_out(project)
    model, _ = load_model(project / EXPORTED[item]["generator"] / "generator.safetensors")
    found = compare_outputs(model, exported, inputs)
    assert found.max_abs_error <= card.verification.tolerance or found.snr_db > ENOUGH_SNR_DB
    assert card.inputs[0].name == SOURCE
    assert card.inputs[0].shape == ("batch", *inputs.shape[1:])
    assert card.cost.macs_exact > 0


def test_large_inputs_are_held_out_in_smaller_numbers():
    assert held_out_count(torch.zeros(1, 100)) == HELD_OUT_IMAGES
    assert 20 <= held_out_count(torch.zeros(1, 3, 256, 256)) < 40
    assert held_out_count(torch.zeros(1, 36, 1024, 2048)) == FEWEST_HELD_OUT
