import pytest
import torch
from torch import nn

from ganpress.compression.preparation.sites import find_sites
from ganpress.performance.generator_cost import named_cost
from ganpress.structure.surgery import plain_convolution
from ganpress.training.teacher_initialisation import initialise_from_teacher_
from models.builders import elastic_blueprint, generator_blueprint
from models.edge_resnet import edge_resnet_generator
from models.family import Canvas
from models.resnet import resnet_generator
from models.taps import tapped

UNEQUAL = "2_3_4_5_6_2_3_4"
CANVAS = Canvas(3, 16, 16, 3)
FAMILIES = ("edge_resnet_9blocks", "edge_mobile_resnet_9blocks")


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("separable", [False, True])
def test_every_parameter_gets_a_gradient(separable):
    # No bias lies before a normalisation, which would take it away again.
    generator = edge_resnet_generator(UNEQUAL, 3, 3, separable).double()
    images = generator(torch.randn(2, 3, 32, 32, dtype=torch.float64))
    (images * torch.randn_like(images)).sum().backward()
    assert all(float(parameter.grad.abs().max()) > 1e-9 for parameter in generator.parameters())


@pytest.mark.parametrize("separable", [False, True])
def test_its_layers_have_the_widths_of_the_published_form(separable):
    edge = edge_resnet_generator(UNEQUAL, 3, 3, separable)
    plain = resnet_generator(UNEQUAL, 3, 3, separable)
    x = torch.randn(1, 3, 16, 16)
    for name in ("stem", "down1", "down2", "blocks.0", "blocks.2", "blocks.8", "up1", "up2", "head"):
        with tapped(edge.eval(), (name,)) as own, tapped(plain.eval(), (name,)) as published:
            edge(x)
            plain(x)
        assert own[name].shape == published[name].shape, name


def test_upsampling_can_be_the_transposed_convolution_of_the_published_form():
    block = edge_resnet_generator("1_1_2_1_1_1_2_1", 3, 3, separable=False).up1  # 8 -> 4 channels
    transposed = nn.ConvTranspose2d(8, 4, 3, 2, 1, 1, bias=False)
    conv, _, _, shuffle = block
    weight, _ = plain_convolution(transposed)
    assert weight.shape == conv.weight.shape
    conv.load_state_dict({"weight": weight})
    x = torch.randn(2, 8, 5, 7)
    assert torch.allclose(shuffle(conv(x)), transposed(x), atol=1e-6)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_layer_is_a_plain_convolution_whose_norm_folds(name):
    generator = generator_blueprint(f"{name}:{UNEQUAL}", CANVAS).build()
    sites = find_sites(generator, torch.randn(1, 3, 16, 16))
    convolutions = {name for name, layer in generator.named_modules() if isinstance(layer, nn.Conv2d)}
    norms = {name for name, layer in generator.named_modules() if isinstance(layer, nn.BatchNorm2d)}
    assert {site.name for site in sites} == convolutions
    assert {site.norm for site in sites} == norms | {None}  # None: the head's


@pytest.mark.parametrize("name", FAMILIES)
def test_its_macs_differ_from_the_published_form_by_the_upsampling_alone(name):
    cost = named_cost(f"{name}:ngf=8", "32x32", 3)
    published = named_cost(f"{name.removeprefix('edge_')}:ngf=8", "32x32", 3)
    # 16 taps for each pixel read instead of 9: 8x8 pixels of 32 -> 16 channels, 16x16 of 16 -> 8
    assert cost.macs_exact - published.macs_exact == 7 * (64 * 32 * 16 + 256 * 16 * 8)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_supernet_starts_from_a_teacher_of_its_own_width(name):
    teacher = generator_blueprint(f"{name}:ngf=3", CANVAS).build().eval()
    supernet = elastic_blueprint(name, CANVAS, ((2, 3),)).build()
    x = torch.randn(2, 3, 16, 16)
    initialise_from_teacher_(supernet, teacher, x[:1])
    assert torch.allclose(supernet.widest.eval()(x), teacher(x), atol=1e-5)


def test_running_statistics_are_used_in_evaluation():
    generator = edge_resnet_generator("ngf=2", 3, 3, separable=True)
    images = torch.randn(4, 3, 16, 16)
    generator(images)
    generator.eval()
    with torch.no_grad():
        alone = torch.cat([generator(image[None]) for image in images])
        assert torch.allclose(generator(images), alone, atol=1e-6)


def test_a_bad_size_is_refused():
    with pytest.raises(ValueError, match="found 30x32"):
        edge_resnet_generator("ngf=1", 3, 3, separable=False)(torch.zeros(1, 3, 30, 32))
