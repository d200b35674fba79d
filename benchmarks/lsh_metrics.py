"""Compares precision and recall by hashing with k nearest neighbours: robustness, cost, agreement, other domains.

    python -m benchmarks.lsh_metrics [outliers] [cost] [agreement] [sounds] [texts] [--samples 10000 --features 512]
    python -m benchmarks.lsh_metrics --full

outliers   samples that belong to no mode, added to a generated set that has five of ten modes: recall should not move;
           and to the reference, while half of the generated samples are bad: precision should not move
cost       processor seconds and extra memory of one comparison, each tool in a process of its own on one thread, and
           the exponent by which the time grows from a quarter of the samples to all; `--full` is 50,000 x 2048, and
           this table alone. Where a quarter of the samples says that exact neighbours would take longer than
           `--longest` seconds, they are extrapolated from it, as their cost goes with the pairs, and the line says so
agreement  rank correlation with exact neighbours over a generator compressed to 8 … 2 bits: digits drawn from a mixture
           of Gaussians (no network, nothing trained here but its maximum likelihood), in features of a fixed ReLU layer
sounds     features of spectrograms: the metrics know nothing of images
texts      real text: the docstrings of scipy, one topic a subpackage, as TF-IDF reduced to 64 dimensions; sets without
           half of the topics, and with half of each text taken from another
"""

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks import lsh_features
from benchmarks.lsh_features import Features, manifold, outliers, tones
from ganpress.metrics.intervals.interval import Interval
from ganpress.metrics.intervals.lsh_intervals import lsh_intervals
from ganpress.metrics.intervals.random_parts import RandomParts
from ganpress.metrics.neighbours.hashed import hash_reference, lsh_scores, score_hashed
from ganpress.metrics.neighbours.hashed_nearest import lsh_neighbour_scores
from ganpress.metrics.neighbours.precision_recall import neighbour_scores, neighbourhood

K, SEED, MIB = 3, 0, 2**20
STARTED = time.monotonic()
PAIRS = 16
"""Pairs of all samples for each pair of a quarter of them."""
LONGEST = 600.0
"""CPU seconds of exact neighbours above which they are extrapolated: the whole table then stays within 15 minutes."""
LIBRARIES_UP_TO = 10_000
"""Samples above which prdc and torch-fidelity, whose memory grows with N^2, are left out."""


@dataclass(frozen=True)
class Pair:
    """One tool's precision and recall."""

    precision: float
    recall: float


def exact(real: Features, fake: Features) -> Pair:
    """Blocked exact neighbours of ganpress."""
    scores = neighbour_scores(neighbourhood(real, K), fake)
    return Pair(scores.precision, scores.recall)


def lsh(real: Features, fake: Features) -> Pair:
    """LSH only."""
    scores = lsh_scores(real, fake, SEED)
    return Pair(scores.precision, scores.recall)


def lsh_knn(real: Features, fake: Features) -> Pair:
    """LSH and neighbours among bucket mates."""
    scores = lsh_neighbour_scores(real, fake, SEED)
    return Pair(scores.precision, scores.recall)


def prdc(real: Features, fake: Features) -> Pair:
    """The reference implementation of Naeem et al., its thread pool held to one thread."""
    import joblib  # type: ignore[import-untyped]
    from prdc import compute_prdc  # type: ignore[import-untyped]

    with joblib.parallel_config(backend="sequential"):
        scores = compute_prdc(real, fake, K)
    return Pair(scores["precision"], scores["recall"])


def torch_fidelity(real: Features, fake: Features) -> Pair:
    """torch-fidelity, which names its first input the generated one."""
    import torch
    from torch_fidelity.metric_prc import prc_features_to_metric

    scores = prc_features_to_metric(torch.from_numpy(fake), torch.from_numpy(real), prc_neighborhood=K, verbose=False)
    return Pair(float(scores["precision"]), float(scores["recall"]))


TOOLS: dict[str, Callable[[Features, Features], Pair]] = {
    "prdc": prdc,
    "torch-fidelity": torch_fidelity,
    "exact": exact,
    "LSH+KNN": lsh_knn,
    "LSH": lsh,
}
OURS = ("exact", "LSH", "LSH+KNN")


@dataclass(frozen=True)
class Cost:
    """One comparison of two sets of N samples."""

    cpu_seconds: float
    extra_mib: float
    """Peak memory above that of the process with both sets loaded."""
    scores: Pair


def measure(tool: str, folder: Path) -> Cost:
    """Run a tool in this process, warmed up on a few samples."""
    real, fake = (np.load(folder / f"{side}.npy") for side in ("real", "fake"))
    TOOLS[tool](real[:200], fake[:200])
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    scores = TOOLS[tool](real, fake)
    seconds = time.process_time() - start
    return Cost(seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / MIB, scores)


