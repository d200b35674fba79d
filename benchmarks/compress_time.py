"""`ganpress compress` beside each runtime's own quantizer: processor seconds, wall time and decibels of one generator.

    python -m benchmarks.compress_time [--generator resnet_9blocks:ngf=64] [--size 256] [--targets onnx openvino]
        [--pictures FOLDER] [--repeats 1]

Every tool runs in a process of its own, which includes the start of Python, and the tools of one target run one after
the other on the same network, of random weights, and the same 64 calibration pictures. The runtime's quantizer is
called as its own guide says: `torch.onnx.export`, `quant_pre_process` and `quantize_static` with one scale for each
channel of the weights; `openvino.convert_model` of the network and `nncf.quantize`. `ganpress compress` also verifies
the file, draws pictures and times the generator before and after, which its rows include.
Decibels are those of the file's images to the generator's own, the mean over 8 pictures that no tool has calibrated on.
Without --pictures, the pictures are crops of the two photographs that come with scikit-learn.
"""

import argparse
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from ganpress.direct.given_inputs import CALIBRATION_INPUTS, SHOWN_INPUTS, given_inputs, parted
from ganpress.errors import ConfigError
from ganpress.metrics.fidelity import compare_outputs
from ganpress.metrics.scoring import Generate
from ganpress.registries import TARGETS

OWN = "the runtime's own"
FACTOR = """\
import torch
from models.builders import generator_blueprint
from models.family import Canvas


def build():
    torch.manual_seed(0)
    return generator_blueprint({name!r}, Canvas(3, {size}, {size}, reads=3)).build().eval()
"""
CROPS_OF = 0.5
"""Smallest share of a photograph's height that a crop has."""


@dataclass(frozen=True)
class Taken:
    """What one tool took, and what its file is worth."""

    cpu_s: float
    wall_s: float
    decibels: float
    size_bytes: int


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--generator", default="resnet_9blocks:ngf=64")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--targets", nargs="+", choices=["onnx", "openvino"], default=["onnx", "openvino"])
    parser.add_argument("--pictures", type=Path, metavar="FOLDER")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--own", nargs=3, metavar=("TARGET", "FOLDER", "PICTURES"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.own:
        target, folder, pictures = given.own
        _run_own(target, Path(folder), Path(pictures), given.size)
        return
    print(f"{given.generator}, {given.size}x{given.size}, {CALIBRATION_INPUTS} calibration pictures")
    print(f"{'target':<10}{'tool':<20}{'CPU s':>9}{'wall s':>9}{'dB':>7}{'bytes':>13}", flush=True)
    with tempfile.TemporaryDirectory(prefix="ganpress-compress-time-") as folder:
        root = Path(folder)
        pictures = given.pictures or _write_crops(root / "pictures", given.size)
        source = root / "subject.py"
        source.write_text(FACTOR.format(name=given.generator, size=given.size), encoding="utf-8")
        for target in given.targets * given.repeats:
            _compare(root, target, pictures, given.size)


def _compare(root: Path, target: str, pictures: Path, size: int) -> None:
    rows = {}
    for tool in (OWN, "ganpress compress"):
        out = root / "out"
        rows[tool] = made = _measured(root, target, tool, pictures, size, out)
        print(
            f"{target:<10}{tool:<20}{made.cpu_s:>9.1f}{made.wall_s:>9.1f}{made.decibels:>7.1f}{made.size_bytes:>13,}",
            flush=True,
        )
    own, ours = rows.values()
    print(
        f"{target:<10}{'ratio':<20}{ours.cpu_s / own.cpu_s:>9.2f}{ours.wall_s / own.wall_s:>9.2f}"
        f"{ours.decibels - own.decibels:>+7.1f}{ours.size_bytes / own.size_bytes:>13.2f}",
        flush=True,
    )


