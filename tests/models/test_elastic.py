from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from models.builders import elastic_blueprint, subnet_blueprint
from models.elastic import Elastic, Spec, WidthSpace
from models.family import Canvas

WDCGAN = ("wdcgan", Canvas(3, 32, 32), ((2, 3, 5),), (100,))
RESNET = ("resnet_9blocks", Canvas(3, 16, 16, 3), ((2, 3, 5),), (3, 16, 16))
MOBILE = ("mobile_resnet_9blocks", Canvas(1, 16, 16, 3), ((2, 3, 5),), (3, 16, 16))
SPADE = ("mobile_spade:upsampling=normal", Canvas(3, 64, 64, 4), ((1, 2, 3),), (4, 64, 64))
EDGE = ("edge_mobile_resnet_9blocks", Canvas(1, 16, 16, 3), ((2, 3, 5),), (3, 16, 16))
FAMILIES = (WDCGAN, RESNET, MOBILE, SPADE, EDGE)


@dataclass(frozen=True)
class Subject:
    """A supernet with trained-like weights, and inputs for it."""

    supernet: Elastic
    x: torch.Tensor


@pytest.fixture(params=FAMILIES, ids=[family[0] for family in FAMILIES])
def subject(request):
    name, canvas, widths, shape = request.param
    torch.manual_seed(0)
    supernet = elastic_blueprint(name, canvas, widths).build()
    for parameter in supernet.parameters():  # zero biases would hide a wrong cut
        nn.init.normal_(parameter, 0, 0.1)
    return Subject(supernet, torch.randn(4, *shape))


def specs_of(space: WidthSpace) -> list[Spec]:
    random = torch.Generator().manual_seed(0)
    return [space.smallest, space.largest, *(space.sample(random) for _ in range(3))]


@torch.no_grad()
def test_supernet_equals_extracted_bit_for_bit(subject):
    for spec in specs_of(subject.supernet.space):
        statistics = subject.supernet.calibrate(subject.x, spec)
        subnet = subject.supernet.extract(spec, statistics)
        assert torch.equal(subject.supernet.eval()(subject.x, spec, statistics), subnet(subject.x)), spec


@torch.no_grad()
def test_extracted_network_is_the_one_that_its_blueprint_builds():
    blueprint = elastic_blueprint(*MOBILE[:3])
    supernet, spec = blueprint.build(), Spec((2, 3, 5, 2, 3, 5, 2, 3))
    rebuilt = subnet_blueprint(blueprint, spec).build()
    rebuilt.load_state_dict(supernet.extract(spec, {}).state_dict())
    x = torch.randn(2, 3, 16, 16)
    assert torch.equal(rebuilt.eval()(x), supernet.eval()(x, spec))


def test_extracted_is_independent_of_the_supernet(subject):
    spec = subject.supernet.space.smallest
    subnet = subject.supernet.extract(spec, subject.supernet.calibrate(subject.x, spec))
    before = subnet(subject.x)
    with torch.no_grad():
        for parameter in subject.supernet.parameters():
            parameter.zero_()
    assert torch.equal(subnet(subject.x), before)


@torch.no_grad()
def test_threads_see_the_same_images_as_one_after_the_other(subject):
    supernet, specs = subject.supernet.eval(), specs_of(subject.supernet.space) * 3
    alone = [supernet(subject.x, spec) for spec in specs]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda spec: torch.no_grad()(supernet)(subject.x, spec), specs))
    assert all(torch.equal(*pair) for pair in zip(alone, together, strict=True))


def test_gradients_reach_the_used_corner_of_the_weights_only():
    supernet = elastic_blueprint(*RESNET[:3]).build()
    supernet(torch.randn(2, 3, 16, 16), Spec((2,) * 8)).square().mean().backward()
    gradient = supernet.widest.down2[0].weight.grad  # (4 c2, 2 c1, 3, 3)
    assert gradient[:8, :4].abs().sum() > 0
    assert gradient[8:].abs().sum() == 0
    assert gradient[:, 4:].abs().sum() == 0


