"""Quantization of any generator, layer by layer, and the integer graph that it becomes."""

from collections import Counter
from pathlib import Path

import onnx
import onnxruntime
import pytest
import torch
from torch import nn
from torch.nn import functional

from ganpress.compression.preparation.sites import Site, find_sites
from ganpress.compression.quantization import QuantizationConfig, quantize, quantized_blueprint
from ganpress.edge.graphs.onnx_export import export_onnx
from ganpress.edge.onnx_runtime import OnnxGenerator
from ganpress.errors import ConfigError
from ganpress.files.checkpoint import load_model, save_model
from ganpress.metrics.fidelity import compare_outputs
from ganpress.structure.surgery import plain_convolution
from models.builders import Blueprint
from models.quantized_geometry import geometry_of

RESNET = Blueprint("resnet_generator", {"spec": "ngf=4", "in_channels": 3, "out_channels": 3, "separable": True})
SPADE = Blueprint("spade_generator", {"spec": "ngf=2 semantic=5 upsampling=normal", "channels": 3, "separable": True})


class Small(nn.Module):
    """Every kind of layer: linear, transposed, folded, activated, rearranged."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 5 * 16)
        self.up = nn.ConvTranspose2d(5, 8, 3, 2, 1, 1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.shuffled = nn.Conv2d(8, 12, 3, padding=1, padding_mode="reflect")
        self.act = nn.PReLU()
        self.head = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, z):
        x = self.linear(z).reshape(-1, 5, 4, 4)
        x = torch.relu(self.norm(self.up(x)))
        return torch.tanh(self.head(self.act(functional.pixel_shuffle(self.shuffled(x), 2))))


@pytest.fixture
def small():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Small()
        for _ in range(5):
            model(torch.randn(16, 6))
        return model.eval()


def inputs(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def pictures(count, channels, size, seed=0):
    return functional.interpolate(inputs(count, channels, 8, 8, seed=seed), size=size, mode="bilinear").clamp(-1, 1)


def built(blueprint):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return blueprint.build().eval()


@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2])
def test_every_transposed_convolution_has_an_exact_plain_form(kernel, stride, groups):
    x = inputs(2, 4, 5, 7).double()
    for padding in range(kernel):
        for output_padding in range(stride):
            layer = nn.ConvTranspose2d(4, 6, kernel, stride, padding, output_padding, groups).double()
            geometry = geometry_of(layer)
            weight, bias = plain_convolution(layer)
            found = geometry.rearrange(geometry.convolve(x, weight.double(), bias.double()))
            torch.testing.assert_close(found, layer(x), rtol=0, atol=1e-6)


def test_the_resnets_transposed_convolution_needs_no_crop():
    geometry = geometry_of(nn.ConvTranspose2d(4, 6, 3, 2, 1, 1))
    assert (geometry.kernel, geometry.pad, geometry.crop) == ((2, 2), (0, 0, 1, 1), (0, 0, 0, 0))


def test_sites_are_found_with_what_follows_them(small):
    assert find_sites(small, inputs(1, 6)) == (
        Site("linear", readers=("up",)),
        Site("up", norm="norm", follower="relu", readers=("shuffled",)),
        Site("shuffled"),
        Site("head", follower="tanh"),
    )


def test_weights_alone_and_folding_are_near_exact(small):
    z = inputs(16, 6)
    assert compare_outputs(small, quantize(small, z, QuantizationConfig(8, None)), z).snr_db > 35


def test_eight_bits_are_near_and_fewer_are_farther(small):
    z, held_out = inputs(64, 6), inputs(16, 6, seed=1)
    snr = [
        compare_outputs(small, quantize(small, z, QuantizationConfig(bits, bits)), held_out).snr_db
        for bits in (3, 5, 8)
    ]
    assert snr == sorted(snr)
    assert snr[-1] > 28


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_no_channel_has_more_levels_than_its_bits(small, bits):
    quantized = quantize(small, inputs(16, 6), QuantizationConfig(bits, bits))
    for name in quantized.layers:
        layer = quantized.quantized_layer(name)
        assert layer.weight.dtype == torch.int8
        assert all(len(channel.unique()) <= 2**bits for channel in layer.weight)


@pytest.mark.parametrize("bits", [(8, 8), (4, 5), (8, None), (None, 8)])
def test_runtime_gives_the_simulations_images(small, tmp_path, bits):
    quantized, path = quantize(small, inputs(16, 6), QuantizationConfig(*bits)), tmp_path / "generator.onnx"
    export_onnx(quantized, path, inputs(2, 6))
    found = compare_outputs(quantized, OnnxGenerator(path, threads=1), inputs(9, 6, seed=1))
    assert found.max_abs_error <= max(quantized.output_step, 1e-5)


def test_every_layer_runs_in_integers(small, tmp_path):
    export_onnx(quantize(small, inputs(16, 6), QuantizationConfig(8, 8)), tmp_path / "g.onnx", inputs(2, 6))
    options = onnxruntime.SessionOptions()
    options.enable_profiling, options.profile_file_prefix = True, str(tmp_path / "profile")
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "g.onnx", options, providers=["CPUExecutionProvider"])
    session.run(None, {"z": inputs(1, 6).numpy()})
    profile = Path(session.end_profiling()).read_text()
    assert profile.count('"op_name" : "QLinearConv"') == 4
    found = Counter(node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node)
    assert not found.keys() & {"Conv", "ConvTranspose", "Gemm", "MatMul", "FusedConv"}


@pytest.mark.parametrize("blueprint", [RESNET, pytest.param(SPADE, marks=pytest.mark.slow)], ids=["resnet", "spade"])
def test_conditional_generators_survive_a_model_file(tmp_path, blueprint):
    model = built(blueprint)
    x = (
        pictures(3, 3, 32)
        if blueprint is RESNET
        else functional.one_hot(inputs(3, 64, 64).mul(2).long().clamp(0, 4), 5).permute(0, 3, 1, 2).float()
    )
    quantized = quantize(model, x, QuantizationConfig(8, 8), seed=7)
    assert compare_outputs(model, quantized, x).snr_db > 15
    save_model(tmp_path / "g.pt", quantized, quantized_blueprint(quantized, blueprint))
    loaded, found = load_model(tmp_path / "g.pt", "quantized")
    assert torch.equal(loaded(x), quantized(x))
    assert found == quantized_blueprint(loaded, blueprint)
    assert (loaded.calibration.count, loaded.calibration.seed) == (3, 7)


def test_layers_with_outliers_stay_in_floats():
    model, x = built(RESNET), pictures(3, 3, 32)
    everything = quantize(model, x, QuantizationConfig(8, 8, max_crest=1000))
    careful = quantize(model, x, QuantizationConfig(8, 8, max_crest=1e-3))
    assert "up1.0" in everything.layers
    assert careful.layers == ("head.1",)  # the one layer that no instance normalisation follows


def test_the_original_is_left_as_it_is(small):
    before = {name: tensor.clone() for name, tensor in small.state_dict().items()}
    quantize(small, inputs(4, 6), QuantizationConfig(8, 8))
    assert all(torch.equal(tensor, before[name]) for name, tensor in small.state_dict().items())


class Branching(nn.Module):
    """Decides by the values of its input."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, z):
        return self.linear(z) if z.sum() > 0 else -z


