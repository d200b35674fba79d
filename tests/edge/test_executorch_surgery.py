"""Operators rewritten for XNNPACK equal the original ones to the last bits of float64."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from ganpress.edge.targets.executorch_surgery import instance_norm, pad, repeating_kernel, rewrite_
from models.builders import generator_blueprint
from models.family import Canvas

aten = torch.ops.aten
REPLACED = {aten.instance_norm.default, aten.pad.default, aten.upsample_nearest2d.vec}


def pictures(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def graph_of(model, example):
    with torch.no_grad():
        return torch.export.export(model.eval(), (example,)).module()


def operators(graph, example):
    return {node.target for node in torch.export.export(graph, (example,)).graph.nodes if node.op == "call_function"}


def eps(dtype=torch.float64):
    return torch.full((1, 1, 1, 1), 1e-5, dtype=dtype)


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("own_statistics", [True, False])
def test_instance_norm_is_torchs(affine, own_statistics):
    x = 3 * pictures(2, 5, 7, 6) + 4
    weight, bias, mean = (pictures(5, seed=seed) for seed in (1, 2, 3))
    parameters = (weight, bias) if affine else (None, None)
    statistics = (mean, mean.abs() + 0.1)
    wanted = functional.instance_norm(x, *statistics, *parameters, own_statistics, 0.1, 1e-5)
    found = instance_norm(x, *parameters, *statistics, own_statistics, eps())
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)


def test_variance_survives_a_mean_far_from_zero():
    x = pictures(1, 3, 16, 16, dtype=torch.float32) + 3000
    found = instance_norm(x, None, None, None, None, True, eps(torch.float32))
    wanted = functional.instance_norm(x.double())
    assert (found - wanted).abs().max() < 0.01  # a mean of squares less a squared mean is off by more than 0.3


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular", "constant"])
@pytest.mark.parametrize("sides", [(1, 1, 1, 1), (3, 3, 3, 3), (0, 2, 1, 0), (0, 0, 0, 0)])
def test_borders_are_torchs(mode, sides):
    x = pictures(2, 3, 5, 6)
    assert torch.equal(pad(x, sides, mode), functional.pad(x, sides, mode))


def test_cut_borders_are_torchs():
    x = pictures(1, 2, 6, 6)
    assert torch.equal(pad(x, (-1, 2, 0, 1), "reflect"), functional.pad(x, (-1, 2, 0, 1), "reflect"))


class Resized(nn.Module):
    def __init__(self, size=None, scale=None):
        super().__init__()
        self.size, self.scale = size, scale

    def forward(self, x):
        return functional.interpolate(x, self.size, self.scale, mode="nearest") + 1


@pytest.mark.parametrize(
    ("model", "stays"),
    [
        (Resized((10, 18)), False),
        (Resized(scale=2.0), False),
        (Resized((5, 6)), False),
        (Resized((7, 6)), True),
        (Resized((5, 3)), True),
    ],
)
def test_repeated_pixels_are_torchs(model, stays):
    x = pictures(2, 6, 5, 6)
    graph = graph_of(model, x)
    rewrite_(graph)
    assert torch.equal(graph(x), model(x))
    assert (aten.upsample_nearest2d.vec in operators(graph, x)) == stays


@pytest.mark.parametrize("channels", [1, 6, 16, 48])
def test_each_channel_is_repeated_for_itself(channels):
    x, kernel = pictures(1, channels, 3, 2), repeating_kernel(channels, 2, 3).double()
    wanted = x.repeat_interleave(2, 2).repeat_interleave(3, 3)
    groups = channels // kernel.shape[1]
    assert torch.equal(functional.conv_transpose2d(x, kernel, stride=(2, 3), groups=groups), wanted)


def test_norms_of_sequences_stay_as_they_are():
    x = pictures(2, 3, 9)
    graph = graph_of(nn.InstanceNorm1d(3), x)
    rewrite_(graph)
    assert aten.instance_norm.default in operators(graph, x)


class SmallerThenConvolved(nn.Module):
    def __init__(self, size=None, scale=None, **layer):
        super().__init__()
        self.size, self.scale = size, scale
        self.conv = nn.Conv2d(4, 8, 3, **layer)

    def forward(self, x):
        return self.conv(functional.interpolate(x, self.size, self.scale, mode="nearest"))


@pytest.mark.parametrize(
    "model",
    [
        SmallerThenConvolved((6, 4), padding=1),
        SmallerThenConvolved((6, 4), stride=2, padding=(1, 2), groups=4, bias=False),
        SmallerThenConvolved(scale=0.25, padding=2, dilation=2),
        SmallerThenConvolved((8, 8), padding=1),
    ],
)
def test_convolution_reads_the_picture_itself(model):
    x, model = pictures(2, 4, 24, 16), model.double()
    graph = graph_of(model, x)
    rewrite_(graph)
    assert aten.upsample_nearest2d.vec not in operators(graph, x)
    torch.testing.assert_close(graph(x), model(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("model", [SmallerThenConvolved((7, 5)), SmallerThenConvolved((16, 16))])
def test_other_sizes_stay_as_they_are(model):
    x, model = pictures(1, 4, 24, 16), model.double()
    graph = graph_of(model, x)
    rewrite_(graph)
    assert aten.upsample_nearest2d.vec in operators(graph, x)
    assert torch.equal(graph(x), model(x))


def test_numbers_have_the_layout_of_pictures():
    x = pictures(1, 3, 4, 4)
    graph = graph_of(Resized((4, 4)), x)
    rewrite_(graph)
    (added,) = [node.args[1] for node in graph.graph.nodes if node.target is aten.add.Tensor]
    assert torch.equal(graph.get_buffer(added.target), torch.ones(1, 1, 1, 1, dtype=torch.float64))
    assert torch.equal(graph(x), x + 1)


@pytest.mark.parametrize(
    ("name", "reads", "size"),
    [
        ("resnet_9blocks:ngf=2", 3, 16),
        ("mobile_resnet_9blocks:ngf=2", 3, 16),
        ("spade:ngf=2 upsampling=normal semantic=3", 3, 64),
    ],
)
def test_generators_stay_exact_and_keep_no_operator_that_splits_them(name, reads, size):
    torch.manual_seed(0)
    model = generator_blueprint(name, Canvas(3, size, size, reads=reads)).build().double()
    x = pictures(1, reads, size, size)
    graph = graph_of(model, x)
    rewrite_(graph)
    assert not operators(graph, x) & REPLACED
    torch.testing.assert_close(graph(x), model.eval()(x), rtol=1e-9, atol=1e-11)
