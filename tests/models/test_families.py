import subprocess
import sys

import pytest
import torch

from models.builders import generator_blueprint, width_numbers, with_spec
from models.elastic import NoInitialisation, Spec
from models.families import FAMILIES, family_of, find_family, is_for, split_name


def test_names_are_checked_and_facts_are_read_without_torch():
    ask = "import sys; from models.families import FAMILIES, split_name; split_name('unet_64:ngf=8'); "
    ask += "print([FAMILIES[name].conditional for name in FAMILIES], 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert done.stdout.rstrip().endswith("] False")


def test_an_imported_network_is_no_family_and_has_numbers():
    assert is_for("imported", True)
    assert is_for("imported", False)
    assert split_name("imported:50") == ("imported", "50")
    assert "imported" not in FAMILIES
    assert family_of("imported").kept is not None
    assert family_of("classifier") is None


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_widths_of_every_family_are_read_and_written_back(name):
    _, family, spec = find_family(name)
    blueprint = generator_blueprint(f"{name}:{spec}", family.default_canvas)
    numbers = width_numbers(blueprint)
    assert len(numbers) == family.places(family.default_canvas)
    assert width_numbers(with_spec(blueprint, Spec(numbers))) == numbers


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
