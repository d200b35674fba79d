import csv
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from flows.__main__ import app
from ganpress.errors import ConfigError
from ganpress.performance.generator_cost import Cost, generator_cost, named_cost
from models.families import FAMILIES
from models.resnet import resnet_generator

ROOT = Path(__file__).resolve().parents[1]
DEPTHS = [1, 2, 3, 4, 8, 16, 32, 48, 64]


STREET = "ngf=64 semantic=36 upsampling=more"

# GAN Compression (Li et al. 2020): parameters, MACs by the rule of the paper's tables, exact MACs. CycleGAN's 11.3 M
# and 56.8 G and GauGAN's 93.0 M and 281 G are in its table 1; the others are counted from its code's networks.
PUBLISHED = [
    ("resnet_9blocks:ngf=64", "256x256", 11_378_179, 56_831_770_624, 49_551_507_456),
    ("mobile_resnet_9blocks:ngf=32", "256x256", 514_307, 4_955_045_888, 3_117_416_448),
    ("sub_mobile_resnet_9blocks:16_16_32_16_32_32_16_16", "256x256", 356_867, 2_546_204_672, 1_845_755_904),
    (f"spade:{STREET}", "256x512", 93_048_003, 281_356_632_064, 281_276_612_608),
    (f"mobile_spade:{STREET}", "256x512", 70_680_771, 118_817_161_216, 118_603_104_256),
    ("sub_mobile_spade:32_32_48_32_32_32_32_24 (ngf=48)", "256x512", 20_425_019, 31_701_762_048, 31_608_315_904),
]


@pytest.mark.parametrize(("name", "size", "parameters", "macs_torchprofile", "macs_exact"), PUBLISHED)
def test_conditional_generators_are_reproduced_exactly(name, size, parameters, macs_torchprofile, macs_exact):
    assert named_cost(name, size) == Cost(parameters, macs_exact, macs_torchprofile, 4 * parameters)


def test_conditional_generators_reproduce_the_table(shared_conformance):
    with (shared_conformance / "generator_costs.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) >= 11
    for row in rows:
        shown = named_cost(f"{row['generator']}:{row['spec']}", f"{row['height']}x{row['width']}")
        columns = ("parameters", "macs_torchprofile", "macs_exact")
        assert {name: getattr(shown, name) for name in columns} == {name: int(row[name]) for name in columns}, row


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_every_family_has_a_default_spec_and_size(family):
    assert named_cost(family).parameters > 10_000


def test_a_sub_generator_of_equal_numbers_is_the_mobile_generator():
    equal = "_".join(["32"] * 8)
    assert named_cost(f"sub_mobile_resnet_9blocks:{equal}") == named_cost("mobile_resnet_9blocks:ngf=32")
    assert named_cost(f"sub_mobile_spade:{equal}") == named_cost("mobile_spade:ngf=32")


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
    with torch.device("meta"):
        meta = generator_cost(resnet_generator("ngf=2", 3, 3, separable=True), torch.empty(1, 3, 32, 32))
    assert meta == generator_cost(resnet_generator("ngf=2", 3, 3, separable=True), torch.zeros(1, 3, 32, 32))


def test_a_small_generator_is_counted_without_the_compiler_and_without_drawing_weights():
    program = """
import sys, torch
from ganpress.performance.generator_cost import named_cost
state = torch.get_rng_state()
named_cost("wdcgan:16")
assert torch.equal(torch.get_rng_state(), state)
loaded = {"torch._dynamo", "sympy"} & set(sys.modules)
assert not loaded, loaded
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_more_than_one_sample_is_refused():
    with pytest.raises(ValueError, match="must hold 1 sample, found 2"):
        generator_cost(nn.Linear(3, 3), torch.zeros(2, 3))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("wdcgan:0", {}, "wdcgan:0: every depth scale factor must be at least 1, found 0"),
        ("wdcgan:4_8", {}, "'4_8' has 2 depths; this generator takes 1 or 4"),
        ("wdcgan:big", {}, "'big' is not whole numbers"),
        (
            "stylegan:3",
            {},
            "unknown generator 'stylegan'; known: edge_mobile_resnet_9blocks, edge_resnet_9blocks",
        ),
        ("wdcgan:4", {"size": "60x60"}, "8, 16, 32, 64, … pixels, found 60"),
        ("wdcgan:4", {"size": "64x32"}, "square images, found 64x32"),
        ("wdcgan:4", {"size": "64"}, "size '64' is not HEIGHTxWIDTH"),
        ("wdcgan:4", {"size": "0x0"}, "size '0x0' is not HEIGHTxWIDTH"),
        ("resnet_9blocks:64", {}, "'64' has 1 base channels; this generator takes 8, or ngf=<number>"),
        ("resnet_9blocks:ngf=0", {}, "ngf must be a whole number of at least 1, found '0'"),
        ("resnet_9blocks", {"size": "254x256"}, "heights and widths of 8, 12, 16, … pixels, found 254x256"),
        ("spade:ngf=4 semantic=0", {}, "semantic must be a whole number of at least 1, found '0'"),
        ("spade", {"size": "256x500"}, "multiples of 64, above 64x64; found 256x500"),
        ("sub_mobile_spade:32_32_64_32_32_32_32_24 (ngf=48)", {}, "64 channels do not fit into a supernet of ngf=48"),
        ("spade:ngf=9999999999", {}, "a number in a generator's spec is at most 4,096, found 9999999999"),
        ("resnet_9blocks", {"size": "4000000000x4000000000"}, "size '4000000000x4000000000' is not HEIGHTxWIDTH"),
        ("wdcgan:4", {"channels": 0}, "channels must be 1 to 4,096, found 0"),
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


def test_the_command_takes_specs_of_several_words():
    arguments = ["cost", f"mobile_spade:{STREET}", "--size", "256x512", "--json"]
    shown = CliRunner().invoke(app, arguments)
    assert json.loads(shown.stdout) == {"generator": arguments[1]} | asdict(named_cost(arguments[1], "256x512"))


def test_hours_and_memory_of_all_trainings_of_a_recipe(monkeypatch):
    monkeypatch.chdir(ROOT)
    done = CliRunner().invoke(app, ["cost", "--training", "--recipe", "smoke", "--tflops", "2", "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    rows = {row["training"]: row for row in found["trainings"]}
    assert {"candidate@d2", "student@d1-mse", "control@d1", "supernet", "subnet"} <= set(rows)
    row = rows["candidate@d2"]
    assert row["hours"] == pytest.approx(row["images"] * row["gflop_per_image"] / 2000 / 3600)
    assert found["hours"] == pytest.approx(sum(row["hours"] for row in rows.values()))
    assert found["peak_bytes"] == max(row["peak_bytes"] for row in rows.values())


def test_hours_stand_in_a_table_with_what_they_are_worth(monkeypatch):
    monkeypatch.chdir(ROOT)
    narrow = "candidate.items={d2: {depth: 2}}"
    done = CliRunner().invoke(app, ["cost", "--training", "--recipe", "smoke", "--set", narrow])
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["training", "images", "GFLOP/image", "hours", "GiB"]
    assert lines[1].startswith("candidate@d2")
    assert "at an assumed 10 TFLOP/s, not measured" in lines[-2]
