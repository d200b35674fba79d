"""Files of quantized W-DCGAN generators of earlier versions still open, and give the same images."""

import pytest
import torch

from ganpress.compression.packed.packing import load_packed, save_packed
from ganpress.compression.quantization import QuantizationConfig, quantize
from ganpress.errors import CheckpointError
from ganpress.files.checkpoint import load_model, save_model
from models.builders import Blueprint


def latents(images, seed=0):
    return torch.randn(images, 100, generator=torch.Generator().manual_seed(seed))


def as_before(network, widths, channels):
    """The tensors of a quantized generator by the names and in the shapes that files of earlier versions have."""
    bits = {"weight_bits": network.weight_bits, "activation_bits": network.activation_bits}
    calibration = {"count": 64, "sha256": "0" * 64, "seed": 7}
    blueprint = Blueprint(
        "quantized_wdcgan",
        {"latent": 100, "widths": widths, "channels": channels, **bits, "calibration": calibration},
    )
    old, layers = blueprint.build(), network.quantized_layers()
    state = {}
    for place, layer in enumerate(layers):
        state |= {f"layers.{place}.{name}": value for name, value in layer.named_buffers(recurse=False)}
    if network.activation_bits is not None:
        last = layers[-1].target or layers[-1].source  # of floats' outputs nothing is rounded any more
        for place, one in enumerate([*(layer.source for layer in layers), last]):
            for name in ("scale", "zero_point"):
                state[f"quantizers.{place}.{name}"] = getattr(one, name).reshape(-1)[0]
    old.load_state_dict(state)
    return old, blueprint


@pytest.mark.parametrize(("weight_bits", "activation_bits"), [(8, 8), (4, None), (None, 6), (3, 5)])
def test_old_files_become_general_integers(trained_like, tmp_path, weight_bits, activation_bits):
    config = QuantizationConfig(weight_bits, activation_bits, per_channel=False)  # one scale for the head's channels
    network = quantize(trained_like("4_3_2", 32, 3), latents(64), config)
    old = as_before(network, [16, 6, 2], 3)
    save_model(tmp_path / "generator.safetensors", *old)
    save_packed(tmp_path / "generator.ganpack", *old)
    for model, blueprint in (
        load_model(tmp_path / "generator.safetensors"),
        load_packed(tmp_path / "generator.ganpack"),
    ):
        assert torch.equal(model(latents(5, 1)), network(latents(5, 1)))
        assert (model.weight_bits, model.activation_bits, model.calibration.seed) == (weight_bits, activation_bits, 7)
        save_model(tmp_path / "again.pt", model, blueprint)
        again, _ = load_model(tmp_path / "again.pt", "quantized")
        assert torch.equal(again(latents(5, 1)), network(latents(5, 1)))


@pytest.mark.parametrize(("latent", "widths"), [(99, [8, 4]), (100, [7, 4]), (100, [])])
def test_other_shapes_than_those_of_the_family_are_refused(tmp_path, trained_like, latent, widths):
    path = tmp_path / "generator.safetensors"
    arguments = {"latent": latent, "widths": widths, "channels": 1, "weight_bits": 8, "activation_bits": 8}
    save_model(path, trained_like("2", 16, 1), Blueprint("quantized_wdcgan", arguments))
    with pytest.raises(CheckpointError, match="quantize the generator again"):
        load_model(path)
