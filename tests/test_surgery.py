"""Rewriting a generator for deployment does not change its images."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from ganpress.errors import ConfigError
from ganpress.files.checkpoint import load_model, save_model
from ganpress.structure.surgery import (
    deployable,
    fold_batch_norm,
    projection_weight,
    subpixel_weight,
    transposed_to_subpixel,
)
from models.builders import Blueprint
from models.edge_wdcgan import DOUBLING, PROJECTION

GENERATORS = [("4", 16, 1), ("5_2", 16, 3), ("3", 32, 3), ("2_7_3", 32, 1), ("4", 64, 1), ("3_8_2_5", 64, 3)]


@pytest.mark.parametrize(("spec", "size", "channels"), GENERATORS)
def test_every_form_gives_the_same_images(trained_like, spec, size, channels):
    model = trained_like(spec, size, channels)
    z = torch.randn(8, 100, generator=torch.Generator().manual_seed(0))
    folded = fold_batch_norm(model)
    edge = transposed_to_subpixel(folded)
    with torch.no_grad():
        wanted = model(z)
        assert wanted.std() > 0.1
        torch.testing.assert_close(folded(z), wanted, rtol=0, atol=1e-5)
        torch.testing.assert_close(edge(z), wanted, rtol=0, atol=1e-5)


def test_fresh_statistics_fold_too():
    model = Blueprint("wdcgan_generator", {"spec": "2", "size": 32, "channels": 1}).build().eval()
    z = torch.randn(4, 100, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(deployable(model)(z), model(z), rtol=0, atol=1e-6)


def test_subpixel_layer_is_the_transposed_convolution():
    random = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 5, 7, generator=random, dtype=torch.float64)
    weight = torch.randn(3, 4, 4, 4, generator=random, dtype=torch.float64)
    found = DOUBLING.rearrange(functional.conv2d(x, subpixel_weight(weight), padding=DOUBLING.padding))
    torch.testing.assert_close(found, functional.conv_transpose2d(x, weight, stride=2, padding=1))


def test_projection_is_the_transposed_convolution_of_one_pixel():
    random = torch.Generator().manual_seed(0)
    x = torch.randn(2, 6, 1, 1, generator=random, dtype=torch.float64)
    weight = torch.randn(6, 3, 4, 4, generator=random, dtype=torch.float64)
    found = PROJECTION.rearrange(functional.conv2d(x, projection_weight(weight)))
    torch.testing.assert_close(found, functional.conv_transpose2d(x, weight))


def test_deployable_forms_survive_a_model_file(trained_like, tmp_path):
    folded = fold_batch_norm(trained_like("2_7_3", 32, 3))
    z = torch.randn(2, 100, generator=torch.Generator().manual_seed(0))
    for name, model in (("folded_wdcgan", folded), ("edge_wdcgan", transposed_to_subpixel(folded))):
        save_model(
            tmp_path / "generator.safetensors",
            model,
            Blueprint(name, {"latent": 100, "widths": [8, 14, 3], "channels": 3}),
        )
        loaded, _ = load_model(tmp_path / "generator.safetensors", name)
        assert torch.equal(loaded(z), model(z))


def test_trained_form_has_the_spec_it_came_from(trained_like):
    model = trained_like("2_7_3", 32, 3)
    trained = deployable(model).trained_form()
    assert [p.shape for p in trained.parameters()] == [p.shape for p in model.parameters()]


def test_folding_keeps_the_original(trained_like):
    model = trained_like("2", 16, 1)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    deployable(model)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_unknown_architecture_is_refused():
    with pytest.raises(ConfigError, match="Linear cannot be quantized; known architectures: WdcganGenerator"):
        deployable(nn.Linear(2, 2))


def test_normalisation_without_statistics_is_refused(trained_like):
    model = trained_like("2", 16, 1)
    model.blocks[0].norm.running_var = None
    with pytest.raises(ConfigError, match="without running statistics cannot be folded"):
        fold_batch_norm(model)