def _measured(root: Path, target: str, tool: str, pictures: Path, size: int, out: Path) -> Taken:
    """Run one tool in its own process, and measure the file that it leaves."""
    shutil.rmtree(out, ignore_errors=True)
    if tool == OWN:
        command = ["-m", "benchmarks.compress_time", "--size", str(size), "--own", target, str(out), str(pictures)]
    else:
        shape = f"1x3x{size}x{size}"
        command = ["-m", "flows", "compress", f"{root / 'subject.py'}:build", "--example-input", shape]
        command += ["--data", str(pictures), "--target", target, "-o", str(out)]
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    ran = subprocess.run([sys.executable, *command], check=False, capture_output=True, text=True)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if ran.returncode:
        raise ConfigError(f"{tool} for {target} failed: {ran.stderr[-500:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    file = next(out.glob(f"*{TARGETS[target].suffix}"))
    parts = [file, *(file.with_suffix(end) for end in TARGETS[target].beside)]
    _, held_out = parted(given_inputs(torch.zeros(1, 3, size, size), pictures, 0)[1])
    network = _network(root / "subject.py")
    runner = _plain_runner(target, file) if tool == OWN else TARGETS[target].open(file, 2)
    values = [compare_outputs(network, runner, one[None]).snr_db or np.inf for one in held_out]
    return Taken(cpu, wall, float(np.mean(values)), sum(one.stat().st_size for one in parts))


def _plain_runner(target: str, file: Path) -> Generate:
    """Open a file as a user of the runtime does."""
    if target == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        return lambda x: torch.from_numpy(session.run(None, {"source": x.numpy()})[0])
    import openvino

    compiled = openvino.Core().compile_model(file, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda x: torch.from_numpy(compiled([x.numpy()])[0])


def _network(source: Path) -> nn.Module:
    content: dict[str, object] = {}
    exec(source.read_text(encoding="utf-8"), content)
    build = content["build"]
    assert callable(build)  # so written above
    made: nn.Module = build()
    return made


def _write_crops(folder: Path, size: int) -> Path:
    """Draw crops of scikit-learn's photographs, resized and mirrored by chance."""
    from sklearn.datasets import load_sample_images

    folder.mkdir()
    random, photographs = np.random.default_rng(0), load_sample_images().images
    for place in range(CALIBRATION_INPUTS + SHOWN_INPUTS):
        photograph = photographs[place % 2]
        side = int(photograph.shape[0] * random.uniform(CROPS_OF, 1))
        top, left = (int(random.integers(length - side + 1)) for length in photograph.shape[:2])
        crop = photograph[top : top + side, left : left + side]
        crop = crop[:, ::-1] if random.random() < 0.5 else crop
        Image.fromarray(crop).resize((size, size), Image.Resampling.LANCZOS).save(folder / f"{place:03d}.png")
    return folder


def _run_own(target: str, out: Path, pictures: Path, size: int) -> None:
    """Quantize as the guide of the runtime's quantizer says."""
    network = _network(out.parent / "subject.py")
    example = torch.zeros(1, 3, size, size)
    calibration, _ = parted(given_inputs(example, pictures, 0)[1])
    out.mkdir()
    {"onnx": _by_onnx_runtime, "openvino": _by_nncf}[target](network, example, calibration, out)


def _by_onnx_runtime(network: nn.Module, example: Tensor, calibration: Tensor, out: Path) -> None:
    from onnxruntime.quantization import CalibrationDataReader, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self._inputs = iter(calibration)

        def get_next(self) -> dict[str, np.ndarray] | None:
            one = next(self._inputs, None)
            return None if one is None else {"source": one[None].numpy()}

    with tempfile.TemporaryDirectory() as folder:
        plain, ready = Path(folder) / "plain.onnx", Path(folder) / "ready.onnx"
        torch.onnx.export(
            network, (torch.cat([example, example]),), plain, dynamo=True, external_data=False, verbose=False,
            input_names=["source"], output_names=["images"],
            dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
        )  # fmt: skip
        quant_pre_process(plain, ready)
        quantize_static(ready, out / "generator.onnx", Reader(), per_channel=True)


def _by_nncf(network: nn.Module, example: Tensor, calibration: Tensor, out: Path) -> None:
    import nncf
    import openvino

    graph = openvino.convert_model(network, example_input=example, input=[-1, 3, *example.shape[2:]])
    inputs = [one[None].numpy() for one in calibration]
    quantized = nncf.quantize(graph, nncf.Dataset(inputs), subset_size=len(inputs))
    openvino.save_model(quantized, out / "generator.xml", compress_to_fp16=False)


if __name__ == "__main__":
    main()
