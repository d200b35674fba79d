"""Compares ganpress's own integers for W-DCGAN generators with ONNX Runtime's quantizer and eager torch.

    python -m benchmarks.integer_stacks [--depths 4 16 64] [--rounds 9] [--beside FOLDER]

Each generator has weights like trained ones. Its files are written and timed in one process, in turn, on one thread;
milliseconds are medians of process CPU time, which other load on the machine changes little. The SNR is that of the
images to those of eager torch, on latents that were not used for the ranges. FOLDER may contain files from another
version, `own4.onnx` and so on, written from the same generators; they are timed in turn with the others.
"""

import argparse
import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.edge_rows import compare
from benchmarks.edge_subjects import PLAIN, generator_like_trained
from benchmarks.edge_timing import time_in_turn
from ganpress.basics.seeding import torch_generator
from ganpress.compression.quantization import quantize
from ganpress.metrics.scoring import Generate
from ganpress.registries import TARGETS
from models.family import LATENT

SIZE = 64


def write_files(model: nn.Module, depth: int, z: Tensor, folder: Path) -> dict[str, Path]:
    """Write one generator as floats, as its runtime's integers, and as those that ganpress chooses."""
    target = TARGETS["onnx"]
    own, stock, floats = (folder / f"{name}{depth}.onnx" for name in ("own", "stock", "float"))
    target.write(model, floats, z[:2])
    target.write(model, stock, z[:2], "int8", z)
    target.write(quantize(model, z, PLAIN), own, z[:2])
    return {"float32": floats, "int8, ONNX Runtime's": stock, "int8, ganpress": own}


def main() -> None:
    """Write, time, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--depths", type=int, nargs="+", default=[4, 16, 64])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--beside", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'generator':<14}{'file':<24}{'ms':>9}{'vs eager':>10}{'bytes':>12}{'SNR dB':>8}")
    for depth in options.depths:
        z = torch.randn(512, LATENT, generator=torch_generator(0, "benchmark", "inputs"))
        model = generator_like_trained(depth, SIZE)
        with tempfile.TemporaryDirectory(prefix="ganpress-stacks-") as folder:
            files = write_files(model, depth, z[:256], Path(folder))
            if options.beside:
                files["int8, beside"] = options.beside / f"own{depth}.onnx"
            runners: dict[str, Generate] = {name: TARGETS["onnx"].open(path) for name, path in files.items()}
            times = time_in_turn({"eager torch": model, **runners}, z[:1], options.rounds)
            for name, milliseconds in times.items():
                size = f"{files[name].stat().st_size:,}" if name in files else ""
                snr = compare(model, runners[name], z[256:]).snr_db if name.startswith("int8") else None
                print(
                    f"wdcgan d={depth:<5}{name:<24}{milliseconds:>9.4f}{times['eager torch'] / milliseconds:>9.2f}x"
                    f"{size:>12}{'' if snr is None else format(snr, '.2f'):>8}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