def test_what_cannot_be_quantized_is_refused(small):
    config = QuantizationConfig(8, 8)
    with pytest.raises(ConfigError, match="Branching cannot be traced, so that its layers cannot be found"):
        quantize(Branching(), inputs(2, 6), config)
    with pytest.raises(ConfigError, match="Tanh has no convolution or linear layer that can be quantized"):
        quantize(nn.Tanh(), inputs(2, 6), config)
    with pytest.raises(ConfigError, match=r"calibration inputs must be \(N, …\) with N >= 1, found \(0, 6\)"):
        quantize(small, inputs(0, 6), config)
    with pytest.raises(ConfigError, match=r"calibration inputs \(2, 5\) do not fit Small"):
        quantize(small, inputs(2, 5), config)
    with pytest.raises(ConfigError, match="layer 'linear' has activations that are not finite"):
        quantize(small, torch.full((2, 6), float("nan")), config)
    with pytest.raises(ConfigError, match="max_crest is a number of standard deviations above 0, found 0"):
        QuantizationConfig(8, 8, max_crest=0)


class _Masked(nn.Conv2d):
    def forward(self, x, mask):
        return super().forward(x * mask) * 2


class _MaskedNetwork(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.masked = nn.Conv2d(3, 8, 3, padding=1), _Masked(8, 8, 1)
        self.last = nn.Conv2d(8, 3, 1)

    def forward(self, x):
        return self.last(self.masked(self.first(x).relu(), x[:, :1]))


def test_a_convolution_of_several_inputs_stays_as_it_is():
    torch.manual_seed(0)
    network, x = _MaskedNetwork().eval(), torch.randn(8, 3, 8, 8)
    quantized = quantize(network, x, QuantizationConfig(8, 8))
    assert compare_outputs(network, quantized, x).snr_db > 25
    assert isinstance(quantized.get_submodule("network.masked"), _Masked)


class _Padded(nn.Conv2d):
    def forward(self, x):
        return super().forward(nn.functional.pad(x, (1, 1, 1, 1), mode="reflect")) * 2


class _TypeReader(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 3, 1)

    def forward(self, x):
        return self.last(self.first(x.to(self.first.weight.dtype)).relu())


@pytest.mark.parametrize(
    ("network", "in_floats"),
    [
        (lambda: nn.Sequential(_Padded(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 3, 1)), "0"),
        (_TypeReader, "first"),
    ],
)
def test_a_layer_stays_in_floats_that_computes_more_or_whose_number_type_is_read(network, in_floats):
    torch.manual_seed(0)
    made, x = network().eval(), torch.randn(8, 3, 8, 8)
    quantized = quantize(made, x, QuantizationConfig(8, 8))
    assert compare_outputs(made, quantized, x).snr_db > 25
    assert in_floats not in quantized.layers
    assert len(quantized.layers) == 1


@pytest.mark.parametrize("tracked", [False, True])
def test_instance_norms_with_statistics_of_their_own_and_with_stored_ones(tracked):
    torch.manual_seed(0)
    norms = [nn.InstanceNorm2d(8, affine=True, track_running_stats=tracked) for _ in range(2)]
    layers = [nn.Conv2d(3, 8, 3, padding=1), norms[0], nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), norms[1], nn.ReLU()]
    network, x = nn.Sequential(*layers, nn.Conv2d(8, 3, 3, padding=1)), torch.randn(24, 3, 16, 16)
    for _ in range(30):
        network(x)
    network.eval()
    quantized = quantize(network, x[:16], QuantizationConfig(8, 8))
    assert compare_outputs(network, quantized, x[16:]).snr_db > 25
