"""Latency and bytes of generators: torch eager, ONNX Runtime in floats and in integers.

    python -m benchmarks.edge_latency [--depths 64 16 4] [--size 64] [--batch 1] [--rounds 9]
    python -m benchmarks.edge_latency --generators mobile_resnet_9blocks:16_16_32_16_32_32_16_16 --size 256

Everything is timed in one process, in turn, in each round; the figures are medians over rounds of process CPU time on
one thread, which other load on the machine moves little. Weights are random with the statistics of trained ones: speed
and bytes carry over to trained generators, the SNR (of int8 against fp32) does not.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from ganpress.compression.quantization import QuantizationConfig, quantize
from ganpress.edge.onnx_export import export_onnx
from ganpress.edge.runtime import OnnxGenerator, runtime_version
from ganpress.fidelity import compare_outputs
from ganpress.seeding import seeded_initialisation, torch_generator
from models.builders import generator_blueprint
from models.families import Canvas
from models.spade import SpadeSpec
from models.wdcgan import LATENT, WdcganGenerator, wdcgan_generator

Generate = Callable[[Tensor], Tensor]
SECONDS_A_TURN = 0.15
"""Each generator runs about so long in each round."""


@dataclass(frozen=True)
class Row:
    """One generator in one runtime."""

    name: str
    latency_ms: float
    size_bytes: int
    snr_db: float | None


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--depths", type=int, nargs="+", default=[64, 16, 4])
    parser.add_argument("--generators", nargs="*", default=[], help="names family:spec of conditional ones, instead")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, onnxruntime {runtime_version()}, batch {arguments.batch}, 1 thread, CPU time")
    print(f"{'generator':<14}{'runtime':<16}{'ms':>9}{'vs eager':>10}{'bytes':>13}{'vs fp32':>9}{'SNR dB':>9}")
    for label in arguments.generators or [f"wdcgan:{depth}" for depth in arguments.depths]:
        rows = measure(*subject(label, arguments.size), arguments.batch, arguments.rounds)
        eager, floats = rows[0], rows[1]
        for row in rows:
            ratio, smaller = eager.latency_ms / row.latency_ms, floats.size_bytes / row.size_bytes
            snr = "" if row.snr_db is None else f"{row.snr_db:.1f}"
            print(f"{label:<14}{row.name:<16}{row.latency_ms:>9.3f}{ratio:>9.2f}x{row.size_bytes:>13,}", end="")
            print(f"{smaller:>8.2f}x{snr:>9}")


def subject(name: str, image_size: int) -> tuple[nn.Module, Tensor]:
    """A generator by name and inputs for it; weights are random, see `generator_like_trained` for W-DCGAN."""
    random = torch_generator(0, "benchmark", "inputs")
    family, _, spec = name.partition(":")
    if family == "wdcgan":
        return generator_like_trained(int(spec), image_size), torch.randn(256, LATENT, generator=random)
    classes = SpadeSpec.parse(spec).semantic if "spade" in family else 3
    canvas = Canvas(3, image_size, image_size, reads=classes)
    with seeded_initialisation(0, "benchmark", "weights"):
        model = generator_blueprint(name, canvas).build().eval()
    smooth = functional.interpolate(torch.randn(8, classes, 16, 16, generator=random), size=image_size, mode="bilinear")
    if "spade" in family:
        labels = functional.one_hot(smooth.argmax(1), classes)  # (8, H, W, classes)
        return model, labels.permute(0, 3, 1, 2).float().contiguous()
    return model, smooth.clamp(-1, 1)


@torch.no_grad()
def measure(model: nn.Module, z: Tensor, batch: int, rounds: int) -> list[Row]:
    """Export one generator in each number type and time it in each runtime, on inputs (N, …).

    The row `w8` has integer weights and float arithmetic, on sub-pixel convolutions: beside `fp32` it shows what that
    form costs where there are no integer kernels to gain from.
    """
    calibration, held_out = torch.split(z, len(z) // 2)
    exported = {
        "fp32": model,
        "w8": quantize(model, calibration, QuantizationConfig(8, None)),
        "int8": quantize(model, calibration, QuantizationConfig(8, 8)),
    }
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: Path(folder) / f"{name}.onnx" for name in exported}
        for name, path in paths.items():
            export_onnx(exported[name], path, z)
        runners: dict[str, Generate] = {"torch eager": model}
        runners |= {f"onnx {name}": OnnxGenerator(path, threads=1) for name, path in paths.items()}
        parameter_bytes = 4 * sum(parameter.numel() for parameter in model.parameters())
        sizes = [parameter_bytes, *(path.stat().st_size for path in paths.values())]
    latency = time_in_turn(runners, z[:batch], rounds)
    snr = [None, *(compare_outputs(model, runner, held_out).snr_db for runner in list(runners.values())[1:])]
    return [Row(name, latency[name], size, db) for name, size, db in zip(runners, sizes, snr, strict=True)]


@torch.inference_mode()
def time_in_turn(runners: dict[str, Generate], z: Tensor, rounds: int) -> dict[str, float]:
    """Median milliseconds of CPU time a call."""
    calls = {}
    for name, runner in runners.items():
        for _ in range(3):
            runner(z)
        calls[name] = max(1, int(SECONDS_A_TURN / max(_seconds(runner, z, 3), 1e-6)))
    turns: dict[str, list[float]] = {name: [] for name in runners}
    for _ in range(rounds):
        for name, runner in runners.items():
            turns[name].append(1000 * _seconds(runner, z, calls[name]))
    return {name: statistics.median(times) for name, times in turns.items()}


def _seconds(runner: Generate, z: Tensor, calls: int) -> float:
    start = time.process_time()
    for _ in range(calls):
        runner(z)
    return (time.process_time() - start) / calls


@torch.no_grad()
def generator_like_trained(depth: int, size: int) -> WdcganGenerator:
    """A generator with Laplace weights, log-normal channel scales and measured normalisation statistics."""
    model, random = wdcgan_generator(str(depth), size, 1).train(), torch_generator(0, "benchmark", "weights")
    for parameter in model.parameters():
        noise = torch.randn(parameter.shape, generator=random)
        if parameter.dim() == 1:
            parameter.copy_(0.3 * noise)
            continue
        laplace = noise.sign() * torch.empty(parameter.shape).exponential_(generator=random)
        scale = torch.exp(0.5 * torch.randn(parameter.shape[1], generator=random))
        parameter.copy_(0.02 * laplace * scale[None, :, None, None])
    for _ in range(8):
        model(torch.randn(64, LATENT, generator=random))
    return model.eval()


if __name__ == "__main__":
    main()
