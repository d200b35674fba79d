"""Three networks that were not written for this project: imported, pruned, run as a supernet, extracted, exported."""

import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional

from ganpress.compression.pruning.structured_pruning import prune_channels
from ganpress.compression.quantization import QuantizationConfig, quantize
from ganpress.edge.graphs.onnx_export import export_onnx
from ganpress.edge.onnx_runtime import OnnxGenerator
from ganpress.imported.import_card import load_imported, read_card
from ganpress.imported.importing import ImportRequest, import_generator
from ganpress.metrics.fidelity import compare_outputs
from ganpress.performance.generator_cost import generator_cost
from models.builders import elastic_of, with_spec
from models.elastic import Spec
from models.imported_adapter import image_of
from models.imported_generator import build_network, groups_from_arguments
from models.thinning import thin_

FOREIGN = Path(__file__).parent / "foreign"
NETWORKS = {
    "srgan": ("srgan:build_small", (1, 3, 16, 16), (0.0, 1.0)),
    "unet": ("nested_unet:build", (1, 3, 32, 32), (-1.0, 1.0)),
    "segmentation": ("segmentation:build", (1, 3, 32, 32), (-1.0, 1.0)),
}
UNIT = (0.0, 1.0)
WIDTHS = ((25, 50, 100),)


@pytest.fixture(scope="module", autouse=True)
def foreign_modules():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(FOREIGN), *sys.path])
        yield


@pytest.fixture(scope="module", params=["srgan", "unet", pytest.param("segmentation", marks=pytest.mark.slow)])
def imported(request, foreign_modules, tmp_path_factory):
    """One imported network with random weights, and what belongs to it."""
    factory, shape, values = NETWORKS[request.param]
    root = tmp_path_factory.mktemp(request.param)
    torch.manual_seed(1)
    torch.save(_lively(build_network(factory)).state_dict(), root / "weights.pt")
    request = ImportRequest(factory, root / "weights.pt", shape, "mine", input_range=values, output_range=values)
    card = import_generator(root, request)
    generator, blueprint = load_imported(root, "mine")
    x = torch.rand((3, *shape[1:]), generator=torch.Generator().manual_seed(2)) * 2 - 1
    return SimpleNamespace(root=root, card=card, generator=generator, blueprint=blueprint, x=x, factory=factory)


def _lively(network):
    """Weights under which no channel is silent: fresh statistics and zero biases would hide wrong cuts."""
    with torch.no_grad():
        for tensor in (*network.parameters(), *network.buffers()):
            if tensor.is_floating_point() and tensor.dim() == 1:
                tensor.copy_(torch.rand(tensor.shape) + 0.5)
    return network


def _supernet(imported):
    blueprint = elastic_of(imported.blueprint, WIDTHS)
    elastic = blueprint.build()
    elastic.widest.load_state_dict(imported.generator.state_dict())
    return elastic.eval()


def _statistics(generator):
    return {name: tensor for name, tensor in generator.named_buffers() if "running_" in name or "num_batches" in name}


def test_card_says_what_was_imported(imported):
    assert read_card(imported.root, "mine") == imported.card
    assert imported.card.cost.parameters == sum(p.numel() for p in imported.generator.parameters())
    assert imported.card.output_shape == list(imported.generator(imported.x[:1]).shape)
    assert [group.name for group in imported.card.groups] == list(imported.blueprint.arguments["groups"])
    assert "its channels are those of the output" in {refusal.reason for refusal in imported.card.not_thinned}


def test_every_convolution_is_thinned_or_refused(imported):
    convolutions = {
        name
        for name, layer in imported.generator.network.named_modules()
        if isinstance(layer, torch.nn.Conv2d | torch.nn.ConvTranspose2d)
    }
    groups = groups_from_arguments(imported.blueprint.arguments["groups"])
    thinned = {slot.layer for group in groups for slot in group.slots if slot.side == "out"}
    # The output layer's companions in a sum are refused with it, under its name.
    refused = {refusal.layer for refusal in imported.card.not_thinned}
    assert convolutions - thinned - refused <= {"classifier.high_classifier"}
    assert len(thinned & convolutions) >= len(convolutions) - 2


def test_half_as_wide_costs_about_a_quarter(imported):
    half = with_spec(imported.blueprint, Spec((50,) * len(imported.card.groups))).build().eval()
    cost = generator_cost(half, imported.x[:1])
    assert half(imported.x).shape == imported.generator(imported.x).shape
    assert cost.macs_exact < 0.6 * imported.card.cost.macs_exact
    assert cost.parameters < 0.6 * imported.card.cost.parameters


def test_widest_supernet_is_the_original_bit_for_bit(imported):
    elastic = _supernet(imported)
    with torch.no_grad():
        images = elastic(imported.x, elastic.space.largest, _statistics(elastic.widest))
        assert torch.equal(images, imported.generator(imported.x))


@pytest.mark.parametrize("seed", [None, 0, 1])
def test_extracted_equals_supernet_bit_for_bit(imported, seed):
    elastic = _supernet(imported)
    space = elastic.space
    spec = space.smallest if seed is None else space.sample(torch.Generator().manual_seed(seed))
    statistics = elastic.calibrate(imported.x, spec)
    with torch.no_grad():
        expected = elastic(imported.x, spec, statistics)
        extracted = elastic.extract(spec, statistics)
        assert torch.equal(extracted(imported.x), expected)
        assert not torch.equal(expected, imported.generator(imported.x))


