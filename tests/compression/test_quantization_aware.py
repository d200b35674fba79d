"""Integers that are trained: the same function as the file's, learnt from the float pictures, resumed after a kill."""

import copy

import pytest
import torch

from ganpress.compression.algorithms.linear_quantization import QUANTIZE, LinearQuantization
from ganpress.compression.algorithms.quantization_aware import QAD, QuantizationAware
from ganpress.compression.compressor import CompressionData
from ganpress.compression.packed.packing import load_packed, save_packed
from ganpress.compression.preparation.plain_layers import prepare
from ganpress.compression.quantization import QuantizationConfig, quantize
from ganpress.compression.rounding.straight_through import make_trainable, parameters_of, restore
from ganpress.config.edge_section import CompressItem
from ganpress.data.prepared.generator_inputs import LatentInputs
from ganpress.errors import TrainingDiverged
from ganpress.metrics.fidelity import compare_outputs
from ganpress.training.loop import Checkpointing, TrainingRun
from models.builders import Blueprint, find_builder, generator_blueprint
from models.family import Canvas

BLUEPRINT = Blueprint("wdcgan_generator", {"spec": "4", "size": 16, "channels": 1})


@pytest.fixture
def generator(trained_like):
    return trained_like("4", 16, 1).eval()


def data(tmp_path=None, seed=0):
    resume = None if tmp_path is None else Checkpointing(tmp_path / "qad.pt", "x", 0.0)
    inputs = LatentInputs()
    return CompressionData(
        inputs.draw(seed, "calibration", 64), seed, inputs, TrainingRun(seed, "compress", resume), torch.device("cpu")
    )


def snr(float_one, other):
    return compare_outputs(float_one, other, LatentInputs().draw(7, "unseen", 128)).snr_db


@pytest.mark.parametrize(("weights", "activations"), [(8, 8), (4, 8), (2, 8), (3, 4), (4, None)])
def test_training_computes_what_the_integers_compute_to_the_bit(weights, activations, generator):
    config = QuantizationConfig(weights, activations, clipping="mse")
    given = data()
    integers = quantize(generator, given.calibration, config, 0)
    plain = prepare(generator, given.calibration).plain
    wanted = copy.deepcopy(integers)
    trained = make_trainable(integers, {name: plain.quantized_layer(name).weight for name in integers.layers})
    z = LatentInputs().draw(3, "unseen", 32)
    torch.testing.assert_close(integers(z), wanted(z), rtol=0, atol=wanted.output_step * 1.01 + 1e-5)
    # A moved network is told apart from the start, and what is written back is what was trained.
    values, steps = parameters_of(trained)
    with torch.no_grad():
        for parameter in (*values, *steps):
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)) * 0.05)
        moved = integers(z)
        restored = restore(integers, trained)(z)
    assert torch.equal(moved, restored) or activations is None
    torch.testing.assert_close(moved, restored, rtol=0, atol=1e-6)
    assert not torch.equal(moved, wanted(z))


def test_layers_that_share_codes_share_their_step(generator):
    given = data()
    integers = quantize(generator, given.calibration, QuantizationConfig(8, 8), 0)
    plain = prepare(generator, given.calibration).plain
    names = integers.layers
    trained = make_trainable(integers, {name: plain.quantized_layer(name).weight for name in names})
    assert trained[names[0]].target is trained[names[1]].source
    _, steps = parameters_of(trained)
    with torch.no_grad():
        for step in steps:
            step.add_(0.1)
    restore(integers, trained)
    first, second = integers.quantized_layer(names[0]), integers.quantized_layer(names[1])
    assert set(first.target.scale.tolist()) == {float(second.source.scale)}


@pytest.mark.parametrize(("bits", "gain"), [(2, 1.0), pytest.param(3, 0.0, marks=pytest.mark.slow)])
def test_a_little_training_beats_rounding_alone(bits, gain, generator):
    given = data()
    options = LinearQuantization(weight_bits=bits, activation_bits=8, clipping="mse")
    rounded, _ = QUANTIZE.compress(copy.deepcopy(generator), BLUEPRINT, options, given)
    learning = QuantizationAware(weight_bits=bits, train_images=8000, batch_size=32)
    trained, _ = QAD.compress(copy.deepcopy(generator), BLUEPRINT, learning, given)
    assert snr(generator, trained) > snr(generator, rounded) + gain
    codes = trained.quantized_layers()[0].weight
    assert int(codes.abs().max()) <= 2 ** (bits - 1) - 1


