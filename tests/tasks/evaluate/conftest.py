"""A small chain of real files, evaluated: untrained networks, exported by the project's own exporter."""

import json
from pathlib import Path

import pytest
import torch
import yaml

from ganpress.compression.quantization import QuantizationConfig, quantize, quantized_blueprint
from ganpress.edge.file_writing import pack_files
from ganpress.edge.graphs.onnx_export import export_onnx
from ganpress.files.checkpoint import save_model
from ganpress.tracking import StageRun
from models.builders import Blueprint
from models.family import LATENT
from tasks.evaluate import work
from tasks.shared.stage import Stage

PARAMS = Path(__file__).resolve().parents[3] / "params.yaml"
DEPTHS = {"teacher": 4, "student/d2": 2, "control/d2": 2, "subnet": 1}


@pytest.fixture(scope="session")
def references():
    """All generators of the chain, in the order of their rows."""
    return [*DEPTHS, "subnet/extracted", "compress/subnet-int8", "export/teacher", "export/int8"]


@pytest.fixture(scope="session")
def stage_of():
    """(root, section=…) -> the stage evaluate of a project like the chain; of a section, options are changed."""
    params = yaml.safe_load(PARAMS.read_text(encoding="utf-8"))
    params["evaluate"] |= {"images": 40, "kid_subset_size": 20, "kid_subsets": 2, "is_splits": 2, "latency_repeats": 4}
    params["student"]["items"] = {"d2": {"depth": 2, "loss": "mse"}}
    params["control"]["items"] = {"d2": {"depth": 2}}
    params["compress"]["items"] = {"subnet-int8": {"generator": "subnet", "weight_bits": 8, "activation_bits": 8}}
    params["export"]["items"] = {
        "teacher": {"generator": "teacher"},
        "int8": {"generator": "compress/subnet-int8", "packed": True},
    }
    params["report"] |= {"sample_images": 5, "interpolation_steps": 3}

    def stage(root, **sections):
        return Stage("evaluate", None, root, params | {name: params[name] | more for name, more in sections.items()})

    return stage


@pytest.fixture(scope="session")
def evaluate(stage_of):
    """(root) -> the folder of what the stage measured there."""

    def run(root):
        work(stage_of(root), StageRun(root, None, ""))
        return root / "artifacts" / "evaluate"

    return run


@pytest.fixture(scope="session")
def chain(tmp_path_factory, write_prepared, write_judge):
    """Root folder of a chain whose models were never trained. Do not change."""
    root = tmp_path_factory.mktemp("chain")
    artifacts = root / "artifacts"
    write_prepared(artifacts)
    write_judge(artifacts)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        plain = {}
        for reference, depth in DEPTHS.items():
            blueprint = Blueprint("wdcgan_generator", {"spec": str(depth), "size": 16, "channels": 1})
            plain[reference] = blueprint.build().eval()
            save_model(artifacts / reference / "generator.safetensors", plain[reference], blueprint)
        save_model(artifacts / "subnet" / "extracted.safetensors", blueprint.build().eval(), blueprint)
        z = torch.randn(64, LATENT)
    int8 = quantize(plain["subnet"], z, QuantizationConfig(8, 8))
    save_model(
        artifacts / "compress" / "subnet-int8" / "generator.safetensors", int8, quantized_blueprint(int8, blueprint)
    )
    export_onnx(plain["teacher"], artifacts / "export" / "teacher" / "generator.onnx", z)
    export_onnx(int8, artifacts / "export" / "int8" / "generator.onnx", z)
    pack_files((artifacts / "export" / "int8" / "generator.onnx",))
    (artifacts / "evaluate").mkdir()
    return root


@pytest.fixture(scope="session")
def evaluated(chain, evaluate):
    """What the stage measured of the chain."""
    return evaluate(chain)


@pytest.fixture(scope="session")
def metrics(evaluated):
    """Its rows, by reference."""
    return json.loads((evaluated / "metrics.json").read_text(encoding="utf-8"))
