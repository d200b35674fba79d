"""Channels pruned without fine-tuning: a smaller network of the same architecture with nearly the same images."""

import pytest
import torch

from ganpress.compression.pruning.structured_pruning import prune_channels
from ganpress.compression.quantization import QuantizationConfig, quantize
from ganpress.errors import ConfigError
from ganpress.metrics.fidelity import compare_outputs
from ganpress.performance.generator_cost import generator_cost
from models.builders import Blueprint, generator_blueprint
from models.family import Canvas

NETWORKS = {
    "wdcgan:8": (Canvas(1, 16, 16), (100,)),
    "resnet_9blocks:ngf=4": (Canvas(3, 32, 32, 3), (3, 32, 32)),
    "unet_32:ngf=4": (Canvas(3, 32, 32, 3), (3, 32, 32)),
    "mobile_spade:ngf=4 upsampling=normal": (Canvas(3, 64, 64, 4), (4, 64, 64)),
}


def built(name, canvas, shape):
    blueprint = generator_blueprint(name, canvas)
    inputs = torch.randn(6, *shape, generator=torch.Generator().manual_seed(1))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = blueprint.build()
        with torch.no_grad():
            for _ in range(10):
                model.train()(inputs)
    return model.eval(), blueprint, inputs


@pytest.mark.parametrize("name", NETWORKS)
def test_narrower_networks_cost_less_and_are_rebuilt(name):
    model, blueprint, inputs = built(name, *NETWORKS[name])
    pruned, narrow = prune_channels(model, blueprint, 0.5, inputs)
    costs = [generator_cost(one, inputs[:1]) for one in (model, pruned)]
    assert costs[1].macs_exact < 0.6 * costs[0].macs_exact
    rebuilt = narrow.build().eval()
    rebuilt.load_state_dict(pruned.state_dict())
    assert torch.equal(rebuilt(inputs[:2]), pruned(inputs[:2]))
    assert narrow.builder == blueprint.builder


def test_channels_without_importance_cost_nothing():
    """Half of each layer's channels put out zeros: they are the ones that go."""
    model, blueprint, z = built("wdcgan:8", *NETWORKS["wdcgan:8"])
    with torch.no_grad():
        for block in model.blocks:
            silent = torch.arange(1, block.conv.out_channels, 2)
            block.conv.weight[:, silent] = 0
            block.bias[silent] = -1
            block.norm.momentum = None  # the statistics of the next batch, as the narrow network's will be
            block.norm.reset_running_stats()
        model.train()(z)
        pruned, narrow = prune_channels(model.eval(), blueprint, 0.5, z)
        assert narrow.arguments["spec"] == "4_4"
        torch.testing.assert_close(pruned(z), model(z), rtol=0, atol=1e-4)


def test_full_width_is_the_same_network():
    model, blueprint, inputs = built("resnet_9blocks:ngf=4", *NETWORKS["resnet_9blocks:ngf=4"])
    pruned, narrow = prune_channels(model, blueprint, 1.0, inputs)
    assert narrow.build().state_dict().keys() == model.state_dict().keys()
    assert compare_outputs(model, pruned, inputs).snr_db > 60


def test_pruned_networks_can_be_quantized():
    model, blueprint, inputs = built("resnet_9blocks:ngf=4", *NETWORKS["resnet_9blocks:ngf=4"])
    pruned, _ = prune_channels(model, blueprint, 0.75, inputs)
    quantized = quantize(pruned, inputs, QuantizationConfig(8, 8))
    assert compare_outputs(pruned, quantized, inputs).snr_db > 15


def test_what_cannot_be_cut_is_refused():
    model, blueprint, z = built("wdcgan:8", *NETWORKS["wdcgan:8"])
    with pytest.raises(ConfigError, match="width must be above 0 and at most 1, found 0"):
        prune_channels(model, blueprint, 0, z)
    with pytest.raises(ConfigError, match="a 'quantized' has no widths that could be cut: no family"):
        prune_channels(model, Blueprint("quantized", {}), 0.5, z)
