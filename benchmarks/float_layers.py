"""Measures the cost in time and the gain in fidelity of layers that stay in floats in an integer file.

    python -m benchmarks.float_layers [--only "wdcgan d=64" …] [--shares 0 0.2 0.4 0.6 0.8 1] [--runtimes onnx openvino]

One generator is quantized layer by layer, and is written with more and more of its layers in floats, in the order in
which `min_snr_db` chooses them: the largest error per MAC first. The last row is the file of the float generator. All
files of a generator are timed in turn, one input on one thread, in process CPU time (`benchmarks.edge_timing`). The SNR
is that of the file's images to eager torch's on inputs that were not used for the ranges; with random weights it is not
representative.
"""

import argparse
import logging
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from benchmarks.edge_subjects import Sources, Subject, find_shared, subjects
from benchmarks.edge_timing import time_in_turn
from ganpress.compression.preparation.plain_layers import prepare
from ganpress.compression.rounding.assembly import assemble
from ganpress.compression.rounding.layer_rounding import round_layers
from ganpress.compression.widths.float_share import float_macs_share
from ganpress.compression.widths.sensitivity import scan_layers
from ganpress.errors import GanpressError
from ganpress.metrics.fidelity import compare_outputs
from ganpress.metrics.scoring import Generate
from ganpress.registries import TARGETS

GENERATORS = ("wdcgan d=64",)
SHARES = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
NAMED = 3
"""Most layers of a row that are named."""
SCANNED_INPUTS = 8
"""Calibration inputs that the harm of each layer is measured on."""


@dataclass(frozen=True)
class Mixture:
    """A generator some of whose layers are in floats."""

    model: nn.Module
    float_layers: int
    added: tuple[str, ...]
    """Those of them that the mixture before has in integers."""
    layers: int
    """All that can be rounded."""
    float_macs: float
    """Share of the multiplications that are in floats."""


@torch.no_grad()
def mixtures(subject: Subject, shares: list[float]) -> Iterator[Mixture]:
    """The generator with each share of its layers in floats, from none to all."""
    prepared = prepare(subject.model, subject.calibration)
    rounded = round_layers(prepared, subject.quantization)
    scan = scan_layers(prepared.plain, rounded, subject.calibration[:SCANNED_INPUTS])
    order = [one.layer for one in sorted(scan, key=lambda one: one.harm, reverse=True)]
    before = 0
    for count in sorted({round(share * len(order)) for share in shares}):
        model, float_macs, added = subject.model, 1.0, tuple(order[before:count])
        if count < len(order):
            model = assemble(
                prepared, {name: rounded[name] for name in rounded if name in order[count:]}, subject.quantization
            )
            float_macs = float_macs_share(model, subject.calibration[:1])
        yield Mixture(model, count, added, len(order), float_macs)
        before = count


def measure(subject: Subject, shares: list[float], runtimes: list[str], rounds: int, folder: Path) -> None:
    """Print one row for each mixture and runtime."""
    files: dict[str, tuple[Mixture, str, int, Generate]] = {}
    for mixture in mixtures(subject, shares):
        for runtime in runtimes:
            target = TARGETS[runtime]
            path = folder / f"{mixture.float_layers}-{runtime}{target.suffix}"
            size = sum(one.stat().st_size for one in target.write(mixture.model, path, subject.calibration[:2]))
            files[path.name] = mixture, runtime, size, target.open(path, threads=1)
    runners = {name: runner for name, (*_, runner) in files.items()}
    times = time_in_turn({"eager": subject.model, **runners}, subject.calibration[:1], rounds)
    least = {runtime: times[name] for name, (_, runtime, *_) in reversed(files.items())}  # of the fewest floats
    for name, (mixture, runtime, size, runner) in files.items():
        snr = compare_outputs(subject.model, runner, subject.held_out).snr_db
        layers = f"{mixture.float_layers} of {mixture.layers}"
        added = ", ".join(mixture.added[:NAMED]) + (" …" if len(mixture.added) > NAMED else "")
        print(
            f"| {subject.name} | {runtime} | {layers} | {added} | {mixture.float_macs:.1%} | {times[name]:.4g} "
            f"| {times[name] / least[runtime]:.2f} | {times['eager'] / times[name]:.2f} | {size:,} "
            f"| {'' if snr is None else f'{snr:.1f}'} |",
            flush=True,
        )


def main() -> None:
    """Measure and print the table."""
    known = subjects(Sources(find_shared()))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=list(known), default=list(GENERATORS))
    parser.add_argument("--shares", nargs="+", type=float, default=SHARES, help="of the layers that can be rounded")
    parser.add_argument("--runtimes", nargs="+", choices=["onnx", "openvino"], default=["onnx", "openvino"])
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    torch.set_num_threads(1)
    runtimes = [name for name in arguments.runtimes if TARGETS[name].missing() is None]
    print("| generator | runtime | layers in floats | these, too | MACs in floats | ms | times the first row's", end="")
    print(" | faster than eager | bytes | SNR dB |\n|---|---|--:|---|--:|--:|--:|--:|--:|--:|")
    for name in arguments.only:
        try:
            with tempfile.TemporaryDirectory(prefix="ganpress-float-layers-") as folder:
                measure(known[name](), arguments.shares, runtimes, arguments.rounds, Path(folder))
        except GanpressError as error:
            print(f"| {name} | left out: {error} |")


if __name__ == "__main__":
    main()
