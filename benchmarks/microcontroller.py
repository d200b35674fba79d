"""Measures W-DCGAN generators on a Cortex-M3: flash, RAM, instructions per picture, and bit-exactness.

    python -m benchmarks.microcontroller [--depths 2 4] [--size 32] [--bits 8,8 4,8 2,4]
        [--pictures 3] [--level O2]

Each generator has weights like trained ones and is quantized by ganpress. QEMU runs it as a Cortex-M3 of the machine
mps2-an385 and counts instructions, not cycles, which also depend on how long a device waits for its flash. Flash
contains code, constants and interrupt table of a program that does nothing else, compiled with -O2 or the given
--level; RAM is arena, input and output; the stack is measured separately. Outputs are compared exactly with the integer
simulation.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch

from benchmarks.cortex_m import run_on_device
from benchmarks.edge_subjects import generator_like_trained
from ganpress.basics.seeding import torch_generator
from ganpress.compression.quantization import QuantizationConfig, quantize
from ganpress.edge.c_code.c_runner import CGenerator
from ganpress.metrics.fidelity import compare_outputs
from ganpress.performance.generator_cost import generator_cost
from ganpress.registries import TARGETS
from models.family import LATENT
from models.wdcgan import WdcganGenerator

CALIBRATION, HELD_OUT = 256, 64
SETTLING_BATCHES = 60
REACH = 1.5
"""Standard deviation of what tanh reads."""


@torch.no_grad()
def lively_generator(depth: int, size: int) -> WdcganGenerator:
    """One with weights like trained ones whose images differ: settled statistics, a head that reaches tanh's ends."""
    model, random = generator_like_trained(depth, size).train(), torch_generator(0, "benchmark", "latents")
    for _ in range(SETTLING_BATCHES):
        model(torch.randn(64, LATENT, generator=random))
    images = model.eval()(torch.randn(64, LATENT, generator=random))
    model.head.weight.mul_(REACH / torch.atanh(images.clamp(-0.999, 0.999)).std())
    return model


def row(depth: int, size: int, bits: tuple[int, int], pictures: int, level: str) -> str:
    """One line of the table."""
    model = lively_generator(depth, size)
    z = torch.randn(CALIBRATION + HELD_OUT, LATENT, generator=torch_generator(0, "benchmark", "inputs"))
    quantized = quantize(model, z[:CALIBRATION], QuantizationConfig(*bits))
    shown = z[CALIBRATION:]
    with tempfile.TemporaryDirectory(prefix="ganpress-device-") as folder:
        path = Path(folder) / "generator.c"
        TARGETS["c"].write(quantized, path, z[:2])
        generator = CGenerator(path)
        (Path(folder) / "device").mkdir()
        run = run_on_device(generator.texts, generator.input_codes(shown[:pictures]), Path(folder) / "device", level)
        with torch.no_grad():
            equal = torch.equal(generator(shown), quantized(shown))
        same = (run.outputs == generator.output_codes(shown[:pictures]).reshape(pictures, -1)).all()
        snr = compare_outputs(model, quantized, shown).snr_db
    cost, arena = generator_cost(model, z[:1]), generator.texts.sizes["ARENA_BYTES"]
    near = "" if snr is None else f"{snr:.1f}"
    return (
        f"| {depth} | w{bits[0]}a{bits[1]} | {cost.parameters:,} | {cost.macs_exact:,} | {run.flash_bytes:,} | "
        f"{arena:,} | {run.ram_bytes:,} | {run.stack_bytes:,} | {int(np.median(run.instructions)):,} | "
        f"{'all bits' if same and equal else 'DIFFERS'} | {near} |"
    )


def main() -> None:
    """Quantize, write, build, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--depths", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--bits", nargs="+", default=["8,8", "4,8", "2,4"], metavar="WEIGHTS,ACTIVATIONS")
    parser.add_argument("--pictures", type=int, default=3)
    parser.add_argument("--level", choices=["Os", "O2", "O3"], default="O2")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(
        "| d | numbers | parameters | MACs | flash | arena | RAM | stack | instructions | parity | SNR dB to floats |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for depth in options.depths:
        for text in options.bits:
            weights, activations = map(int, text.split(","))
            print(row(depth, options.size, (weights, activations), options.pictures, options.level), flush=True)


if __name__ == "__main__":
    main()