def test_the_packed_file_holds_the_trained_integers(generator, tmp_path):
    learning = QuantizationAware(weight_bits=3, train_images=640)
    trained, blueprint = QAD.compress(copy.deepcopy(generator), BLUEPRINT, learning, data())
    save_packed(tmp_path / "g.ganpack", trained, blueprint)
    opened, _ = load_packed(tmp_path / "g.ganpack")
    z = LatentInputs().draw(3, "unseen", 16)
    assert torch.equal(opened(z), trained(z))


def test_a_killed_training_goes_on_to_the_same_bits(generator, tmp_path, monkeypatch):
    learning = QuantizationAware(weight_bits=3, train_images=1280)
    whole, _ = QAD.compress(copy.deepcopy(generator), BLUEPRINT, learning, data())
    draws = []

    def killed(self, stream, count):
        draws.append(count)
        if len(draws) == 15:
            raise KeyboardInterrupt
        return torch.randn(count, self.latent, generator=stream)

    with monkeypatch.context() as patched:
        patched.setattr(LatentInputs, "random", killed)
        with pytest.raises(KeyboardInterrupt):
            QAD.compress(copy.deepcopy(generator), BLUEPRINT, learning, data(tmp_path))
    assert (tmp_path / "qad.pt").exists()
    resumed, _ = QAD.compress(copy.deepcopy(generator), BLUEPRINT, learning, data(tmp_path))
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_integers_that_training_harmed_are_not_kept(generator, caplog):
    options = LinearQuantization(weight_bits=8, activation_bits=8, clipping="mse")
    rounded, _ = QUANTIZE.compress(copy.deepcopy(generator), BLUEPRINT, options, data())
    learning = QuantizationAware(weight_bits=8, train_images=128, learning_rate=0.5)
    kept, _ = QAD.compress(copy.deepcopy(generator), BLUEPRINT, learning, data())
    z = LatentInputs().draw(3, "unseen", 16)
    assert torch.equal(kept(z), rounded(z))
    assert "rounding alone is kept" in caplog.text


def test_rates_of_learning_follow_the_step_sizes():
    assert QuantizationAware(weight_bits=2).learning_rates == QuantizationAware(weight_bits=4).learning_rates
    assert QuantizationAware(weight_bits=6).learning_rates == (0.0125, 0.005)
    assert QuantizationAware(weight_bits=8, learning_rate=0.1).learning_rates == (0.1, 0.00125)


def test_a_training_that_goes_astray_is_one_line(generator):
    learning = QuantizationAware(weight_bits=4, train_images=6400, step_learning_rate=10.0)
    with pytest.raises(TrainingDiverged):
        QAD.compress(copy.deepcopy(generator), BLUEPRINT, learning, data())


@pytest.mark.slow
def test_a_network_with_instance_norms_is_trained_too():
    """Layers between norms have outputs of a step for each channel."""
    torch.manual_seed(0)
    blueprint = generator_blueprint("mobile_resnet_9blocks:ngf=4", Canvas(3, 16, 16, 3, 16, 16))
    network = find_builder(blueprint.builder)(**blueprint.arguments).eval()

    class Pictures(LatentInputs):
        def random(self, stream, count):
            return torch.rand(count, 3, 16, 16, generator=stream) * 2 - 1

    random = torch.Generator().manual_seed(0)
    pictures = Pictures().random(random, 16)
    given = CompressionData(pictures, 0, Pictures(), TrainingRun(0, "compress"), torch.device("cpu"))
    options = LinearQuantization(weight_bits=3, activation_bits=8, clipping="mse")
    rounded, _ = QUANTIZE.compress(copy.deepcopy(network), blueprint, options, given)
    learning = QuantizationAware(weight_bits=3, train_images=400, batch_size=4)
    trained, _ = QAD.compress(copy.deepcopy(network), blueprint, learning, given)
    unseen = Pictures().random(random, 16)
    distances = [compare_outputs(network, one, unseen).snr_db for one in (trained, rounded)]
    assert distances[0] > distances[1] + 1


def test_it_stands_in_an_item_and_comes_last():
    prune, qad = {"name": "prune", "sparsity": 0.1}, {"name": "qad", "weight_bits": 3}
    item = CompressItem(generator="subnet", method=[prune, qad])
    assert [one.name for one, _ in item.algorithms()] == ["prune", "qad"]
    with pytest.raises(ValueError, match="put it last"):
        CompressItem(generator="subnet", method=[qad, prune])
