"""The generators that `evaluate` measures: their selection, their origin and their cost."""

import shutil

import pytest
import torch

from ganpress.compression.quantization import QuantizationConfig, quantize, quantized_blueprint
from ganpress.edge.graphs.onnx_export import export_onnx
from ganpress.errors import ConfigError, DataError
from ganpress.files.checkpoint import load_model, save_model
from models.family import LATENT
from tasks.shared.subjects import find_subjects, float_cost


def test_a_chain_of_references_leads_to_the_plain_generator(chain, stage_of):
    bases = {subject.reference: subject.base for subject in find_subjects(stage_of(chain))}
    assert bases["export/int8"] == bases["compress/subnet-int8"] == "subnet"
    assert bases["export/teacher"] == "teacher"


def test_channels_that_were_cut_are_not_counted(chain, stage_of, tmp_path):
    artifacts = shutil.copytree(chain, tmp_path / "cut") / "artifacts"
    narrow, blueprint = load_model(artifacts / "student" / "d2" / "generator.safetensors")  # as a cut teacher would be
    int8 = quantize(narrow, torch.zeros(4, LATENT), QuantizationConfig(8, 8))
    save_model(artifacts / "compress" / "cut" / "generator.safetensors", int8, quantized_blueprint(int8, blueprint))
    export_onnx(int8, artifacts / "export" / "cut" / "generator.onnx", torch.zeros(2, LATENT))
    compress = {"items": {"cut": {"generator": "teacher", "width": 0.5, "weight_bits": 8}}}
    export = {"items": {"cut": {"generator": "compress/cut"}}}
    subjects = find_subjects(stage_of(artifacts.parent, compress=compress, export=export))
    costs = {subject.reference: float_cost(subject, torch.zeros(1, LATENT)) for subject in subjects}
    assert costs["export/cut"] == costs["compress/cut"] == costs["student/d2"]
    assert costs["export/cut"].macs_exact < costs["teacher"].macs_exact


def test_a_missing_generator_names_the_stage_that_makes_it(chain, stage_of):
    student = {"items": {"d9": {"depth": 9, "loss": "mse"}}}
    with pytest.raises(DataError, match=r"student/d9/generator\.safetensors is missing; run `dvc repro student@d9`"):
        find_subjects(stage_of(chain, student=student))


def test_an_unknown_source_is_refused(chain, stage_of):
    export = {"items": {"x": {"generator": "student/d7"}}}
    with pytest.raises(
        ConfigError, match="export/x is made from 'student/d7', which is not a generator of this chain: teach"
    ):
        find_subjects(stage_of(chain, export=export))
