"""Latency of sub-generators in the runtimes that they are exported to: the timed network is the exported one."""

import math
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import nn

from ganpress.config.search_section import SearchConfig
from ganpress.edge.forms.written_form import WrittenForm
from ganpress.edge.graphs.layer_graph import drawn
from ganpress.errors import ConfigError
from ganpress.imported.import_card import load_imported
from ganpress.imported.importing import ImportRequest, import_generator
from ganpress.registries import TARGETS
from ganpress.search.latency_prediction import LatencyPredictor, sample_specs
from ganpress.search.latency_table import LatencyTable
from ganpress.search.layer_runs import IDLE, Layer, LayerNetwork, trace_layers
from models.builders import elastic_blueprint, elastic_of, generator_blueprint, subnet_blueprint
from models.family import Canvas
from tasks.shared import subnet_latency
from tasks.shared.stage import Stage

FOREIGN = Path(__file__).parents[1] / "foreign"
UNET = Canvas(3, 32, 32, 3)


def runtime(name, number_type, slow=False):
    absent = TARGETS[name].missing()
    marks = [pytest.mark.skipif(absent is not None, reason=f"needs {absent}"), *([pytest.mark.slow] if slow else [])]
    return pytest.param(name, number_type, marks=marks)


RUNTIMES = [
    runtime("onnx", "float32"),
    runtime("onnx", "int8"),
    runtime("openvino", "float32"),
    runtime("openvino", "int8", slow=True),  # NNCF takes seconds to import
    runtime("mnn", "float32"),
    runtime("mnn", "int8"),
    runtime("ncnn", "float32"),
    runtime("executorch", "float32", slow=True),
    runtime("executorch", "int8", slow=True),
]


def product():
    """A layer that outlasts an idle call (convolution, batch normalisation, activation); its network; an input."""

    def block():
        return nn.Sequential(nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU())

    (layer,) = trace_layers(block, (1, 16, 64, 64))
    return layer, LayerNetwork(layer, torch.Generator().manual_seed(0)).eval(), torch.rand(1, 16, 64, 64)


@pytest.mark.parametrize(("name", "number_type"), RUNTIMES)
def test_layers_are_timed_in_the_runtime_and_leave_no_files(tmp_path, name, number_type):
    layer, network, example = product()
    deploy = subnet_latency.deployer(name, tmp_path, number_type)
    table = LatencyTable(deploy, rounds=3)
    assert table.milliseconds(layer) > 0
    result = deploy(network, example)(example)
    with torch.no_grad():
        torch.testing.assert_close(result, network(example), rtol=0.05, atol=0.05)
    assert (
        deploy(LayerNetwork(IDLE, torch.Generator()).eval(), torch.ones(IDLE.input_shape))(torch.ones(1, 1, 1, 1)) == 1
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "number_type"), [one for one in RUNTIMES if one.values[0] != "executorch"])
def test_a_drawn_layer_runs_on_kernels_of_the_number_type(tmp_path, name, number_type):
    """By the runtime's own profile: a layer in floats would tell nothing of a network in integers."""
    _, network, example = product()
    path = tmp_path / f"layer{TARGETS[name].suffix}"
    TARGETS[name].write(drawn(network, example), path, example, number_type, example)
    profile = TARGETS[name].kernels(path, example)
    assert (profile.layers, profile.integer_layers) == (1, int(number_type == "int8"))


@pytest.mark.parametrize("form", ["float32", "int8"])  # ONNX Runtime: native and sub-pixel
def test_the_form_found_at_one_width_is_exact_at_another(form):
    written = WrittenForm(TARGETS["onnx"], form)
    x = torch.rand(1, 3, 32, 32) * 2 - 1
    for name in ("unet_32:ngf=2", "unet_32:ngf=3"):
        model = generator_blueprint(name, UNET).build().eval()
        with torch.no_grad():
            rewritten = written(model, x)
            torch.testing.assert_close(rewritten(x), model(x), rtol=1e-4, atol=1e-5)
        assert not any(isinstance(layer, nn.BatchNorm2d) for layer in rewritten.modules())


class ShapeTable(LatencyTable):
    """Times that follow from the shapes; no clock runs."""

    def _time(self, layers):
        return [
            1 + sum(math.prod(operand.shape) for call in one.calls for operand in call.operands) / 1e4 for one in layers
        ]


