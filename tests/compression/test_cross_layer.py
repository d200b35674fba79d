"""Cross-layer equalization: the same generator, with equal ranges of each channel on both sides."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from ganpress.compression.preparation.cross_layer import equalize_layers
from ganpress.compression.quantization import QuantizationConfig, quantize
from ganpress.errors import ConfigError
from ganpress.metrics.fidelity import compare_outputs


class Chain(nn.Module):
    """Layers of every kind in a row, then a branch that no factor may pass."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.second = nn.ConvTranspose2d(6, 8, 4, 2, 1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.third = nn.Conv2d(8, 8, 3)
        self.shift = nn.Parameter(torch.randn(8))
        self.fourth = nn.Conv2d(8, 8, 1)
        self.branch = nn.Conv2d(8, 8, 1, groups=8)
        self.head = nn.Conv2d(8, 3, 1)

    def forward(self, x):
        x = functional.relu(self.first(x))
        x = functional.leaky_relu(self.norm(self.second(x)), 0.2)
        x = functional.relu(self.third(functional.pad(x, (1, 1, 1, 1), "reflect")) + self.shift[:, None, None])
        x = self.fourth(x)
        return torch.tanh(self.head(x + self.branch(functional.relu(x))))


def pictures(count=4):
    return torch.rand((count, 3, 8, 8), generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture
def chain():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Chain()
        with torch.no_grad():
            model.first.weight.mul_(torch.logspace(-1, 1, 6)[:, None, None, None])
            model.second.weight.div_(torch.logspace(-1, 1, 6)[:, None, None, None])
            model.norm.weight.copy_(torch.logspace(-1, 1, 8))
            model.norm.bias.copy_(0.3 * torch.randn(8) * torch.logspace(-1, 1, 8))
            model.third.weight.div_(torch.logspace(-1, 1, 8)[None, :, None, None])
            for _ in range(5):
                model.train()(pictures())
        return model.eval()


def reach(weight, channel):
    return weight.detach().transpose(0, channel).flatten(1).abs().amax(1)


def test_images_are_the_same_and_the_model_is_left_alone(chain):
    before = {name: tensor.clone() for name, tensor in chain.state_dict().items()}
    rewritten = equalize_layers(chain, pictures(1))
    assert compare_outputs(chain, rewritten, pictures()).snr_db > 90
    assert all(torch.equal(tensor, before[name]) for name, tensor in chain.state_dict().items())


def test_both_sides_of_each_channel_reach_alike(chain):
    model = equalize_layers(chain, pictures(1))
    torch.testing.assert_close(reach(model.first.weight, 0), reach(model.second.weight, 0), rtol=0.05, atol=0)
    gain = model.norm.weight.abs() / (model.norm.running_var + model.norm.eps).sqrt()
    torch.testing.assert_close(reach(model.second.weight, 1) * gain, reach(model.third.weight, 1), rtol=0.05, atol=0)
    torch.testing.assert_close(reach(model.third.weight, 0), reach(model.fourth.weight, 1), rtol=0.05, atol=0)


def test_what_a_branch_or_a_group_reads_stays(chain):
    model = equalize_layers(chain, pictures(1))
    assert torch.equal(model.branch.weight, chain.branch.weight)
    assert torch.equal(model.head.weight, chain.head.weight)
    assert torch.equal(model.fourth.bias, chain.fourth.bias)


def test_normalisation_without_weights_takes_the_factors_into_its_statistics(trained_like):
    model, z = trained_like("4", 16, 1), torch.randn(16, 100, generator=torch.Generator().manual_seed(0))
    rewritten = equalize_layers(model, z[:1])
    assert compare_outputs(model, rewritten, z).snr_db > 90
    assert not torch.equal(rewritten.blocks[0].norm.running_var, model.blocks[0].norm.running_var)


def test_one_scale_for_all_channels_fits_them_better(chain):
    config = QuantizationConfig(8, 8, per_channel=False)
    rough, even = (quantize(model, pictures(), config) for model in (chain, equalize_layers(chain, pictures(1))))
    gain = compare_outputs(chain, even, pictures()).snr_db - compare_outputs(chain, rough, pictures()).snr_db
    assert gain > 3


def test_nothing_to_equalize_is_refused():
    with pytest.raises(ConfigError, match="Sequential has no two layers .* could be equalized; leave out equalized"):
        equalize_layers(nn.Sequential(nn.Conv2d(3, 3, 1), nn.Tanh(), nn.Conv2d(3, 3, 1)), pictures(1))
