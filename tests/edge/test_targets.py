"""Edge targets: each number type runs in its kernels, and errors are reported in one line."""

from pathlib import Path

import pytest
import torch
from torch import nn

from ganpress.compression.quantization import QuantizationConfig, quantize
from ganpress.config.base import parse
from ganpress.config.edge_section import ExportItem
from ganpress.config.search_section import SearchConfig
from ganpress.edge.forms.float_forms import FORMS
from ganpress.edge.proof.card_writing import TargetFacts, write_card
from ganpress.edge.proof.edge_card import Lineage, read_card
from ganpress.edge.proof.kernels import profile_of
from ganpress.edge.proof.peak_memory import peak_memory
from ganpress.edge.proof.verification import verify_export
from ganpress.edge.roofline import computed_in
from ganpress.edge.targets import target
from ganpress.edge.targets.target import MissingTarget, UnsupportedGenerator
from ganpress.errors import CheckpointError, ConfigError, ExportMismatch
from ganpress.files.edge_files import parts_of
from ganpress.metrics.fidelity import compare_outputs
from ganpress.registries import TARGETS
from models.builders import generator_blueprint
from models.family import Canvas
from models.resnet import resnet_generator

DOCS = (Path(__file__).parents[2] / "docs" / "targets.md").read_text(encoding="utf-8")
LINEAGE = Lineage(source="teacher", source_md5="0" * 32, builder="wdcgan_generator")


def installed(name, *marks):
    return pytest.param(name, marks=[*marks, pytest.mark.needs_target(name)])


LOWERING_IS_SLOW = {
    "executorch": [pytest.mark.slow],
    "executorch_vulkan": [pytest.mark.slow],
    "executorch_coreml": [pytest.mark.slow],
    "coreml": [pytest.mark.slow],
    "litert": [pytest.mark.slow],
}  # half a minute
EACH = [installed(name, *LOWERING_IS_SLOW.get(name, ())) for name in TARGETS]


def latents(images, seed=0):
    return torch.randn(images, 100, generator=torch.Generator().manual_seed(seed))


def write(name, model, folder, number_type, example=None):
    path = folder / name / number_type / f"generator{TARGETS[name].suffix}"
    files = TARGETS[name].write(model, path, example if example is not None else latents(2), number_type, latents(32))
    assert files[0] == path
    assert sorted(path.parent.iterdir()) == sorted(files)
    return path


@pytest.mark.parametrize("name", TARGETS)
def test_facts_of_a_target_agree(name):
    one = TARGETS[name]
    assert one.name == name
    assert one.title
    assert one.suffix.startswith(".")
    assert "float32" in one.number_types
    for number_type in filter(one.quantizes, one.number_types):
        assert one.scheme(number_type)
        assert min(one.bits(number_type)) >= 8
    assert one.packages or one.programs
    assert (one.opset is not None) == one.is_onnx
    for number_type in one.number_types:
        assert ExportItem(generator="teacher", target=name, number_type=number_type).target == name
        assert one.default_form(number_type) in FORMS
        assert name not in TARGETS.built_in or computed_in(number_type) in ("float32", "bfloat16", "int8")


@pytest.mark.parametrize("name", [name for name in TARGETS if name in TARGETS.built_in])
def test_the_documented_facts_are_the_targets_own(name):
    one = TARGETS[name]
    row = next(line for line in DOCS.splitlines() if line.startswith(f"| `{name}` |")).split(" | ")
    files = ", ".join(f"`generator{suffix}`" for suffix in (one.suffix, *one.beside))
    assert (row[1], row[2].partition(";")[0]) == (files, ", ".join(one.number_types))
    assert one.install in row[-1] or one.install == "uv sync"


@pytest.mark.parametrize("name", EACH)
def test_floats_are_torchs(trained_like, tmp_path, name):
    model = trained_like("4", 16, 1)
    path = write(name, model, tmp_path, "float32")
    assert parts_of(path) == tuple(sorted(path.parent.iterdir(), key=lambda one: one != path))
    proof = verify_export(model, path, latents(33), tolerance=1e-5, target=TARGETS[name])
    assert proof.images == 33
    profile = TARGETS[name].kernels(path, latents(1))
    assert (profile.layers, profile.integer_layers) == (3, 0)
    shares = [kernel.share for kernel in profile.kernels]
    assert shares.count(None) == len(shares) or sum(shares) == pytest.approx(1)  # no times, or those of all kernels


