"""The choice of the device, the message for a missing one, and a run of every stage on another device.

The twin (`tests/twin.py`) is a device for machines that have none: its results must equal the processor's bit for bit.
It changes torch for the rest of a process, so whatever uses it runs in a process of its own.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from flows.device_choice import settle_device, settle_ranks
from ganpress.basics.device import chosen_device, devices_here
from ganpress.basics.ranks import chosen_ranks
from ganpress.config.training_section import DistillationTraining
from ganpress.errors import ConfigError
from ganpress.metrics.neighbours.distance_bounds import full_precision
from ganpress.training.loop import TrainingRun
from tasks.shared.stage import Stage

CHECKOUT = Path(__file__).resolve().parents[1]
CHAIN = CHECKOUT / "tests" / "device_chain.py"
SCRIPT = """
import torch, twin
from torch import nn
device = torch.device("twin")
network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU()).to(device)
x = torch.randn(2, 1, 5, 5)
optimizer = torch.optim.Adam(network.parameters())
with torch.autocast("twin", torch.bfloat16):
    y = network(x.to(device))
y.float().mean().backward()
optimizer.step()
assert network(x.to(device)).device == torch.device("twin:0")
for wrong in (
    lambda: network(x),
    lambda: torch.randn(3, device=device, generator=torch.Generator()),
    lambda: x.to(device).numpy(),
    lambda: x.to(device) + x,
):
    try:
        wrong()
    except (RuntimeError, TypeError):
        continue
    raise SystemExit("a mixture was not refused")
