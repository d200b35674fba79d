"""The stage sweep, run as the pipeline runs it, in this process."""

import json

import numpy as np
import pytest
import torch
import yaml

from ganpress.config.sweep_section import SweepPoint
from ganpress.data.prepared.arrays import SPLITS, read_meta
from ganpress.data.prepared.generator_inputs import canvas_of
from ganpress.evaluation.compression_level import pack_float, pack_level
from ganpress.files.checkpoint import save_model
from models.builders import Blueprint, generator_blueprint
from models.quantized_layers import QuantizedConv
from models.quantized_network import QuantizedNetwork
from tasks import sweep

IMAGES = 40
PARAMS = {
    "seed": 3,
    "compress": {"calibration_images": 16, "items": {"x": {"generator": "subnet", "sparsity": 0.5}}},
    "sweep": {"generator": "subnet", "clipping": ["none", "mse"], "bits": [2, 8], "images": IMAGES},
    "evaluate": {
        "images": 1000,
        "neighbours": 3,
        "kid_subsets": 2,
        "kid_subset_size": 20,
        "is_splits": 2,
        "latency_repeats": 3,
    },
}


def levels_of(model):
    """Codes from the smallest to the largest of an output channel, at most, for each layer."""
    weights = [module.weight.int().flatten(1) for module in model.modules() if isinstance(module, QuantizedConv)]
    return [int((weight.amax(1) - weight.amin(1)).max()) + 1 for weight in weights]


@pytest.fixture
def project(trained_like, write_prepared, write_judge, tmp_path):
    """Artifacts of a project with a sub-generator, a judge and prepared data."""
    artifacts = tmp_path / "artifacts"
    write_prepared(artifacts)
    write_judge(artifacts)
    blueprint = Blueprint("wdcgan_generator", {"spec": "3", "size": 16, "channels": 1})
    save_model(artifacts / "subnet" / "generator.safetensors", trained_like("3", 16, 1), blueprint)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    return artifacts


def metrics_of(project, item):
    return json.loads((project / "sweep" / item / "metrics.json").read_text())


def test_levels_are_measured_beside_the_same_float_generator(project, run_stage):
    for item in ("mse-2", "mse-8"):
        assert run_stage(project.parent, sweep, item) == 0
    few, many = (metrics_of(project, item) for item in ("mse-2", "mse-8"))
    assert few["float"] == many["float"]
    assert few["float"]["fid_retained"] == 1
    for base in ("fid", "precision", "recall", "precision_lsh", "recall_lsh", "precision_lshknn", "recall_lshknn"):
        assert {f"{base}_{IMAGES}_test_judge"} <= set(few) & set(few["float"])
    assert many["snr_db"] > few["snr_db"] + 15
    assert few["packed_bytes"] < many["packed_bytes"] < many["float"]["packed_bytes"] / 2
    assert few["float_layers"] == many["float_layers"] == 0
    assert not [name for name in (*few, *few["float"]) if "teacher" in name]
    whole = (project / "sweep" / "mse-8" / "metrics.json").read_bytes()
    assert run_stage(project.parent, sweep, "mse-8") == 0
    assert (project / "sweep" / "mse-8" / "metrics.json").read_bytes() == whole


def test_methods_differ(project, run_stage):
    for item in ("none-2", "mse-2"):
        assert run_stage(project.parent, sweep, item) == 0
    assert metrics_of(project, "none-2")["snr_db"] < metrics_of(project, "mse-2")["snr_db"]


def test_conditional_generators_are_measured_against_their_truth(project, run_stage, write_pairs, tiny_images):
    sources = np.random.default_rng(0).integers(0, 256, (3, 60, 3, 16, 16)).astype(np.uint8)
    pairs = {split: (tiny_images.pixels, of_split) for split, of_split in zip(SPLITS, sources, strict=True)}
    write_pairs(project / "prepare", "tiny", pairs)
    blueprint = generator_blueprint("mobile_resnet_9blocks:ngf=4", canvas_of(read_meta(project / "prepare")))
    with torch.random.fork_rng():
        torch.manual_seed(1)
        save_model(project / "subnet" / "generator.safetensors", blueprint.build(), blueprint)
    assert run_stage(project.parent, sweep, "none-8") == 0
    found = metrics_of(project, "none-8")
    assert found["snr_db"] > 10
    assert found[f"psnr_{IMAGES}_test"] == pytest.approx(found["float"][f"psnr_{IMAGES}_test"], rel=0.1)


@pytest.mark.parametrize("bits", range(2, 9))
def test_no_channel_has_more_levels_than_its_bits_allow(trained_like, bits):
    model, blueprint = trained_like("3", 16, 1), Blueprint("wdcgan_generator", {"spec": "3", "size": 16, "channels": 1})
    calibration = torch.randn(8, 100, generator=torch.Generator().manual_seed(0))
    packed = pack_level(model, blueprint, SweepPoint("aciq", bits), calibration, seed=1)
    assert isinstance(packed.model, QuantizedNetwork)
    assert 2 ** (bits - 1) < max(levels_of(packed.model)) <= 2**bits
    assert packed.model.activation_bits == bits


def test_the_float_file_keeps_every_bit(trained_like):
    model, blueprint = trained_like("3", 16, 1), Blueprint("wdcgan_generator", {"spec": "3", "size": 16, "channels": 1})
    packed = pack_float(model, blueprint)
    z = torch.randn(4, 100, generator=torch.Generator().manual_seed(0))
    assert torch.equal(packed.model(z), model(z))
    assert packed.packed_bytes > 3 * sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ((), "sweep: sweep has no level 'None'; levels of sweep.clipping and sweep.bits: none-2, none-8, mse-2, mse-8"),
        (("kl-2",), "sweep: sweep has no level 'kl-2'; levels"),
    ],
)
def test_unknown_levels_are_refused(project, run_stage, capsys, item, message):
    assert run_stage(project.parent, sweep, *item) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_missing_generator_is_named_with_its_stage(project, run_stage, capsys):
    (project / "subnet" / "generator.safetensors").unlink()
    assert run_stage(project.parent, sweep, "mse-2") == 2
    assert "run `dvc repro subnet` or `ganpress run` first" in capsys.readouterr().err
