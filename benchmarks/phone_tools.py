"""Compares ganpress's files for MNN and ncnn with those of the runtimes' own tools.

    python -m benchmarks.phone_tools [--rounds 15]

The tools are called as in their own guides: `mnnconvert` on the ONNX file of `torch.onnx.export`, and `pnnx.export` on
the network; ncnn is run with its default options, which compute in float16, and with float32. All files of one
generator are timed in turn on one thread, in process CPU time, and compared with torch.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pnnx
import torch
from torch import Tensor, nn

from benchmarks.edge_rows import compare
from benchmarks.edge_subjects import generator_like_trained
from benchmarks.edge_timing import time_in_turn
from ganpress.edge.targets.mnn_runtime import MnnGenerator
from ganpress.registries import TARGETS
from models.builders import generator_blueprint
from models.family import Canvas

Runner = Callable[[Tensor], Tensor]


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    print(f"{'generator':<22}{'file':<26}{'ms':>9}{'bytes':>13}{'dB':>8}", flush=True)
    for name, model, inputs in _subjects():
        with tempfile.TemporaryDirectory(prefix="ganpress-tools-") as folder, torch.no_grad():
            made = dict(_files(model, inputs, Path(folder)))
            runners = {"torch eager": model, **{label: runner for label, (runner, _) in made.items()}}
            times = time_in_turn(runners, inputs[:1], rounds, 1)
            for label, runner in runners.items():
                size = f"{made[label][1]:,}" if label in made else ""
                snr = compare(model, runner, inputs).snr_db
                print(f"{name:<22}{label:<26}{times[label]:>9.3f}{size:>13}{'' if snr is None else f'{snr:.1f}':>8}")


def _subjects() -> Iterator[tuple[str, nn.Module, Tensor]]:
    random = torch.Generator().manual_seed(0)
    for depth in (64, 16):
        yield f"wdcgan d={depth}", generator_like_trained(depth, 64).eval(), torch.randn(16, 100, generator=random)
    pictures = nn.functional.interpolate(torch.rand(4, 3, 32, 32, generator=random) * 2 - 1, size=128, mode="bilinear")
    torch.manual_seed(0)
    yield (
        "resnet_9blocks ngf=16",
        generator_blueprint("resnet_9blocks:ngf=16", Canvas(3, 128, 128, 3)).build().eval(),
        (pictures),
    )


def _files(model: nn.Module, inputs: Tensor, folder: Path) -> Iterator[tuple[str, tuple[Runner, int]]]:
    for name in ("mnn", "ncnn"):
        target = TARGETS[name]
        files = target.write(model, folder / name / f"generator{target.suffix}", inputs[:2])
        yield f"{name}, ganpress", (target.open(files[0]), sum(one.stat().st_size for one in files))
    yield "mnn, own tool", _by_mnnconvert(model, inputs, folder)
    for label, halves in (("ncnn, own tool", True), ("ncnn, own tool, floats", False)):
        yield label, _by_pnnx(model, inputs, folder, halves)


def _by_mnnconvert(model: nn.Module, inputs: Tensor, folder: Path) -> tuple[Runner, int]:
    onnx, path = folder / "user.onnx", folder / "user.mnn"
    torch.onnx.export(
        model,
        (inputs[:2],),
        onnx,
        dynamo=True,
        external_data=False,
        verbose=False,
        input_names=["z" if inputs.dim() == 2 else "source"],
        output_names=["images"],
        dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
    )
    arguments = ["-f", "ONNX", "--modelFile", str(onnx), "--MNNModel", str(path), "--bizCode", "user"]
    command = [sys.executable, "-c", "import sys, _tools; _tools.mnnconvert(sys.argv)", *arguments]
    subprocess.run(command, capture_output=True, check=True)
    return MnnGenerator(path), path.stat().st_size


def _by_pnnx(model: nn.Module, inputs: Tensor, folder: Path, halves: bool) -> tuple[Runner, int]:
    import ncnn

    pnnx.export(model, str(folder / f"user{halves}.pt"), inputs[:1], fp16=halves)
    parts = [folder / f"user{halves}.ncnn.{end}" for end in ("param", "bin")]
    net = ncnn.Net()
    net.opt.num_threads = 1
    if not halves:
        net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    net.load_param(str(parts[0]))
    net.load_model(str(parts[1]))

    def run(batch: Tensor) -> Tensor:
        images = []
        for one in batch.numpy():
            extractor = net.create_extractor()
            extractor.input("in0", ncnn.Mat(one).clone())
            images.append(np.array(extractor.extract("out0")[1]))
        return torch.from_numpy(np.stack(images))

    return run, sum(part.stat().st_size for part in parts)


if __name__ == "__main__":
    main()