"""


def python(*arguments, **environment):
    path = os.pathsep.join([str(CHECKOUT), str(CHECKOUT / "tests")])
    env = {**os.environ, "PYTHONPATH": path, **environment}
    return subprocess.run([sys.executable, *arguments], env=env, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_twin_computes_and_refuses_what_a_gpu_would_refuse():
    ended = python("-c", SCRIPT)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize("name", ["cuda:99", "cuda:-1", "cpu:1", "gpu", "", " ", "CPU", "cuda:01", "x" * 1000, "a\nb"])
def test_a_device_that_is_not_there_is_one_line(name):
    with pytest.raises(ConfigError, match=r"^--device: there is no device '.*' here; choose auto or cpu") as error:
        chosen_device(name, "--device")
    assert len(str(error.value)) < 200


def test_the_environment_names_the_device(monkeypatch):
    monkeypatch.setenv("GANPRESS_DEVICE", "cpu")
    assert chosen_device() == torch.device("cpu")
    monkeypatch.setenv("GANPRESS_DEVICE", "cuda:99")
    with pytest.raises(ConfigError, match="GANPRESS_DEVICE: there is no device 'cuda:99' here"):
        settle_device()
    monkeypatch.delenv("GANPRESS_DEVICE")
    assert chosen_device().type == devices_here()[0].partition(":")[0]


def test_a_run_settles_the_device_for_its_stages(monkeypatch):
    monkeypatch.setenv("GANPRESS_DEVICE", "auto")
    assert settle_device("cpu") == "cpu"
    assert os.environ["GANPRESS_DEVICE"] == "cpu"


def test_more_gpus_than_there_are_is_one_line(monkeypatch):
    monkeypatch.setenv("GANPRESS_DEVICE", "cpu")
    here = torch.cuda.device_count()
    monkeypatch.setenv("GANPRESS_GPUS", str(here + 1))
    with pytest.raises(ConfigError, match=f"^GANPRESS_GPUS is {here + 1}, but this machine has {here} NVIDIA GPUs"):
        settle_ranks()
    with pytest.raises(ConfigError, match=f"^--gpus is {here + 2}, but this machine has {here} NVIDIA GPUs"):
        settle_ranks(here + 2)


def test_gpus_are_for_gpus_and_ranks_for_the_processor(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    monkeypatch.setenv("GANPRESS_GPUS", "4")
    assert chosen_ranks(torch.device("cuda:0")) == 4
    for wrong in ("cpu", "cuda:1"):
        with pytest.raises(ConfigError, match=f"GANPRESS_GPUS uses the first GPUs, but the device is {wrong}; choose"):
            chosen_ranks(torch.device(wrong))
    monkeypatch.setenv("GANPRESS_GPUS", "")
    monkeypatch.setenv("GANPRESS_RANKS", "2")
    assert chosen_ranks(torch.device("cpu")) == 2
    with pytest.raises(ConfigError, match="GANPRESS_RANKS is for the CPU, but the device is cuda:0; unset it"):
        chosen_ranks(torch.device("cuda:0"))


def precisions():
    return {torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32}


@pytest.mark.parametrize("tf32", [True, False])
def test_tf32_is_a_training_s_own_choice_and_ends_with_it(tf32, tmp_path):
    torch.backends.cudnn.allow_tf32 = True  # torch's default
    assert Stage("candidate", None, tmp_path, {}).device == chosen_device()
    assert precisions() == {False}
    seen = []

    def step(_):
        seen.append(precisions())
        with full_precision():
            assert torch.backends.cuda.matmul.fp32_precision == "ieee"
        torch.export.export(nn.Conv2d(1, 1, 1), (torch.zeros(1, 1, 2, 2),))  # which reads what was set
        return {"loss": torch.zeros(())}

    length = DistillationTraining(
        train_images=4, batch_size=2, learning_rate=1e-3, beta1=0.5, ema_half_life_images=0, tf32=tf32
    )
    TrainingRun(1, "test").train(nn.Linear(1, 1), step, {}, length)
    assert seen == [{tf32}] * 2
    assert precisions() == {False}


@pytest.fixture(scope="module", params=["smoke", "smoke_paired", "smoke_unpaired", "smoke_semantic"])
def chains(request, tmp_path_factory):
    """Folders of the same chain on the processor and on the twin, and what the twin printed."""
    folder = tmp_path_factory.mktemp(request.param)
    said = {}
    for device in ("cpu", "twin"):
        ended = python(str(CHAIN), request.param, str(folder / device), device)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        said[device] = ended.stdout
    return folder / "cpu", folder / "twin", said["twin"]


MEASURED = ("latency", "gmacs_per_s", "share_of_peak", "largest_rss", "peak", "seconds", "subnets_per_second")
"""Numbers of this machine at this moment; they differ from run to run."""


def without_measured(content):
    if isinstance(content, dict):
        kept = {key: value for key, value in content.items() if not key.startswith(MEASURED)}
        return {key: without_measured(value) for key, value in kept.items()}
    return content


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_stage_runs_on_another_device_with_the_same_bits(chains):
    here, there, said = chains
    assert all(line.endswith(" twin") for line in said.splitlines())
    files = [path.relative_to(here) for path in sorted((here / "artifacts").rglob("*")) if path.is_file()]
    files = [path for path in files if path.parts[1] != "versions"]  # who made it, and when
    assert len([path for path in files if path.name == "generator.safetensors"]) >= 6
    for path in files:
        one, other = (folder / path for folder in (here, there))
        if path.name in ("metrics.json", "best.json"):
            assert without_measured(json.loads(one.read_text())) == without_measured(json.loads(other.read_text())), (
                path
            )
        elif path.name not in ("machine.json", "card.json", "generators.csv", "scores.csv", "front.csv"):
            assert one.read_bytes() == other.read_bytes(), path


@pytest.mark.gpu
@pytest.mark.parametrize("recipe", ["smoke", "smoke_paired", "smoke_unpaired", "smoke_semantic"])
def test_every_stage_runs_on_a_gpu_with_numbers_near_the_processor_s(recipe, tmp_path):
    """Two steps of a training amplify a GPU's other rounding little."""
    for device in ("cpu", "cuda"):
        ended = python(str(CHAIN), recipe, str(tmp_path / device), device)
        assert ended.returncode == 0, ended.stdout + ended.stderr
    metrics = [
        json.loads((tmp_path / device / "artifacts" / "evaluate" / "metrics.json").read_text())
        for device in ("cpu", "cuda")
    ]
    for name, row in metrics[0].items():
        near = {key: pytest.approx(value, rel=0.1, abs=0.1) for key, value in without_measured(row).items()}
        assert without_measured(metrics[1][name]) == near, name
