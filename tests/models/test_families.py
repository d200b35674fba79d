import pytest
import torch

from models.builders import generator_blueprint
from models.elastic import NoInitialisation
from models.families import FAMILIES, find_family
from models.names import CONDITIONAL, split_name


def test_names_that_need_no_torch_are_those_of_the_families():
    assert {name: family.conditional for name, family in FAMILIES.items()} | {"imported": True} == CONDITIONAL


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_every_family_builds_and_has_the_layers_that_are_distilled(name):
    _, family, spec = find_family(name)
    canvas = family.default_canvas
    with torch.device("meta"), NoInitialisation():
        generator = generator_blueprint(f"{name}:{spec}", canvas).build()
    assert all(layer in dict(generator.named_modules()) for layer in family.taps)
    assert len(family.input_shape(canvas)) == (4 if family.conditional else 2)
    assert family.places(canvas) >= 1


@pytest.mark.parametrize("split", [split_name, find_family])
def test_unknown_families_are_named_with_the_known_ones(split):
    with pytest.raises(ValueError, match="unknown generator 'stylegan'; known: .*mobile_resnet_9blocks.*wdcgan"):
        split("stylegan:3")