def test_taps_give_features_of_the_spec(subject):
    supernet = subject.supernet
    name = {"wdcgan": "blocks.0"}.get("wdcgan" if subject.x.ndim == 2 else "", "")
    name = name or ("down2" if hasattr(supernet.widest, "down2") else "head_0")
    small = supernet.run(subject.x, supernet.space.smallest, taps=(name,))[1][name]
    large = supernet.run(subject.x, supernet.space.largest, taps=(name,))[1][name]
    assert small.shape[1] < large.shape[1]
    assert small.shape[2:] == large.shape[2:]


def test_unknown_tap_is_refused(subject):
    with pytest.raises(ValueError, match="no layer 'middle_9' to tap in .*; its outer layers: "):
        subject.supernet.run(subject.x, subject.supernet.space.smallest, taps=("middle_9",))


@torch.no_grad()
def test_calibrated_statistics_are_those_of_the_batch():
    # Normalising the calibration batch by its own statistics is batch norm in training mode, up to n / (n - 1).
    supernet = elastic_blueprint(*WDCGAN[:3]).build()
    z, spec = torch.randn(256, 100), Spec((3, 3, 3))
    statistics = supernet.calibrate(z, spec)
    assert torch.allclose(supernet(z, spec, statistics), supernet(z, spec), atol=1e-3)
    assert elastic_blueprint(*RESNET[:3]).build().calibrate(torch.randn(2, 3, 16, 16), Spec((2,) * 8)) == {}


def test_constants_are_cut_and_not_taken_for_statistics():
    class Scaled(nn.Module):
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, channels, 1)
            self.register_buffer("scale", torch.arange(1.0, channels + 1)[:, None, None])

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.conv(x) * self.scale

    supernet, x = Elastic(WidthSpace(((1, 3),)), lambda spec: Scaled(spec.numbers[0])), torch.randn(1, 1, 2, 2)
    assert supernet.calibrate(x, Spec((1,))) == {}
    assert torch.equal(supernet(x, Spec((1,))), supernet(x, Spec((3,)))[:, :1])


def test_space_counts_every_spec_once():
    space = WidthSpace(((2, 3, 5), (1, 2), (4,)))
    assert len({space[index] for index in range(len(space))}) == len(space) == 6
    assert space[0] == space.smallest == Spec((2, 1, 4))
    assert space[5] == space.largest == Spec((5, 2, 4))
    drawn = {space.sample(torch.Generator().manual_seed(seed)) for seed in range(100)}
    assert len(drawn) == 6
    assert all(spec in space for spec in drawn)
    assert Spec((4, 1, 4)) not in space
    assert Spec((2, 1)) not in space


def test_specs_have_a_text_form():
    assert str(Spec((4, 4))) == "4"
    assert str(Spec((4, 8))) == "4_8"
    assert Spec.parse("4", 2) == Spec.parse("4_4", 2) == Spec((4, 4))


@pytest.mark.parametrize(
    ("text", "message"),
    [("4_8_2", "has 3 numbers; this generator takes 1 or 2"), ("4_x", "is not numbers"), ("0", "of at least 1")],
)
def test_bad_spec_texts_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        Spec.parse(text, 2)


@pytest.mark.parametrize(
    ("name", "canvas", "widths", "message"),
    [
        (
            "resnet_9blocks",
            Canvas(3, 16, 16, 3),
            ((1,), (2,)),
            "has 8 widths; give one list for all or 8 lists, found 2",
        ),
        ("wdcgan", Canvas(3, 32, 32), ((4, 2),), "widths of place 0 must be ascending and at least 1"),
        ("stylegan", Canvas(3, 32, 32), ((4,),), "unknown generator 'stylegan'"),
        ("spade:semantic=9", Canvas(3, 128, 128, 4), ((4,),), "reads 9 label classes; the data has 4"),
        (
            "resnet_9blocks",
            Canvas(3, 32, 32, 3, 16, 16),
            ((4,),),
            "draws images of its source's size, 16x16, not 32x32",
        ),
    ],
)
def test_what_no_supernet_fits_is_refused(name, canvas, widths, message):
    with pytest.raises(ValueError, match=message):
        elastic_blueprint(name, canvas, widths)


def test_spec_outside_the_space_is_refused(subject):
    spec = Spec((99,) * subject.supernet.space.places)
    with pytest.raises(ValueError, match=r"spec 99 is outside this supernet's space \(\d numbers out of \["):
        subject.supernet(subject.x, spec)
