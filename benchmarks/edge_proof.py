"""Speed, bytes and fidelity of generators at the edge: eager torch, every runtime in floats and in integers.

    python -m benchmarks.edge_proof [--quick] [--only "wdcgan d=64" …] [--out edge.csv] [--artifacts FOLDER]
        [--runtimes onnx openvino]

All rows of a generator are timed in one process, in turn, in each round. On one thread, the default, the figures are
medians of process CPU time, which other load on the machine changes little; with more threads they are wall time.
`w8a8` are ganpress's own integers, `int8` those of the runtime's quantizer; `packed` are the bytes of packed integer
files (`export.items.X.packed`). Speed and bytes with random weights are the same as with trained ones; SNR is not, and
packed bytes depend on the distribution of the weights.

The goals are those of the project's third system (docs/compression.md); each is printed with its distance.
"""

import argparse
import csv
import logging
import tempfile
from dataclasses import asdict, fields
from pathlib import Path

import torch

from benchmarks.edge_goals import GOALS
from benchmarks.edge_rows import Plan, Row, measure
from benchmarks.edge_subjects import Sources, find_shared, subjects
from ganpress.edge.roofline import Peaks, measure_peaks
from ganpress.errors import GanpressError
from ganpress.registries import TARGETS

HEADER = (
    f"{'generator':<21}{'runtime':<12}{'numbers':<9}{'batch':>5}{'ms':>10}{'vs eager':>10}{'bytes':>13}{'smaller':>9}"
    f"{'packed':>12}{'smaller':>9}{'SNR':>7}{'PSNR':>7}{'peak':>6}{'metric':>9}{'kept':>7}  integer layers"
)


def main() -> None:
    """Measure and print the table and the goals."""
    arguments = _parser().parse_args()
    logging.basicConfig(level=logging.WARNING)
    logging.getLogger("benchmarks").setLevel(logging.INFO)
    torch.set_num_threads(arguments.threads)
    peaks = measure_peaks(arguments.threads)
    _print_machine(peaks)
    rows: list[Row] = []
    plan = Plan(
        arguments.rounds or (3 if arguments.quick else 7), 1 if arguments.quick else None, tuple(arguments.runtimes)
    )
    known = subjects(Sources(find_shared(), arguments.artifacts, arguments.translation))
    for name in arguments.only or known:
        try:
            subject = known[name]()
        except GanpressError as error:
            print(f"{name:<21}left out: {error}", flush=True)
            continue
        with tempfile.TemporaryDirectory(prefix="ganpress-edge-") as folder:
            for row in measure(subject, Path(folder), peaks, plan):
                rows.append(row)
                print(_line(row), flush=True)
        if arguments.out:
            _write(arguments.out, rows)
    print()
    for goal in GOALS:
        print(goal.verdict(rows))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="batch 1 alone, and three rounds")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=list(subjects(Sources(None))), help="generators")
    parser.add_argument("--out", type=Path, metavar="CSV", help="where all rows go, too")
    parser.add_argument("--artifacts", type=Path, help="artifacts/ of a run on digits, for a trained W-DCGAN")
    parser.add_argument("--translation", type=Path, help="artifacts/ of a run on pairs, for a trained ResNet")
    parser.add_argument("--runtimes", nargs="+", choices=list(TARGETS), default=list(TARGETS))
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--threads", type=int, default=1)
    return parser


def _print_machine(peaks: Peaks) -> None:
    versions = [target.version() for target in TARGETS.values() if target.missing() is None]
    clock = "CPU time" if peaks.threads == 1 else "wall time"
    print(f"torch {torch.__version__}, {', '.join(versions)}; {peaks.threads} thread(s), {clock}")
    print("peak: " + ", ".join(f"{name} {rate:.0f} GMAC/s" for name, rate in peaks.gmacs_per_s.items()))
    print(HEADER, flush=True)


def _line(row: Row) -> str:
    start = f"{row.subject:<21}{row.runtime:<12}{row.number_type:<9}"
    if row.latency_ms is None:
        return f"{start}{row.note}"
    return (
        f"{start}{row.batch:>5}{row.latency_ms:>10.3f}{row.speed_up:>9.2f}x{row.size_bytes:>13,}{row.size_ratio:>8.2f}x"
        f"{_number(row.packed_bytes, ','):>12}{_number(row.packed_ratio, '.2f', 'x'):>9}"
        f"{_number(row.snr_db, '.1f'):>7}{_number(row.psnr_db, '.1f'):>7}{_number(row.peak_share, '.0%'):>6}"
        f"{_number(row.metric, '.3f'):>9}{_number(row.metric_retained, '.1%'):>7}  {row.integer_layers}"
    )


def _number(value: float | None, form: str, unit: str = "") -> str:
    return "" if value is None else format(value, form) + unit


def _write(path: Path, rows: list[Row]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)])
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


if __name__ == "__main__":
    main()
