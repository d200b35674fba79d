"""LiteRT: its converter in a separate environment, its results in its own interpreter, and what is refused."""

import pytest
import torch
from torch import nn

from ganpress.edge.proof.verification import verify_export
from ganpress.edge.targets import litert_environment
from ganpress.edge.targets.litert_environment import READY, REQUIREMENTS, converter_python
from ganpress.edge.targets.target import UnsupportedGenerator
from ganpress.errors import CheckpointError, ConfigError
from ganpress.metrics.fidelity import compare_outputs
from ganpress.registries import TARGETS
from tests.edge.small_resnet import pictures, small_resnet

TARGET = TARGETS["litert"]
needs_runtime = pytest.mark.needs_target("litert")


def latents(images, seed=0):
    return torch.randn(images, 100, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def converter():
    """The real one, installed if need be; skips where no registry of packages is reached."""
    try:
        return converter_python()
    except ConfigError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def resnet():
    return small_resnet()


@pytest.mark.slow
@needs_runtime
def test_each_number_type_runs_and_is_near(trained_like, converter, tmp_path):
    model = trained_like("16", 32, 1)
    found = {}
    for name in TARGET.number_types:
        (path,) = TARGET.write(model, tmp_path / f"{name}.tflite", latents(2), name, latents(64))
        profile = TARGET.kernels(path, latents(1))
        snr = compare_outputs(model, TARGET.open(path), latents(16, 1)).snr_db
        found[name] = path.stat().st_size, snr, profile.layers, profile.integer_layers
    assert found["float32"][1] > 100
    assert found["int8_dynamic"][1] > 25
    assert found["int8"][1] > 20
    assert {one[2] for one in found.values()} == {4}
    assert (found["float32"][3], found["int8"][3]) == (0, 4)
    assert max(found["int8"][0], found["int8_dynamic"][0]) < 0.35 * found["float32"][0]


@pytest.mark.slow
@needs_runtime
def test_a_resnet_runs(resnet, converter, tmp_path):
    (path,) = TARGET.write(resnet, tmp_path / "x.tflite", pictures(2))
    assert verify_export(resnet, path, pictures(8, seed=1), 1e-4, target=TARGET).snr_db > 90


@pytest.mark.slow
@needs_runtime
def test_transposed_convolution_that_litert_has_no_form_for_is_named(resnet, converter, tmp_path):
    with pytest.raises(UnsupportedGenerator, match=r"^LiteRT cannot run Sequential: the operator \w+ of layer '4'$"):
        TARGET.write(resnet, tmp_path / "x.tflite", pictures(2), form="native")
    assert not list(tmp_path.iterdir())


class Spectrum(nn.Module):
    def forward(self, x):
        return torch.fft.rfft(x).real


@pytest.mark.slow
@needs_runtime
def test_operator_that_litert_has_not_is_named(converter, tmp_path):
    model = nn.Sequential()
    model.add_module("body", nn.Conv2d(3, 3, 1))
    model.add_module("head", Spectrum())
    with pytest.raises(
        UnsupportedGenerator, match=r"^LiteRT cannot run Sequential: the operator view_as_real of layer 'head'$"
    ):
        TARGET.write(model, tmp_path / "x.tflite", pictures(2))


@pytest.fixture(scope="module")
def written(trained_like, converter, tmp_path_factory):
    (path,) = TARGET.write(trained_like("2", 16, 1), tmp_path_factory.mktemp("litert") / "x.tflite", latents(2))
    return path.read_bytes()


@pytest.mark.slow
@needs_runtime
@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_truncated_file_is_refused(written, tmp_path, share):
    (tmp_path / "x.tflite").write_bytes(written[: int(share * len(written))])
    with pytest.raises(CheckpointError, match=r"x\.tflite (cannot be loaded by LiteRT|is damaged)"):
        TARGET.open(tmp_path / "x.tflite")


def test_without_a_registry_it_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv(litert_environment.TOOLS, str(tmp_path / "tools"))
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    if not _has_uv():
        pytest.skip("no uv: python3 -m pip install uv")
    with pytest.raises(
        ConfigError, match=r"^LiteRT's converter cannot be installed into .*litert-\w+: .*; connect to a"
    ):
        converter_python()
    assert not list((tmp_path / ".ganpress").glob(f"litert-*/{READY}"))


def _has_uv():
    try:
        return bool(litert_environment._uv())
    except ConfigError:
        return False


def test_without_uv_it_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv(litert_environment.TOOLS, str(tmp_path / "tools"))
    monkeypatch.setattr(litert_environment.shutil, "which", lambda _: None)
    monkeypatch.setattr(litert_environment.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"needs uv, which is not installed; run `python3 -m pip install uv`"):
        converter_python()


def test_every_package_of_the_converter_is_pinned_by_its_hash():
    text = REQUIREMENTS.read_text(encoding="utf-8")
    packages = [line for line in text.splitlines() if line and not line.startswith((" ", "#"))]
    assert len(packages) > 50
    assert all("==" in line for line in packages)
    assert text.count("--hash=sha256:") >= len(packages)
    assert "://" not in text