def test_supernet_cuts_what_thinning_cuts(imported):
    """The index maps of the supernet against the removal of channels from the network itself."""
    elastic = _supernet(imported)
    spec = elastic.space.sample(torch.Generator().manual_seed(3))
    network = build_network(imported.factory)
    network.load_state_dict(imported.generator.network.state_dict())
    thin_(network, groups_from_arguments(imported.blueprint.arguments["groups"]), spec.numbers)
    with torch.no_grad():
        extracted = elastic.extract(spec, {})
    thinned = {name: tensor for name, tensor in network.state_dict().items() if "running_" not in name}
    assert all(torch.equal(extracted.network.state_dict()[name], tensor) for name, tensor in thinned.items())


def test_gradients_of_a_narrow_network_reach_the_widest_alone_where_it_uses_it(imported):
    elastic = _supernet(imported).train()
    elastic(imported.x, elastic.space.smallest).square().mean().backward()
    first = imported.card.groups[0].name
    gradient = elastic.widest.network.get_submodule(first).weight.grad.abs().flatten(1).sum(1)
    kept = groups_from_arguments(imported.blueprint.arguments["groups"])[0].kept_units(25)
    assert int((gradient != 0).sum()) <= kept
    assert float(gradient[:kept].sum()) > 0


def test_torch_pruning_removes_the_same_channels(imported):
    """The library's own pruning of the same channels, bit for bit; it knows no pixel shuffle, which is left out."""
    from torch_pruning import DependencyGraph
    from torch_pruning.pruner.function import prune_conv_out_channels

    groups = groups_from_arguments(imported.blueprint.arguments["groups"])
    percents = [100 if group.name.startswith("block8") else 50 for group in groups]
    ours, theirs = (build_network(imported.factory).eval() for _ in range(2))
    for network in (ours, theirs):
        network.load_state_dict(imported.generator.network.state_dict())
    thin_(ours, groups, percents)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = DependencyGraph().build_dependency(
            theirs, imported.x[:1], lambda model, x: image_of(model(x)), verbose=False
        )
    for group, percent in zip(groups, percents, strict=True):
        removed = list(range(group.kept_units(percent), group.units))
        if removed:
            graph.get_pruning_group(theirs.get_submodule(group.name), prune_conv_out_channels, removed).prune()
    with torch.no_grad():
        assert torch.equal(image_of(ours(imported.x)), image_of(theirs(imported.x)))


@pytest.mark.slow
def test_thinned_network_runs_in_onnx_runtime(imported, tmp_path):
    half = with_spec(imported.blueprint, Spec((50,) * len(imported.card.groups))).build().eval()
    export_onnx(half, tmp_path / "half.onnx", imported.x)
    images = OnnxGenerator(tmp_path / "half.onnx", threads=1)(imported.x)
    with torch.no_grad():
        assert torch.allclose(images, half(imported.x), atol=1e-4)


@pytest.fixture(scope="module")
def srgan(foreign_modules, shared_data, tmp_path_factory):
    """The published x4 generator, from its published weights."""
    root = tmp_path_factory.mktemp("published")
    weights = shared_data / "generators" / "srgan_x4.pth"
    import_generator(root, ImportRequest("srgan:build", weights, (1, 3, 32, 32), input_range=UNIT, output_range=UNIT))
    return load_imported(root, "srgan")[0]


def _psnr(images, truth):
    return float(-10 * torch.log10(((images.clamp(-1, 1) - truth) / 2).square().mean()))


@pytest.mark.slow
def test_published_srgan_really_upscales(srgan):
    """Photographs shrunk by 4 come back nearer to the truth than by bicubic interpolation, and sharper."""
    from sklearn.datasets import load_sample_images

    for photograph in load_sample_images().images:
        truth = torch.tensor(photograph[128:384, 192:448]).permute(2, 0, 1)[None] / 127.5 - 1  # (1, 3, 256, 256)
        small = functional.interpolate(truth, scale_factor=0.25, mode="bicubic", antialias=True).clamp(-1, 1)
        bicubic = functional.interpolate(small, scale_factor=4.0, mode="bicubic")
        with torch.no_grad():
            drawn = srgan(small)
        assert drawn.shape == truth.shape
        assert _psnr(drawn, truth) > _psnr(bicubic, truth)
        assert abs(_detail(drawn) - _detail(truth)) < abs(_detail(bicubic) - _detail(truth))


def _detail(images):
    """Mean absolute difference between neighbouring pixels."""
    return float((images[..., 1:] - images[..., :-1]).abs().mean())


def test_channels_are_cut_without_training(imported):
    """The option `width` of the stage compress, on networks that the project does not know."""
    pruned, narrow = prune_channels(imported.generator, imported.blueprint, 0.5, imported.x)
    assert narrow.arguments["spec"] == "_".join(["50"] * len(imported.card.groups))
    assert generator_cost(pruned, imported.x[:1]).macs_exact < 0.6 * imported.card.cost.macs_exact
    rebuilt = narrow.build().eval()
    rebuilt.load_state_dict(pruned.state_dict())
    with torch.no_grad():
        assert torch.equal(rebuilt(imported.x), pruned(imported.x))
    quantized = quantize(pruned, imported.x, QuantizationConfig(8, 8))
    assert compare_outputs(pruned, quantized, imported.x).snr_db > 10
