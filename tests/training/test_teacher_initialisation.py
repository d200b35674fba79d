"""A supernet that starts from its teacher: the same images, the most important channels first, clear refusals."""

import pytest
import torch
from torch import nn

from ganpress.errors import ConfigError
from ganpress.structure.channel_groups import find_groups
from ganpress.structure.dependency_graph import is_grouped
from ganpress.training.teacher_initialisation import importance, initialise_from_teacher_
from models.builders import elastic_blueprint, generator_blueprint
from models.elastic import Elastic, WidthSpace
from models.family import Canvas
from models.thinning import Slot

FAMILIES = {
    "wdcgan": (Canvas(1, 16, 16), (100,)),
    "resnet_9blocks": (Canvas(1, 16, 16, 3), (3, 16, 16)),
    "mobile_resnet_9blocks": (Canvas(3, 16, 16, 1), (1, 16, 16)),
    "spade": (Canvas(3, 64, 64, 4), (4, 64, 64)),
    "mobile_spade": (Canvas(3, 64, 64, 4), (4, 64, 64)),
    "unet_32": (Canvas(3, 32, 32, 3), (3, 32, 32)),
}


def name_of(family, spec):
    return f"{family}:{spec}" + (" upsampling=normal" if "spade" in family else "")


def teacher_of(family, width=4):
    """A network with the statistics of a trained one: no zero bias, running statistics of its own."""
    torch.manual_seed(0)
    spec = width if family == "wdcgan" else f"ngf={width}"
    network = generator_blueprint(name_of(family, spec), FAMILIES[family][0]).build()
    for parameter in network.parameters():
        nn.init.normal_(parameter, 0, 0.1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return network.eval()


def supernet_of(family, *widths):
    option = ":upsampling=normal" if "spade" in family else ""
    return elastic_blueprint(f"{family}{option}", FAMILIES[family][0], (widths,)).build()


@torch.no_grad()
@pytest.mark.parametrize("family", FAMILIES)
def test_widest_network_draws_the_teachers_images(family):
    teacher, supernet = teacher_of(family), supernet_of(family, 2, 4)
    x = torch.randn(3, *FAMILIES[family][1])
    initialise_from_teacher_(supernet, teacher, x[:1])
    assert torch.allclose(supernet.widest.eval()(x), teacher(x), atol=1e-4)
    widest = supernet.widest.state_dict()
    assert any(not torch.equal(widest[key], value) for key, value in teacher.state_dict().items())


@pytest.mark.parametrize("family", ["wdcgan", "mobile_resnet_9blocks", "unet_32"])
def test_channels_come_in_order_of_importance(family):
    teacher, supernet = teacher_of(family), supernet_of(family, 2, 4)
    example = torch.zeros(1, *FAMILIES[family][1])
    initialise_from_teacher_(supernet, teacher, example)
    for group in find_groups(supernet.widest, example, parameters=True).groups:
        ranked = importance(supernet.widest, group)
        assert (ranked.diff() <= 1e-4).all()


def test_trunk_of_a_resnet_is_one_group():
    groups = find_groups(teacher_of("resnet_9blocks"), torch.zeros(1, 3, 16, 16)).groups
    (trunk,) = [group for group in groups if Slot("down2.0", "out", 0, 1) in group.slots]
    makers = [slot.layer for slot in trunk.slots if slot.side == "out" and "." in slot.layer]
    assert {"down2.0", *(f"blocks.{block}.conv2.1" for block in range(9))} <= set(makers)
    assert Slot("up1.0", "in", 0, 1) in trunk.slots
    assert len(groups) == 14  # stem, down1, trunk, nine hidden ones, up1, up2; not the image's channels


@torch.no_grad()
@pytest.mark.parametrize("family", ["resnet_9blocks", "unet_32"])  # U-Net's layers read concatenations
def test_a_wider_teacher_is_cut_to_its_most_important_channels(family):
    teacher, supernet = teacher_of(family), supernet_of(family, 1, 3)
    whole = supernet_of(family, 3, 4)
    x = torch.randn(2, *FAMILIES[family][1])
    for made in (supernet, whole):
        initialise_from_teacher_(made, teacher, x[:1])
    narrow = supernet.extract(supernet.space.largest, supernet.calibrate(x, supernet.space.largest))
    sub = whole.extract(whole.space.smallest, whole.calibrate(x, whole.space.smallest))
    assert torch.equal(sub(x), narrow(x))


class Shuffled(nn.Module):
    """A generator of twice the size with layers of a kind that none of our families has."""

    def __init__(self, width, out_channels=3):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.PReLU(width))
        self.up = nn.Sequential(nn.Conv2d(width, 4 * width, 3, padding=1), nn.PixelShuffle(2), nn.PReLU())
        self.last = nn.Conv2d(width, out_channels, 3, padding=1)

    def forward(self, x):
        return self.last(self.up(self.first(x)))


