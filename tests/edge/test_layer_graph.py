"""Layers that are written node by node compute the same in ONNX Runtime and in torch."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional

from ganpress.edge.forms.written_form import WrittenForm
from ganpress.edge.graphs.graph_writer import DrawnModule
from ganpress.edge.graphs.layer_forms import FORMS
from ganpress.edge.graphs.layer_graph import drawn, layer_graph
from ganpress.edge.graphs.network_graph import network_graph
from ganpress.edge.onnx_runtime import OnnxGenerator
from ganpress.registries import TARGETS
from ganpress.search.layer_runs import LayerNetwork, trace_layers
from models.builders import generator_blueprint
from models.families import find_family
from models.family import Canvas

FAMILIES = {
    "wdcgan:2": Canvas(1, 16, 16),
    "mobile_resnet_9blocks:ngf=2": Canvas(3, 16, 16, 3),
    "edge_resnet_9blocks:ngf=2": Canvas(3, 16, 16, 3),
    "unet_32:ngf=2": Canvas(3, 32, 32, 3),
}


class Calls(nn.Module):
    """Functions in a row, as a network."""

    def __init__(self, *functions):
        super().__init__()
        self.functions = functions

    def forward(self, x):
        for function in self.functions:
            x = function(x)
        return x


def channels(x):
    return torch.rand(x.shape[1])


FUNCTIONS = {
    "conv2d": [
        lambda x: functional.conv2d(
            x, torch.rand(4, 2, 3, 3), torch.rand(4), padding=(0, 1), dilation=(1, 2), groups=2
        ),
        lambda x: functional.conv2d(x, torch.rand(3, 4, 2, 3), padding="same"),
        lambda x: functional.conv2d(x, torch.rand(3, 4, 3, 3), padding="valid", stride=2),
    ],
    "conv_transpose2d": [
        lambda x: functional.conv_transpose2d(
            x, torch.rand(4, 1, 3, 3), None, stride=2, padding=1, output_padding=1, groups=2
        )
    ],
    "linear": [lambda x: functional.linear(x.flatten(1), torch.rand(3, 144), torch.rand(3))],
    "batch_norm": [
        lambda x: functional.batch_norm(x, channels(x), channels(x), eps=0.1),
        lambda x: functional.batch_norm(x, channels(x), channels(x), channels(x), channels(x)),
    ],
    "instance_norm": [
        lambda x: functional.instance_norm(x, eps=0.1),
        lambda x: functional.instance_norm(x, weight=channels(x), bias=channels(x)),
    ],
    "pad": [
        lambda x: functional.pad(x, (1, 0, 2, 3), value=0.5),
        *(lambda x, mode=mode: functional.pad(x, (1, 0, 2, 3), mode) for mode in ("reflect", "replicate", "circular")),
    ],
    "interpolate": [
        lambda x: functional.interpolate(x, size=(9, 3)),
        lambda x: functional.interpolate(x, scale_factor=2, mode="bilinear"),
    ],
    "pixel_shuffle": [lambda x: functional.pixel_shuffle(x, 2)],
    "getitem": [lambda x: x[:, :, 1:-1, 2:]],
    "cat": [lambda x: torch.cat([x, x], dim=1)],
    "adaptive_avg_pool2d": [lambda x: functional.adaptive_avg_pool2d(x, 1)],
    "add": [lambda x: x + torch.rand(4, 1, 1)],
    "sub": [lambda x: x - 0.25],
    "mul": [lambda x: x * x],
    "div": [lambda x: x / 3],
    "relu": [torch.relu],
    "tanh": [torch.tanh],
    "sigmoid": [torch.sigmoid],
    "hardswish": [functional.hardswish],
    "hardsigmoid": [functional.hardsigmoid],
    "leaky_relu": [lambda x: functional.leaky_relu(x, 0.3)],
    "prelu": [lambda x: functional.prelu(x, channels(x)), lambda x: functional.prelu(x, torch.rand(1))],
    "clamp": [lambda x: torch.clamp(x, max=0.2), lambda x: x.clamp(-0.1, 0.1)],
}


IN_NETWORKS = {
    "abs": [lambda x: torch.abs(x - 0.5)],
    "argmax": [lambda x: functional.embedding(x.argmax(1), TABLE).permute(0, 3, 1, 2)],
    "argmin": [lambda x: functional.embedding(torch.argmin(x, dim=-1), TABLE)],
    "avg_pool2d": [lambda x: functional.avg_pool2d(x, 2), lambda x: functional.avg_pool2d(x, 3, 2, 1)],
    "bmm": [lambda x: torch.bmm(x.flatten(2), x.flatten(2).transpose(1, 2))],
    "cdist": [lambda x: torch.cdist(x.flatten(2), TABLE.repeat(1, 12))],
    "cos": [torch.cos],
    "elu": [lambda x: functional.elu(x - 0.5)],
    "embedding": [lambda x: functional.embedding((x * 3).long(), TABLE)],
    "erf": [torch.erf],
    "exp": [torch.exp],
    "expand": [lambda x: x.mean(1, keepdim=True).expand(-1, 4, -1, -1)],
    "floor": [lambda x: torch.floor(x * 3)],
    "gelu": [lambda x: functional.gelu(x - 0.5), lambda x: functional.gelu(x - 0.5, approximate="tanh")],
    "glu": [lambda x: functional.glu(x, 1)],
    "group_norm": [
        lambda x: functional.group_norm(x, 1),
        lambda x: functional.group_norm(x, 2, SCALES, SCALES, 0.1),
    ],
    "layer_norm": [
        lambda x: functional.layer_norm(x, (6,)),
        lambda x: functional.layer_norm(x.permute(0, 2, 3, 1), (4,), SCALES, SCALES, 0.1),
    ],
    "long": [lambda x: functional.embedding((x * 2.9).long(), TABLE)],
    "matmul": [lambda x: torch.matmul(x, x), lambda x: x @ torch.ones(6, 3)],
    "max_pool2d": [lambda x: functional.max_pool2d(x, 2), lambda x: functional.max_pool2d(x, 3, 2, 1)],
    "mean": [lambda x: x.mean((2, 3)), lambda x: x.mean(1, keepdim=True)],
    "mish": [functional.mish],
    "neg": [lambda x: -x],
    "permute": [lambda x: x.permute(0, 2, 3, 1)],
    "pow": [lambda x: x**3, lambda x: torch.pow(x, 0.5)],
    "relu6": [lambda x: functional.relu6(x * 9)],
    "repeat": [lambda x: x.repeat(1, 2, 1, 3)],
    "rsqrt": [torch.rsqrt],
    "rsub": [lambda x: 1 - x],
    "silu": [functional.silu],
    "sin": [torch.sin],
    "softmax": [lambda x: torch.softmax(x, dim=1), lambda x: functional.softmax(x, -1)],
    "softplus": [functional.softplus],
    "sqrt": [torch.sqrt],
    "stack": [lambda x: torch.stack([x, x * 2], dim=2)],
    "sum": [lambda x: x.sum(dim=(1, 2)), lambda x: x.sum(-1, keepdim=True)],
    "transpose": [lambda x: x.transpose(1, 3)],
}
TABLE = torch.rand(6, 3, generator=torch.Generator().manual_seed(2))
SCALES = torch.rand(4, generator=torch.Generator().manual_seed(3))


def layers_of(build, shape):
    return list({layer.key: layer for layer in trace_layers(build, shape)}.values())


def network_of(layer):
    return LayerNetwork(layer, torch.Generator().manual_seed(0)).eval()


def check(layer, folder):
    """The drawn layer against torch, on the shape that it runs on."""
    network = network_of(layer)
    x = torch.rand(layer.input_shape, generator=torch.Generator().manual_seed(1)) - 0.5
    path = folder / "layer.onnx"
    path.write_bytes(layer_graph(network, x))
    with torch.no_grad():
        torch.testing.assert_close(OnnxGenerator(path, 1)(x), network(x), rtol=1e-4, atol=1e-5, msg=layer.key)


def test_each_form_has_an_example():
    assert FUNCTIONS.keys() | IN_NETWORKS.keys() == FORMS.keys() - {"concat", "truediv"}  # other names of `cat`, `div`


@pytest.mark.parametrize("name", sorted(IN_NETWORKS))
def test_each_form_of_a_network_computes_what_torch_computes(tmp_path, name):
    """On a batch that the graph was not drawn with."""
    x = torch.rand(3, 4, 6, 6, generator=torch.Generator().manual_seed(1)) + 0.01
    for function in IN_NETWORKS[name]:
        network = Calls(function).eval()
        path = tmp_path / "network.onnx"
        path.write_bytes(network_graph(network, x[:1]))
        found, wanted = OnnxGenerator(path, 1)(x), network(x)
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_each_form_computes_what_torch_computes(tmp_path, name):
    for function in FUNCTIONS[name]:
        (layer,) = layers_of(partial(Calls, function), (1, 4, 6, 6))
        assert [call.name for call in layer.calls] == [name]
        check(layer, tmp_path)


def test_a_view_between_fused_calls_is_kept(tmp_path):
    def product(x):
        return functional.linear(x, torch.rand(8, 3)).reshape(-1, 2, 2, 2)

    (layer,) = layers_of(lambda: Calls(product, lambda x: functional.batch_norm(x, channels(x), channels(x))), (1, 3))
    assert [call.name for call in layer.calls] == ["linear", "batch_norm"]
    check(layer, tmp_path)


@pytest.mark.parametrize("number_type", ["float32", "int8"])
@pytest.mark.parametrize("name", FAMILIES)
def test_all_layers_of_generators_are_drawn(tmp_path, name, number_type):
    """As the runtime gets them: transposed convolutions in its form, narrow outputs in blocks."""
    shape = find_family(name)[1].input_shape(FAMILIES[name])
    blueprint, written = generator_blueprint(name, FAMILIES[name]), WrittenForm(TARGETS["onnx"], number_type)
    layers = layers_of(lambda: written(blueprint.build().eval(), torch.empty(shape)), shape)
    assert (number_type == "int8") <= ("conv_transpose2d" not in {call.name for one in layers for call in one.calls})
    for layer in layers:
        check(layer, tmp_path)


def test_what_has_no_form_is_left_to_torch_onnx():
    odd = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Softshrink())
    first, second = layers_of(lambda: odd, (1, 3, 4, 4))
    assert isinstance(drawn(network_of(first), torch.rand(first.input_shape)), DrawnModule)
    network = network_of(second)
    assert drawn(network, torch.rand(second.input_shape)) is network


@pytest.mark.parametrize(
    "run",
    [
        lambda x: functional.interpolate(x, size=(3, 3), mode="bicubic"),
        lambda x: functional.interpolate(x, size=(8, 8), mode="bilinear", align_corners=True),
        lambda x: functional.adaptive_avg_pool2d(x, 2),
        lambda x: x[:, :, ::2],
        lambda x: torch.add(x, x, alpha=2),
    ],
)
def test_other_ways_to_call_are_not_drawn_wrongly(run):
    (layer,) = layers_of(lambda: Calls(run), (1, 4, 4, 4))
    assert not isinstance(drawn(network_of(layer), torch.rand(layer.input_shape)), DrawnModule)