@pytest.mark.parametrize("name", EACH)
def test_instance_norms_with_stored_statistics_are_written_as_such(tmp_path, name):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.InstanceNorm2d(8, affine=True, track_running_stats=True), nn.ReLU(),
        nn.Conv2d(8, 3, 3, padding=1), nn.Tanh(),
    )  # fmt: skip
    x = torch.rand(36, 3, 16, 16) * 2 - 1
    for part in x[:32].split(8):
        model(part)
    path = write(name, model.eval(), tmp_path, "float32", x[32:33])
    opened = TARGETS[name].open(path)
    for one in x[32:]:
        assert compare_outputs(model, opened, one[None]).snr_db > 60


@pytest.mark.parametrize("name", ["onnx", installed("openvino", pytest.mark.slow)])
def test_int8_runs_every_layer_in_integers_at_a_quarter_of_the_bytes(trained_like, tmp_path, name):
    model = trained_like("16", 32, 1)
    path = write(name, model, tmp_path, "int8")
    assert compare_outputs(model, TARGETS[name].open(path), latents(32, seed=3)).snr_db > 20
    profile = TARGETS[name].kernels(path, latents(1))
    assert profile.integer_layers == profile.layers == 4
    assert profile.describe().startswith("4 of 4 layers in integers; ")
    weights = sum(parameter.numel() for parameter in model.parameters())
    assert parts_of(path)[-1].stat().st_size < 1.2 * weights


@pytest.mark.parametrize("name", EACH)
def test_every_number_type_draws_what_torch_draws(trained_like, tmp_path, name):
    model = trained_like("16", 32, 1)
    enough = {"float32": 90, "float16": 50, "bfloat16": 20, "int8": 20}
    for number_type in TARGETS[name].number_types:
        path = write(name, model, tmp_path, number_type)
        difference = compare_outputs(model, TARGETS[name].open(path), latents(70, seed=3))
        assert difference.snr_db > enough.get(number_type, 20), number_type


class AnotherFile:
    """A target whose files draw something else."""

    def __init__(self, one):
        self.mismatch_advice = one.mismatch_advice

    def open(self, path, threads):
        return lambda z: torch.zeros(len(z), 1, 4, 4)


@pytest.mark.parametrize("name", TARGETS)
def test_a_file_that_differs_is_told_with_the_advice_of_its_own_target(tmp_path, name):
    other = AnotherFile(TARGETS[name])
    with pytest.raises(ExportMismatch) as error:
        verify_export(lambda z: torch.ones(len(z), 1, 4, 4), tmp_path / "x", latents(4), 0.1, target=other)
    others = {one.mismatch_advice for one in TARGETS.values()} - {TARGETS[name].mismatch_advice, ""}
    assert str(error.value).endswith(TARGETS[name].mismatch_advice or "only if the difference is meant")
    assert not any(advice in str(error.value) for advice in others)


@pytest.mark.parametrize("name", [name for name, one in TARGETS.items() if one.stand_in])
def test_nothing_is_timed_in_a_runtime_that_does_not_run_here(name):
    with pytest.raises(ConfigError, match=rf"the runtime of '{name}' does not run here, so nothing can be timed"):
        parse({"latency_runtime": name}, SearchConfig, "search")


def test_halves_are_half_the_bytes_and_near(trained_like, tmp_path):
    model = trained_like("16", 32, 1)
    half, full = (write("onnx", model, tmp_path, number_type) for number_type in ("float16", "float32"))
    assert half.stat().st_size < 0.55 * full.stat().st_size
    assert compare_outputs(model, TARGETS["onnx"].open(half), latents(16)).snr_db > 50


