"""Forms of a generator: exact rewriting, and the choice between them."""

import pytest
import torch
from torch import nn

from ganpress.edge.forms.choice import write_faster_form
from ganpress.edge.forms.equalization import equalized
from ganpress.edge.forms.float_forms import SubpixelConv, has_transposed, in_form
from ganpress.metrics.fidelity import compare_outputs
from ganpress.registries import TARGETS


def random_inputs(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


class Decoder(nn.Module):
    """Transposed convolutions of several shapes, normalised, with and without bias and groups."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.first_norm = nn.BatchNorm2d(8, affine=False)
        self.second = nn.ConvTranspose2d(8, 6, 4, 2, 1, groups=2, bias=False)
        self.second_norm = nn.BatchNorm2d(6)
        self.third = nn.ConvTranspose2d(6, 4, 3, 2, 1, output_padding=1)
        self.third_norm = nn.InstanceNorm2d(4)
        self.head = nn.Conv2d(4, 3, 3, padding=1, padding_mode="reflect")

    def forward(self, x):
        x = torch.relu(self.first_norm(self.first(x)))
        x = torch.relu(self.second_norm(self.second(x)))
        return torch.tanh(self.head(torch.relu(self.third_norm(self.third(x)))))


@pytest.fixture
def decoder():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Decoder()
        nn.init.normal_(model.second_norm.weight)
        nn.init.normal_(model.second_norm.bias)
    with torch.no_grad():
        for seed in range(20):
            model.train()(random_inputs(8, 3, 8, 8, seed=seed))
    return model.eval()


@pytest.mark.parametrize("form", ["native", "subpixel"])
def test_forms_are_exact_and_leave_the_model_alone(decoder, form):
    x = random_inputs(4, 3, 8, 8, seed=99)
    before = {name: value.clone() for name, value in decoder.state_dict().items()}
    rewritten = in_form(decoder, form, x[:1])
    assert compare_outputs(decoder, rewritten, x).max_abs_error < 2e-6
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in rewritten.modules())
    assert has_transposed(rewritten) == (form == "native")
    assert sum(isinstance(layer, SubpixelConv) for layer in rewritten.modules()) == (2 if form == "subpixel" else 0)
    assert all(torch.equal(before[name], value) for name, value in decoder.state_dict().items())


def test_equalization_is_exact_and_makes_channels_spread_alike(decoder):
    x = random_inputs(8, 3, 8, 8, seed=5)
    with torch.no_grad():
        decoder.third.weight[:, 1].mul_(50)
    rewritten = equalized(decoder, x)
    assert compare_outputs(decoder, rewritten, x).max_abs_error < 2e-4  # eps of the normalisation
    outputs = []
    rewritten.third.register_forward_hook(lambda _, __, output: outputs.append(output))
    with torch.no_grad():
        rewritten(x)
    spreads = outputs[0].var((2, 3)).mean(0).sqrt()
    torch.testing.assert_close(spreads, spreads.mean().expand(4), rtol=1e-3, atol=0)


def test_running_statistics_of_an_instance_norm_forbid_equalization(decoder):
    decoder.third_norm = nn.InstanceNorm2d(4, track_running_stats=True)
    assert equalized(decoder.eval(), random_inputs(2, 3, 8, 8)) is decoder


@pytest.mark.parametrize("number_type", ["float32", "int8"])
def test_both_forms_are_written_once_and_the_default_stays_in_a_tie(trained_like, tmp_path, monkeypatch, number_type):
    target, written = TARGETS["onnx"], []

    def write(*arguments):
        written.append(arguments[-1])
        return type(target).write(target, *arguments)

    monkeypatch.setattr(target, "write", write)
    model, z = trained_like("2", 16, 1), torch.randn(8, 100, generator=torch.Generator().manual_seed(0))
    path = tmp_path / "edge" / "generator.onnx"
    made = write_faster_form(target, model, path, z[:2], number_type, z, rounds=3)
    assert written == ["native", "subpixel"]
    assert made.milliseconds.keys() == {"native", "subpixel"}
    default = target.default_form(number_type)
    other = made.milliseconds["subpixel" if default == "native" else "native"]
    assert (made.form == default) == (other >= 0.9 * made.milliseconds[default])
    assert made.files == (path,)
    assert list(path.parent.iterdir()) == [path]
    again = tmp_path / "again.onnx"
    type(target).write(target, model, again, z[:2], number_type, z, made.form)
    assert path.read_bytes() == again.read_bytes()


def test_second_file_of_the_faster_form_comes_with_it(decoder, tmp_path):
    target = TARGETS["openvino"]
    if target.missing():
        pytest.skip(f"needs {target.missing()}")
    x = random_inputs(2, 3, 8, 8)
    made = write_faster_form(target, decoder, tmp_path / "generator.xml", x, rounds=3)
    assert sorted(tmp_path.iterdir()) == sorted(made.files)
    assert compare_outputs(decoder, target.open(made.files[0]), x).max_abs_error < 1e-4


def test_single_form_is_written_and_not_timed(tmp_path):
    model, path = nn.Conv2d(1, 1, 1), tmp_path / "generator.onnx"
    made = write_faster_form(TARGETS["onnx"], model, path, torch.zeros(1, 1, 4, 4))
    assert (made.files, made.form, dict(made.milliseconds)) == ((path,), "native", {})
    assert path.is_file()