def measured_elsewhere(tool: str, folder: Path) -> Cost:
    """Run a tool in a fresh process on one thread."""
    command = [sys.executable, "-m", "benchmarks.lsh_metrics", "--tool", tool, "--folder", str(folder)]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=os.environ | threads)
    found = json.loads(done.stdout.splitlines()[-1])
    return Cost(found["cpu_seconds"], found["extra_mib"], Pair(**found["scores"]))


def cost(samples: int, features: int, longest: float) -> None:
    """Print one line a tool, and on stderr what is being measured."""
    tools = [tool for tool in TOOLS if tool in OURS or samples <= LIBRARIES_UP_TO]
    few = _costs(samples // 4, features, tools)
    extrapolated = replace(few["exact"], cpu_seconds=PAIRS * few["exact"].cpu_seconds)
    too_long = extrapolated.cpu_seconds > longest
    many = _costs(samples, features, [tool for tool in tools if tool != "exact" or not too_long])
    exact_seconds = (extrapolated if too_long else many["exact"]).cpu_seconds
    print(f"\ncost: {samples:,} + {samples:,} samples x {features} features, k = {K}, one thread")
    print(f"{'':>15}{'CPU s':>9}{'of exact':>10}{'extra MiB':>11}{'exponent':>10}{'precision':>11}{'recall':>8}")
    for tool, one in many.items():
        exponent = math.log(one.cpu_seconds / few[tool].cpu_seconds, 4)
        print(
            f"{tool:>15}{one.cpu_seconds:>9.2f}{f'{exact_seconds / one.cpu_seconds:.1f}x':>10}{one.extra_mib:>11.0f}"
            f"{exponent:>10.2f}{one.scores.precision:>11.3f}{one.scores.recall:>8.3f}"
        )
    if too_long:
        print(f"{'exact':>15}{exact_seconds:>9.0f} extrapolated: {PAIRS} times {few['exact'].cpu_seconds:.1f} s, which")
        print(f"{'':>15}a quarter of the samples took with a {PAIRS}th of the pairs; longer than {longest:.0f} s")


def _costs(samples: int, features: int, tools: list[str]) -> dict[str, Cost]:
    """Measure tools one after the other."""
    found: dict[str, Cost] = {}
    with tempfile.TemporaryDirectory() as folder:
        for side, seed, modes in (("real", 0, 10), ("fake", 1, 5)):
            _progress(f"{samples:,} x {features}: drawing the {side} features")
            np.save(Path(folder, f"{side}.npy"), manifold(samples, features, seed, modes))
        for tool in tools:
            _progress(f"{samples:,} x {features}: {tool} …")
            found[tool] = measured_elsewhere(tool, Path(folder))
            _progress(f"{samples:,} x {features}: {tool} took {found[tool].cpu_seconds:.1f} CPU s")
    return found


def _progress(text: str) -> None:
    print(f"[{time.monotonic() - STARTED:5.0f} s] {text}", file=sys.stderr, flush=True)


def outlier_robustness(samples: int, features: int) -> None:
    """Print how far recall and precision move with each kind and share of outliers."""
    real, half = manifold(samples, features, 0), manifold(samples, features, 1, modes=5)
    good = manifold(samples - samples // 2, features, 2)
    bad = np.concatenate([good, outliers("norm", samples // 2, features, 3)])
    print(f"\noutliers: {samples:,} samples x {features} features")
    _moves("recall", "the generated set", (real, half), lambda more: (real, np.concatenate([half, more])))
    _moves("precision", "the reference", (real, bad), lambda more: (np.concatenate([real, more]), bad))


def _moves(
    score: str, place: str, clean: tuple[Features, Features], dirty: Callable[[Features], tuple[Features, Features]]
) -> None:
    """Print by how much a score moves when outliers come to a set, and what share that is of the exact one's move."""
    samples, features = clean[0].shape
    base = {tool: getattr(TOOLS[tool](*clean), score) for tool in OURS}
    print(f"in {place}: {score} without any " + ", ".join(f"{tool} {base[tool]:.3f}" for tool in OURS) + "; moved by")
    largest = dict.fromkeys(OURS, 0.0)
    for kind in ("norm", "isotropic", "latent"):
        for share in (0.01, 0.03, 0.1):
            sets = dirty(outliers(kind, round(share * samples), features, 11))
            moved = {tool: getattr(TOOLS[tool](*sets), score) - base[tool] for tool in OURS}
            largest = {tool: max(largest[tool], abs(moved[tool])) for tool in OURS}
            line = "".join(f"  {tool} {value:+.4f}" for tool, value in moved.items())
            print(f"{kind:>12}{share:>5.0%}{line}  {_shares(moved)}", flush=True)
    print(f"{'largest':>17}" + "".join(f"  {tool} {value:.4f}" for tool, value in largest.items()), _shares(largest))


def _shares(moved: dict[str, float]) -> str:
    """Moves as shares of the exact one's; none where that is within what another draw would move it."""
    if abs(moved["exact"]) < 0.02:
        return "exact hardly moves"
    return "of exact's: " + ", ".join(f"{tool} {abs(moved[tool] / moved['exact']):.3f}" for tool in OURS[1:])


def agreement() -> None:
    """Print scores over compression levels and their rank correlation with exact neighbours."""
    from scipy.stats import spearmanr

    images, generator = lsh_features.digits()
    real = lsh_features.digit_features(images)
    levels = [(bits, clip) for clip in (1.0, 0.6) for bits in (8, 6, 5, 4, 3, 2)]
    print(f"\nagreement: {len(real):,} real digits and as many of a compressed generator; P/R")
    rows: dict[str, list[Pair]] = {tool: [] for tool in OURS}
    for bits, clip in levels:
        fake = lsh_features.digit_features(generator.quantized(bits, clip).images(len(real), seed=1))
        for tool in OURS:
            rows[tool].append(TOOLS[tool](real, fake))
        line = "".join(f"  {tool} {rows[tool][-1].precision:.3f}/{rows[tool][-1].recall:.3f}" for tool in OURS)
        print(f"{bits} bits, clip {clip:.1f}{line}", flush=True)
    for name in ("precision", "recall"):
        columns = {tool: [getattr(pair, name) for pair in rows[tool]] for tool in OURS}
        found = [f"{tool} {spearmanr(columns['exact'], columns[tool]).statistic:.3f}" for tool in OURS[1:]]
        print(f"rank correlation of {name} with exact over {len(levels)} levels: {', '.join(found)}")


def sounds(samples: int = 2000) -> None:
    """Print scores of sets of tones."""
    real = tones(samples, 0)
    print(f"\nsounds: {samples:,} spectrograms of plucked tones on 12 pitches, {real.shape[1]} features; P/R")
    for name, fake in {
        "the same": tones(samples, 1),
        "6 of 12 pitches": tones(samples, 1, pitches=6),
        "half a semitone off": tones(samples, 1, detune=0.5),
        "more hiss": tones(samples, 1, hiss=0.05),
    }.items():
        pairs = {tool: TOOLS[tool](real, fake) for tool in OURS}
        line = "".join(f"  {tool} {pair.precision:.3f}/{pair.recall:.3f}" for tool, pair in pairs.items())
        parts = RandomParts(real, SEED, partial(hash_reference, seed=SEED), score_hashed).scores(fake)
        assert parts is not None  # thousands of samples
        sure = lsh_intervals(lsh_scores(real, fake, SEED), parts)
        print(f"{name:>20}{line}  LSH 95 %: P {_range(sure.precision)}, R {_range(sure.recall)}", flush=True)


def texts() -> None:
    """Print scores of sets of docstrings."""
    from benchmarks.text_features import docstrings, embedded, mixed

    documents = docstrings()
    real, rest = documents[::2], documents[1::2]
    topics = sorted({document.topic for document in documents})
    half = topics[::2]
    print(f"\ntexts: {len(real):,} docstrings of scipy on {len(topics)} topics, and sets of others; P/R")
    sets = {
        "the other docstrings": rest,
        "every second topic": [document for document in rest if document.topic in half],
        "halves of two texts": mixed(rest),
        "one text repeated": rest[:1] * len(rest),
    }
    features = embedded(real, *sets.values())
    for name, fake in zip(sets, features[1:], strict=True):
        pairs = {tool: TOOLS[tool](features[0], fake) for tool in OURS}
        line = "".join(f"  {tool} {pair.precision:.3f}/{pair.recall:.3f}" for tool, pair in pairs.items())
        print(f"{name:>22}{line}", flush=True)


def _range(interval: Interval) -> str:
    return f"{interval.low:.3f} … {interval.high:.3f}"


def main() -> None:
    """Print the tables that are asked for, or run the one tool that `--tool` names and print its cost as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*", help="outliers, cost, agreement, sounds, texts; none means all")
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--features", type=int, default=512)
    parser.add_argument("--full", action="store_true", help="cost at 50,000 x 2048")
    parser.add_argument("--longest", type=float, default=LONGEST, help="CPU seconds of exact neighbours at most")
    parser.add_argument("--tool", choices=list(TOOLS), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.tool:
        print(json.dumps(asdict(measure(options.tool, options.folder))))
        return
    tables: dict[str, Callable[[], None]] = {
        "outliers": lambda: outlier_robustness(min(options.samples, 3000), options.features),
        "cost": lambda: cost(options.samples, options.features, options.longest),
        "agreement": agreement,
        "sounds": sounds,
        "texts": texts,
    }
    if options.full:
        cost(50_000, 2048, options.longest)
        return
    for name in options.tables or tables:
        tables[name]()


if __name__ == "__main__":
    main()