def test_card_holds_all_files_and_finds_a_changed_one(trained_like, tmp_path):
    if TARGETS["openvino"].missing():
        pytest.skip(f"needs {TARGETS['openvino'].missing()}")
    model = trained_like("2", 16, 1)
    path = write("openvino", model, tmp_path, "float32")
    proof = verify_export(model, path, latents(2), 1e-4, target=TARGETS["openvino"])
    weights = path.with_suffix(".bin")
    facts = TargetFacts(TARGETS["openvino"].version(), "openvino", (path, weights))
    card = write_card(path, model, latents(1), proof, LINEAGE, facts=facts)
    assert card.size_bytes == path.stat().st_size + weights.stat().st_size
    assert read_card(path) == card
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(CheckpointError, match=r"generator.bin has sha256 .*: it was changed after the export"):
        read_card(path)
    weights.write_bytes(content[:-4])
    with pytest.raises(CheckpointError, match=r"generator.bin has [\d,]+ bytes, its card says [\d,]+: truncated"):
        read_card(path)
    weights.unlink()
    with pytest.raises(CheckpointError, match=r"generator.bin does not exist"):
        TARGETS["openvino"].open(path)


@pytest.mark.parametrize("name", [installed("openvino")])
def test_file_that_is_no_model_is_refused(tmp_path, name):
    path = tmp_path / "generator.xml"
    path.write_text("<net>")
    path.with_suffix(".bin").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"generator.xml cannot be loaded by OpenVINO: .*; export it again"):
        TARGETS[name].open(path)


@pytest.mark.parametrize("name", TARGETS)
def test_absent_packages_and_programs_end_in_the_install_command(trained_like, tmp_path, monkeypatch, name):
    monkeypatch.setattr(target.importlib.metadata, "distributions", lambda **_: [])
    monkeypatch.setattr(target.shutil, "which", lambda _: None)
    command = TARGETS[name].missing()
    assert command == TARGETS[name].install
    assert TARGETS[name].absent() == [*TARGETS[name].packages, *TARGETS[name].programs]
    with pytest.raises(MissingTarget, match=rf"the target '{name}' is not installed; run `{command}`"):
        TARGETS[name].write(trained_like("2", 16, 1), tmp_path / "x", latents(1))
    assert not list(tmp_path.iterdir())


def test_int8_of_instance_norms_that_are_alike_is_loaded(tmp_path):
    """ONNX Runtime refused such a file: its norms had equal codes."""
    torch.manual_seed(0)
    model, sources = resnet_generator("ngf=2", 3, 3, False).eval(), torch.rand(4, 3, 16, 16)
    path = tmp_path / "generator.onnx"
    TARGETS["onnx"].write(model, path, sources[:1], "int8", sources)
    with torch.no_grad():
        assert (TARGETS["onnx"].open(path, 1)(sources) - model(sources)).abs().mean() < 0.1


@pytest.mark.parametrize("calibration", [None, torch.zeros(0, 100)])
def test_int8_without_calibration_inputs_is_refused(trained_like, tmp_path, calibration):
    with pytest.raises(ConfigError, match=r"int8 for 'onnx' needs calibration inputs, found none"):
        TARGETS["onnx"].write(trained_like("2", 16, 1), tmp_path / "x.onnx", latents(1), "int8", calibration)


def test_calibration_inputs_of_another_shape_are_refused(trained_like, tmp_path):
    with pytest.raises(ConfigError, match=r"calibration inputs are \(99,\), the generator takes \(100,\)"):
        TARGETS["onnx"].write(trained_like("2", 16, 1), tmp_path / "x.onnx", latents(1), "int8", torch.zeros(4, 99))


def test_number_type_that_a_target_has_not_is_refused(trained_like, tmp_path):
    with pytest.raises(ConfigError, match=r"'onnx' has no number type 'bfloat16'; allowed: float32, float16, int8"):
        TARGETS["onnx"].write(trained_like("2", 16, 1), tmp_path / "x.onnx", latents(1), "bfloat16")


@pytest.mark.parametrize("name", [installed("executorch")])
def test_own_integers_are_for_targets_that_keep_them(trained_like, tmp_path, name):
    quantized = quantize(trained_like("2", 16, 1), latents(8), QuantizationConfig(8, 8))
    with pytest.raises(ConfigError, match=rf"the target '{name}' writes float generators and quantizes by itself"):
        TARGETS[name].write(quantized, tmp_path / "x", latents(1))


@pytest.mark.needs_vnni
@pytest.mark.parametrize("name", [installed("openvino")])
def test_own_integers_run_in_integers(trained_like, tmp_path, name):
    quantized, path = quantize(trained_like("8", 32, 1), latents(64), QuantizationConfig(8, 8)), tmp_path / "g.xml"
    TARGETS[name].write(quantized, path, latents(2))
    profile = TARGETS[name].kernels(path, latents(1))
    assert (profile.layers, profile.integer_layers) == (4, 4)
    assert compare_outputs(quantized, TARGETS[name].open(path), latents(16, 1)).snr_db > 30