@dataclass(frozen=True)
class Predicted:
    """A sub-generator that the predictor has not seen, between the smallest and the largest of its space."""

    latency: float
    true: float
    smallest: float
    largest: float
    layers: tuple[Layer, ...]
    """Of the smallest."""


def predict_one(blueprint, shape):
    """Predict a sub-generator's latency, in a space where it is the sum of what its layers take."""
    written = WrittenForm(TARGETS["onnx"], "float32")

    def trace(spec):
        return trace_layers(
            lambda: written(subnet_blueprint(blueprint, spec).build().eval(), torch.empty(shape)), shape
        )

    table, space = ShapeTable(lambda network, example: network, rounds=1), blueprint.build().space
    specs = sample_specs(space, 7, seed=0)
    true = {spec: 1 + 2 * sum(map(table.milliseconds, trace(spec))) for spec in specs}
    predictor = LatencyPredictor(trace, table, dict(list(true.items())[:6]))
    unseen = specs[6]
    ends = (true[space.smallest], true[space.largest])
    return Predicted(predictor(unseen), true[unseen], *ends, trace(space.smallest))


def test_a_family_is_a_space_with_latency():
    one = predict_one(elastic_blueprint("unet_32", UNET, ((2, 4, 8),)), (1, 3, 32, 32))
    assert one.latency == pytest.approx(one.true)
    assert one.smallest < one.true < one.largest


@pytest.mark.parametrize(
    ("factory", "shape"), [("srgan:build_small", (1, 3, 8, 8)), ("nested_unet:build", (1, 3, 32, 32))]
)
def test_an_imported_network_is_a_space_with_latency(tmp_path, monkeypatch, factory, shape):
    monkeypatch.setattr(sys, "path", [str(FOREIGN), *sys.path])
    import_generator(tmp_path, ImportRequest(factory, None, shape, "mine"))
    _, imported = load_imported(tmp_path, "mine")
    one = predict_one(elastic_of(imported, ((25, 50, 100),)), shape)
    assert one.latency == pytest.approx(one.true)
    assert one.smallest < one.true < one.largest
    for layer in one.layers:
        network = LayerNetwork(layer, torch.Generator().manual_seed(0)).eval()
        assert drawn(network, torch.rand(layer.input_shape)) is not network


def config(**changes):
    settings = {"metric": "fid", "images": 2, "calibration_images": 2, "exhaustive_limit": 10, "generations": 1}
    return SearchConfig.model_validate(settings | {"max_latency_ms": 1.0} | changes)


def test_tables_of_other_machines_runtimes_and_measurements_are_other_files(tmp_path, monkeypatch):
    stage = Stage("search", None, tmp_path, {"seed": 1})
    wanted = [
        config(latency_runtime="torch"),
        config(latency_runtime="onnx"),
        config(latency_runtime="onnx", latency_number_type="int8"),
        config(latency_runtime="onnx", latency_repeats=7),
    ]
    files = [subnet_latency.table_file(stage, one) for one in wanted]
    assert files == [subnet_latency.table_file(stage, one) for one in wanted]
    monkeypatch.setattr(subnet_latency.platform, "node", lambda: "another")
    files += [subnet_latency.table_file(stage, one) for one in wanted]
    monkeypatch.setattr(TARGETS["onnx"], "version", lambda: "onnxruntime 99", raising=False)
    files += [subnet_latency.table_file(stage, one) for one in wanted[1:]]
    assert len(set(files)) == len(files) == 11


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"latency_number_type": "int8"}, "latency_number_type of 'torch' is float32, found 'int8'"),
        (
            {"latency_runtime": "executorch", "latency_number_type": "bfloat16"},
            "latency_number_type of 'executorch' is float32, int8, found 'bfloat16'",
        ),
        ({"latency_runtime": "tflite"}, "unknown runtime 'tflite'; known: torch, onnx, openvino, executorch"),
    ],
)
def test_what_a_runtime_cannot_compute_in_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        config(**changes)


def test_a_network_with_tensors_that_nobody_registered_is_refused_in_one_line():
    class Hidden(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.offsets = nn.Conv2d(3, 3, 1), [torch.zeros(3, 1, 1, device="cpu")]

        def forward(self, x):
            return self.conv(x) + self.offsets[0]

    written = WrittenForm(TARGETS["onnx"], "float32")
    with pytest.raises(ConfigError, match=r"layers cannot be listed: [^\n]*; set search\.latency to 'measured'$"):
        trace_layers(lambda: written(Hidden().eval(), torch.empty(1, 3, 4, 4)), (1, 3, 4, 4))
