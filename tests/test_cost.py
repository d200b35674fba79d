import csv

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from flows.__main__ import app
from ganpress.cost import Cost, generator_cost, named_cost
from ganpress.errors import ConfigError

DEPTHS = [1, 2, 3, 4, 8, 16, 32, 48, 64]


class ResidualBlock(nn.Module):
    """[ReflPad 1, Conv3, IN, ReLU, ReflPad 1, Conv3, IN] + skip."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = [nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width)]
        again = [nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width)]
        self.body = nn.Sequential(*half, nn.ReLU(), *again)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.body(x)


def resnet_generator(width: int) -> nn.Module:
    """The ResNet generator with nine blocks of the GAN Compression paper's CycleGAN and pix2pix."""
    layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(3, width, 7), nn.InstanceNorm2d(width), nn.ReLU()]
    for factor in (1, 2):
        narrow, wide = factor * width, 2 * factor * width
        layers += [nn.Conv2d(narrow, wide, 3, 2, 1), nn.InstanceNorm2d(wide), nn.ReLU()]
    layers += [ResidualBlock(4 * width) for _ in range(9)]
    for factor in (4, 2):
        wide, narrow = factor * width, factor * width // 2
        layers += [nn.ConvTranspose2d(wide, narrow, 3, 2, 1, 1), nn.InstanceNorm2d(narrow), nn.ReLU()]
    return nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(width, 3, 7), nn.Tanh())


def test_the_published_resnet_is_reproduced_exactly():
    # GAN Compression (Li et al. 2020), table 1: 11.3 M parameters, 56.8 G MACs at 256 x 256
    with torch.device("meta"):
        cost = generator_cost(resnet_generator(64), torch.empty(1, 3, 256, 256))
    assert cost == Cost(11_378_179, 49_551_507_456, 56_831_770_624, 4 * 11_378_179)


@pytest.mark.parametrize("depth", DEPTHS)
def test_wdcgan_has_the_published_polynomial_of_parameters(depth):
    # "Compressing GANs using Knowledge Distillation" (2019): P(d) = 672 d^2 + 12831 d + 1
    assert named_cost(f"wdcgan:{depth}").parameters == 672 * depth**2 + 12831 * depth + 1


@pytest.mark.parametrize("depth", DEPTHS)
def test_colour_adds_two_output_channels(depth):
    assert named_cost(f"wdcgan:{depth}", channels=3).parameters == 672 * depth**2 + 12831 * depth + 1 + 32 * depth + 2


def test_wdcgan_reproduces_the_table(shared_conformance):
    with (shared_conformance / "wdcgan_params.csv").open() as file:
        table = {row["depth"]: int(row["parameters"]) for row in csv.DictReader(file)}
    assert {depth: named_cost(f"wdcgan:{depth}").parameters for depth in table} == table


def test_macs_of_transposed_convolutions_are_counted_at_input_or_output():
    # 100 -> 8d at 1x1, then 8d -> 4d -> 2d -> d -> 1 from 4x4 to 32x32; kernel 4 x 4
    d = 16
    pairs = [(100, 8 * d, 1, 4), (8 * d, 4 * d, 4, 8), (4 * d, 2 * d, 8, 16), (2 * d, d, 16, 32), (d, 1, 32, 64)]
    cost = named_cost(f"wdcgan:{d}")
    assert cost.macs_exact == sum(wide * narrow * 16 * size**2 for wide, narrow, size, _ in pairs)
    assert cost.macs_torchprofile == sum(wide * narrow * 16 * size**2 for wide, narrow, _, size in pairs)


class Scaled(nn.Module):
    """Multiplies, normalises and pools: 8 x 6 x 6 elements, then 8 x 3 x 3, then 8."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(8)
        self.instance = nn.InstanceNorm2d(8)
        self.head = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.leaky_relu(self.norm(x) * 2, 0.2)
        x = self.instance(x)
        x = nn.functional.avg_pool2d(x, 2)
        return self.head(nn.functional.adaptive_avg_pool2d(x, 1).flatten(1))


def test_the_published_rule_counts_elements_of_norms_products_and_pools():
    cost = generator_cost(Scaled(), torch.zeros(1, 8, 6, 6))
    assert cost.macs_exact == 8 * 5
    # multiply + instance norm at 6 x 6, pooling to 3 x 3 and to 1 x 1; batch norm and leaky ReLU add nothing
    assert cost.macs_torchprofile == 8 * 5 + 2 * 8 * 36 + 8 * 9 + 8


def test_depthwise_and_grouped_convolutions_count_their_own_channels_only():
    plain = generator_cost(nn.Conv2d(8, 16, 3, groups=4, bias=False), torch.zeros(1, 8, 5, 5))
    assert plain.macs_exact == plain.macs_torchprofile == 9 * 2 * 16 * 9
    turned = generator_cost(nn.ConvTranspose2d(8, 8, 2, 2, groups=8, bias=False), torch.zeros(1, 8, 3, 3))
    assert turned.macs_exact == 8 * 4 * 9
    assert turned.macs_torchprofile == 4 * turned.macs_exact


def test_the_module_is_left_as_it_was():
    module = nn.Sequential(nn.BatchNorm2d(4), nn.BatchNorm2d(4).eval())
    before = {name: value.clone() for name, value in module.state_dict().items()}
    generator_cost(module, torch.ones(1, 4, 3, 3))
    assert [part.training for part in module] == [True, False]
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_meta_and_real_tensors_cost_the_same():
    real = resnet_generator(4)
    with torch.device("meta"):
        assert generator_cost(resnet_generator(4), torch.empty(1, 3, 32, 32)) == generator_cost(
            real, torch.zeros(1, 3, 32, 32, device="cpu")
        )


def test_more_than_one_sample_is_refused():
    with pytest.raises(ValueError, match="must hold 1 sample, found 2"):
        generator_cost(nn.Linear(3, 3), torch.zeros(2, 3))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("wdcgan:0", {}, "wdcgan:0: every depth scale factor must be at least 1, found 0"),
        ("wdcgan:4_8", {}, "'4_8' has 2 depths; this generator takes 1 or 4"),
        ("wdcgan:big", {}, "'big' is not whole numbers"),
        ("stylegan:3", {}, "unknown generator 'stylegan'; known: wdcgan"),
        ("wdcgan:4", {"size": "60x60"}, "8, 16, 32, 64, … pixels, found 60"),
        ("wdcgan:4", {"size": "64x32"}, "square images, found 64x32"),
        ("wdcgan:4", {"size": "64"}, "size '64' is not HEIGHTxWIDTH"),
        ("wdcgan:4", {"size": "0x0"}, "size '0x0' is not HEIGHTxWIDTH"),
        ("wdcgan:4", {"channels": 0}, "channels must be at least 1, found 0"),
    ],
)
def test_bad_names_are_one_line(name, options, message):
    with pytest.raises(ConfigError) as error:
        named_cost(name, **options)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_the_command_prints_a_table_and_json():
    shown = CliRunner().invoke(app, ["cost", "wdcgan:16"])
    assert shown.exit_code == 0
    assert shown.stdout.splitlines()[0].split() == ["parameters", "377,329"]
    parsed = CliRunner().invoke(app, ["cost", "wdcgan:16_8_16_4", "--size", "64x64", "--channels", "1", "--json"])
    expected = named_cost("wdcgan:16_8_16_4")
    assert f'"macs_exact": {expected.macs_exact}' in parsed.stdout
    assert parsed.stdout.count("\n") == 1
