"""The stage sweep, run as the pipeline runs it, in this process."""

import json

import numpy as np
import pytest
import torch
import yaml

from ganpress.config.sweep_section import SweepConfig, SweepPoint
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


def run_levels(project, run_stage, clipping=("none", "mse"), bits=(2, 8), **sections):
    """Run the stage with these levels; returns its metrics, {"float": …, "levels": …}."""
    params = PARAMS | {"sweep": PARAMS["sweep"] | {"clipping": list(clipping), "bits": list(bits)}} | sections
    assert run_stage(project.parent, sweep, None, params) == 0
    return json.loads((project / "sweep" / "metrics.json").read_text())


@pytest.fixture
def packed(monkeypatch):
    """The levels that were really computed, in their order."""
    done = []

    def pack(model, blueprint, level, calibration, seed):
        done.append(level.item)
        return pack_level(model, blueprint, level, calibration, seed)

    monkeypatch.setattr(sweep, "pack_level", pack)
    return done


def test_levels_are_measured_beside_the_same_float_generator(project, run_stage):
    found = run_levels(project, run_stage)
    in_floats, levels = found["float"], found["levels"]
    assert set(levels) == {"none-2", "none-8", "mse-2", "mse-8"}
    few, many = levels["mse-2"], levels["mse-8"]
    assert in_floats["fid_retained"] == 1
    for base in ("fid", "precision", "recall", "precision_lsh", "recall_lsh", "precision_lshknn", "recall_lshknn"):
        assert {f"{base}_{IMAGES}_test_judge"} <= set(few) & set(in_floats)
    assert many["snr_db"] > few["snr_db"] + 15
    assert few["packed_bytes"] < many["packed_bytes"] < in_floats["packed_bytes"] / 2
    assert few["float_layers"] == many["float_layers"] == 0
    assert levels["none-2"]["snr_db"] < few["snr_db"]
    assert not [name for name in (*few, *in_floats) if "teacher" in name]


def test_a_killed_run_goes_on_and_levels_that_are_there_are_not_computed_again(project, run_stage, packed, monkeypatch):
    counting = sweep.pack_level

    def killed(model, blueprint, level, calibration, seed):
        if level.item == "mse-8":
            raise KeyboardInterrupt
        return counting(model, blueprint, level, calibration, seed)

    monkeypatch.setattr(sweep, "pack_level", killed)
    with pytest.raises(KeyboardInterrupt):
        run_levels(project, run_stage, ["mse"], [2, 8])
    assert not (project / "sweep" / "metrics.json").exists()
    monkeypatch.setattr(sweep, "pack_level", counting)
    whole = run_levels(project, run_stage, ["mse"], [2, 8])
    assert whole["levels"].keys() == {"mse-2", "mse-8"}
    assert packed == ["mse-2", "mse-8"]
    few = run_levels(project, run_stage, ["mse"], [8])
    assert few == {"float": whole["float"], "levels": {"mse-8": whole["levels"]["mse-8"]}}
    assert len(packed) == 2


@pytest.mark.slow
def test_a_level_from_the_book_is_the_one_that_is_computed_anew(project, run_stage, packed):
    kept = run_levels(project, run_stage, ["mse"], [2])["levels"]["mse-2"]
    run_levels(project, run_stage, ["mse"], [2, 4])
    both = (project / "sweep" / "metrics.json").read_bytes()
    for book in (project.parent / ".ganpress" / "checkpoints").glob("sweep-*.jsonl"):
        book.unlink()
    assert run_levels(project, run_stage, ["mse"], [2, 4])["levels"]["mse-2"] == kept
    assert (project / "sweep" / "metrics.json").read_bytes() == both
    assert packed == ["mse-2", "mse-4", "mse-2", "mse-4"]


@pytest.mark.slow
def test_another_generator_measures_all_levels_anew(project, run_stage, packed, trained_like):
    run_levels(project, run_stage, ["mse"], [2])
    blueprint = Blueprint("wdcgan_generator", {"spec": "2", "size": 16, "channels": 1})
    save_model(project / "subnet" / "generator.safetensors", trained_like("2", 16, 1), blueprint)
    run_levels(project, run_stage, ["mse"], [2])
    assert packed == ["mse-2", "mse-2"]


def identity_of(project, params=PARAMS, code="digest of the code"):
    """Of levels; the code's digest, which takes a second, is given."""
    stage = sweep.Stage("sweep", None, project.parent, params)
    vars(stage)["code"] = code
    return sweep._identity(stage, stage.section(SweepConfig))


def with_changed(*path, value):
    params = json.loads(json.dumps(PARAMS))
    place = params
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return params


@pytest.mark.parametrize(
    "path",
    [
        ("seed",),
        ("compress", "calibration_images"),
        ("sweep", "images"),
        *(("evaluate", name) for name in ("neighbours", "kid_subsets", "kid_subset_size", "is_splits")),
    ],
)
def test_what_decides_a_number_has_a_book_of_its_own(project, path):
    assert identity_of(project, with_changed(*path, value=7)) != identity_of(project)


@pytest.mark.parametrize(("name", "value"), [("clipping", ["kl"]), ("bits", [3, 5])])
def test_which_levels_there_are_decides_none_of_them(project, name, value):
    assert identity_of(project, with_changed("sweep", name, value=value)) == identity_of(project)


@pytest.mark.parametrize("file", ["subnet/generator", "judge/judge"])
def test_another_model_has_a_book_of_its_own(project, file):
    before, path = identity_of(project), project / f"{file}.safetensors"
    path.write_bytes(path.read_bytes() + b" ")
    assert identity_of(project) != before


@pytest.mark.parametrize("name", ["test.npy", "meta.json"])
def test_other_data_have_a_book_of_their_own(project, name):
    before, path = identity_of(project), project / "prepare" / name
    path.write_bytes(path.read_bytes() + b" ")
    assert identity_of(project) != before


def test_other_code_has_a_book_of_its_own(project):
    assert identity_of(project, code="another") != identity_of(project)


def test_conditional_generators_are_measured_against_their_truth(project, run_stage, write_pairs, tiny_images):
    sources = np.random.default_rng(0).integers(0, 256, (3, 60, 3, 16, 16)).astype(np.uint8)
    pairs = {split: (tiny_images.pixels, of_split) for split, of_split in zip(SPLITS, sources, strict=True)}
    write_pairs(project / "prepare", "tiny", pairs)
    blueprint = generator_blueprint("mobile_resnet_9blocks:ngf=4", canvas_of(read_meta(project / "prepare")))
    with torch.random.fork_rng():
        torch.manual_seed(1)
        save_model(project / "subnet" / "generator.safetensors", blueprint.build(), blueprint)
    found = run_levels(project, run_stage, ["none"], [8])
    level = found["levels"]["none-8"]
    assert level["snr_db"] > 10
    assert level[f"psnr_{IMAGES}_test"] == pytest.approx(found["float"][f"psnr_{IMAGES}_test"], rel=0.1)


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


def test_a_single_level_is_refused(project, run_stage, capsys):
    assert run_stage(project.parent, sweep, "mse-2") == 2
    error = capsys.readouterr().err
    assert "sweep: sweep has no items, found 'mse-2'; all levels are measured by `dvc repro sweep`" in error
    assert error.count("\n") == 1


def test_a_missing_generator_is_named_with_its_stage(project, run_stage, capsys):
    (project / "subnet" / "generator.safetensors").unlink()
    assert run_stage(project.parent, sweep) == 2
    assert "run `dvc repro subnet` or `ganpress run` first" in capsys.readouterr().err
