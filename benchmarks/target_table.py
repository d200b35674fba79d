"""Which target for which device: every target's files of two generators, with bytes, fidelity and time.

    python -m benchmarks.target_table [--rounds 5] [--write docs/results/targets.md]

One generator of latents and one of pictures with instance normalisation, whose weights are random with the statistics
of trained ones: bytes and times carry over to trained generators, the SNR does not. All files of a generator are timed
in turn in one process, in process CPU time on one thread. Targets that are not installed are named as such.
"""

import argparse
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from torch.nn import functional

from benchmarks.edge_rows import EAGER, Plan, Row, measure
from benchmarks.edge_subjects import Subject, careful_quantization, generator_like_trained
from ganpress.basics.seeding import seeded_initialisation
from ganpress.edge.roofline import measure_peaks
from ganpress.registries import TARGETS
from models.builders import generator_blueprint
from models.family import Canvas

WEIGHTS = "random, with the statistics of trained ones"
PREFACE = """# Which target for which device

`python -m benchmarks.target_table --write docs/results/targets.md` makes this page. The files of a generator are timed
in turn in one process, batch 1, in process CPU time on one thread of a machine with a peak of {:.0f} GMAC/s in float32
and {:.0f} in int8. SNR is to the images of eager torch, on inputs that ranges were not measured on. Weights are
random, with the statistics of trained ones: bytes and times carry over to trained generators, the SNR does not. `w8a8`
are ganpress's own integers; `int8` and its like are the target's own. Bytes of `c` are those of the source, whose
constants take fewer.

"""


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", type=Path, help="file of Markdown; without it the page is printed")
    given = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    logging.getLogger("benchmarks").setLevel(logging.INFO)
    torch.set_num_threads(1)
    page = "".join(f"{line}\n" for line in _page(given.rounds))
    if given.write:
        given.write.write_text(page)
    else:
        print(page)


def _page(rounds: int) -> Iterator[str]:
    peaks, plan = measure_peaks(1), Plan(rounds, 1, tuple(TARGETS))
    yield from PREFACE.format(peaks.gmacs("float32"), peaks.gmacs("int8")).splitlines()
    yield "| target | for | its files run here |"
    yield "|---|---|---|"
    for target in TARGETS.values():
        runs = f"not installed: `{target.install}`" if target.missing() else target.version()
        if target.stand_in:
            runs = f"no; computed by {target.stand_in}"
        yield f"| `{target.name}` | {target.devices} | {runs} |"
    for subject in (_latents(), _pictures()):
        yield ""
        yield f"## {subject.name}, {subject.macs / 1e6:,.0f} M MACs"
        yield ""
        yield "| target | numbers | bytes | SNR dB | ms | integer layers |"
        yield "|---|---|--:|--:|--:|---|"
        with tempfile.TemporaryDirectory(prefix="ganpress-targets-") as folder:
            yield from (_line(row) for row in measure(subject, Path(folder), peaks, plan))


def _line(row: Row) -> str:
    name = row.runtime if row.runtime == EAGER else f"`{row.runtime}`"
    if row.size_bytes is None:
        return f"| {name} | {row.number_type} | | | | {row.note} |"
    snr = "" if row.snr_db is None else f"{row.snr_db:.1f}"
    time = "not run here" if row.latency_ms is None else f"{row.latency_ms:.3g}"
    return f"| {name} | {row.number_type} | {row.size_bytes:,} | {snr} | {time} | {row.integer_layers} |"


def _latents() -> Subject:
    z = torch.randn(320, 100, generator=torch.Generator().manual_seed(0))
    return Subject("W-DCGAN d = 16, 64x64", generator_like_trained(16, 64), z[:256], z[256:], WEIGHTS)


def _pictures() -> Subject:
    with seeded_initialisation(0, "benchmark", "weights"):
        model = generator_blueprint("resnet_9blocks:ngf=16", Canvas(3, 128, 128, 3)).build().eval()
    noise = torch.rand(12, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    smooth = functional.interpolate(noise, size=128, mode="bilinear")
    name = "ResNet of 9 blocks, ngf = 16, 128x128, instance normalisation"
    return Subject(name, model, smooth[:8], smooth[8:], WEIGHTS, quantization=careful_quantization())


if __name__ == "__main__":
    main()