def test_generator_in_training_mode_is_left_as_it_is(tmp_path):
    model = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    TARGETS["onnx"].write(
        model, tmp_path / "x.onnx", torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    )
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


class Bessel(nn.Module):
    def forward(self, x):
        return torch.special.bessel_j0(x)


def test_operator_that_a_target_cannot_run_is_named_with_its_layer(tmp_path):
    model = nn.Sequential()
    model.add_module("body", nn.Conv2d(1, 1, 1))
    model.add_module("head", Bessel())
    with pytest.raises(ConfigError, match=r"the operator special_bessel_j0 of layer 'head'"):
        TARGETS["onnx"].write(model, tmp_path / "x.onnx", torch.zeros(2, 1, 4, 4))
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("name", [installed("executorch")])
def test_executorch_names_the_layer_that_it_cannot_run(tmp_path, name):
    model = nn.Sequential()
    model.add_module("head", Bessel())
    with pytest.raises(UnsupportedGenerator, match=r"the operator special_bessel_j0 of layer 'head'"):
        TARGETS[name].write(model, tmp_path / "x.pte", torch.zeros(2, 1, 4, 4))


def test_kernel_that_the_installed_runtime_has_not_is_named(tmp_path):
    import onnx
    from onnx import TensorProto, helper

    values = [helper.make_tensor_value_info(name, TensorProto.BFLOAT16, ["n", 2]) for name in ("z", "images")]
    graph = helper.make_graph([helper.make_node("Tanh", ["z"], ["images"])], "g", values[:1], values[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), tmp_path / "g.onnx")
    with pytest.raises(CheckpointError, match=r"needs a kernel that onnxruntime [\d.]+ does not have: .*Tanh"):
        TARGETS["onnx"].open(tmp_path / "g.onnx")


@pytest.mark.slow  # starts processes that import torch
def test_peak_memory_holds_the_weights(trained_like, tmp_path):
    path = write("onnx", trained_like("16", 32, 1), tmp_path, "float32")
    found = peak_memory("onnx", path, latents(1))
    assert found is None or found > path.stat().st_size
    with pytest.raises(CheckpointError, match=r"cannot be run in a process of its own: .*does not exist"):
        peak_memory("onnx", tmp_path / "gone.onnx", latents(1))


def test_a_process_that_does_not_end_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("ganpress.edge.proof.peak_memory.PROBE_SECONDS", 0.01)
    with pytest.raises(CheckpointError, match=r"x\.onnx cannot be run in a process of its own: one input took"):
        peak_memory("onnx", tmp_path / "x.onnx", latents(1))


def test_profile_adds_up_runs():
    profile = profile_of([("Conv", "int8", True, 3.0), ("Conv", "int8", True, 3.0), ("Tanh", "float32", False, 2.0)])
    assert (profile.layers, profile.integer_layers) == (2, 2)
    assert profile.describe() == "2 of 2 layers in integers; Conv 75% (int8 x2), Tanh 25% (float32 x1)"
    assert profile_of([("Conv", "float32", True, None)]).describe() == (
        "0 of 1 layers in integers, 1 in float32; Conv (float32 x1)"
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", [installed("openvino")])
def test_modulated_norms_are_quantized(tmp_path, name):
    torch.manual_seed(0)
    model = generator_blueprint("spade:ngf=4 upsampling=normal semantic=3", Canvas(1, 64, 64, reads=3)).build().eval()
    regions = torch.randn(8, 3, 8, 8).repeat_interleave(8, 2).repeat_interleave(8, 3).argmax(1)
    maps = nn.functional.one_hot(regions, 3).permute(0, 3, 1, 2).float()
    path = tmp_path / f"generator{TARGETS[name].suffix}"
    TARGETS[name].write(model, path, maps[:2], "int8", maps[:6])
    assert compare_outputs(model, TARGETS[name].open(path), maps[6:]).snr_db > 10  # 0 where layers do not fit
    assert TARGETS[name].kernels(path, maps[:1]).integer_layers > 0