@torch.no_grad()
@pytest.mark.parametrize("width", [4, 3])
def test_channels_before_a_pixel_shuffle_move_in_blocks(width):
    torch.manual_seed(0)
    teacher, x = Shuffled(4), torch.randn(1, 3, 8, 8)
    supernet = Elastic(WidthSpace(((width,),)), lambda spec: Shuffled(*spec.numbers))
    initialise_from_teacher_(supernet, teacher, x)
    made = supernet.widest
    assert not torch.equal(made.up[0].weight, teacher.up[0].weight[: 4 * width, :width])
    if width == 4:
        assert torch.allclose(made(x), teacher(x), atol=1e-6)


@torch.no_grad()
def test_parameters_of_no_layer_move_with_their_channels():
    class Shifted(nn.Sequential):
        """Adds a parameter of its own to channels."""

        def __init__(self, width):
            super().__init__(nn.Conv2d(3, width, 1), nn.Conv2d(width, 3, 1))
            self.shift = nn.Parameter(torch.randn(1, width, 1, 1))

        def forward(self, x):
            return self[1](torch.relu(self[0](x) + self.shift))

    torch.manual_seed(0)
    teacher, x = Shifted(4), torch.randn(1, 3, 8, 8)
    supernet = Elastic(WidthSpace(((4,),)), lambda spec: Shifted(*spec.numbers))
    initialise_from_teacher_(supernet, teacher, x)
    assert torch.allclose(supernet.widest(x), teacher(x), atol=1e-6)
    assert not torch.equal(supernet.widest.shift, teacher.shift)


def unfollowed(width):
    """The second layer is parametrised: its weight is no tensor of its own."""
    second = nn.utils.parametrizations.weight_norm(nn.Conv2d(width, 5, 1))
    return nn.Sequential(nn.Conv2d(3, width, 1), second, nn.Conv2d(5, 6, 1), nn.Conv2d(6, 3, 1))


@torch.no_grad()
def test_channels_that_cannot_be_followed_keep_their_places():
    torch.manual_seed(0)
    teacher, x = unfollowed(4), torch.randn(1, 3, 8, 8)
    supernet = Elastic(WidthSpace(((4,),)), lambda spec: unfollowed(*spec.numbers))
    initialise_from_teacher_(supernet, teacher, x)
    assert torch.allclose(supernet.widest(x), teacher(x), atol=1e-6)
    assert torch.equal(supernet.widest[0].weight, teacher[0].weight)
    assert not torch.equal(supernet.widest[3].weight, teacher[3].weight)


def test_channels_that_cannot_be_followed_are_not_cut():
    supernet = Elastic(WidthSpace(((3,),)), lambda spec: unfollowed(*spec.numbers))
    with pytest.raises(ConfigError, match=r"channels of '0\.weight' cannot be followed .* let supernet\.widths reach"):
        initialise_from_teacher_(supernet, unfollowed(4), torch.randn(1, 3, 8, 8))


class Weighted(nn.Module):
    """Scales its channels by their places."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 3, 1)

    def forward(self, x):
        return self.last(self.first(x) * torch.arange(1.0, 5.0)[:, None, None])


def test_order_that_matters_is_noticed():
    torch.manual_seed(0)
    supernet = Elastic(WidthSpace(((1,),)), lambda _: Weighted())
    with pytest.raises(ConfigError, match="cannot be put in another order without changing its images"):
        initialise_from_teacher_(supernet, Weighted(), torch.randn(1, 3, 8, 8))


def test_another_family_is_refused():
    with pytest.raises(ConfigError, match=r"only the supernet's widest network has 'blocks\.0\.conv1\.1\.depthwise"):
        initialise_from_teacher_(
            supernet_of("mobile_resnet_9blocks", 4), teacher_of("resnet_9blocks"), torch.zeros(1, 3, 16, 16)
        )


def test_a_narrower_teacher_is_refused():
    with pytest.raises(ConfigError, match=r"'stem\.1\.weight' is \(6, .* and \(4, .* lower supernet\.widths"):
        initialise_from_teacher_(
            supernet_of("resnet_9blocks", 6), teacher_of("resnet_9blocks"), torch.zeros(1, 3, 16, 16)
        )


@torch.no_grad()
def test_groups_of_a_convolution_move_as_a_whole():
    torch.manual_seed(0)

    def build(_):
        layers = nn.Conv2d(1, 8, 3), nn.Conv2d(8, 8, 3, groups=2), nn.Conv2d(8, 1, 3)
        return nn.Sequential(*layers)

    teacher, x = build(None), torch.randn(1, 1, 16, 16)
    nn.init.zeros_(teacher[0].weight[:4])  # the first four, one group, are the least important
    supernet = Elastic(WidthSpace(((1,),)), build)
    initialise_from_teacher_(supernet, teacher, x)
    assert is_grouped(supernet.widest[1])
    assert torch.equal(supernet.widest[0].weight[4:], teacher[0].weight[:4])
    assert torch.allclose(supernet.widest(x), teacher(x), atol=1e-5)
