"""Measures memory and time of a search over many candidates, without the scoring itself.

    python -m benchmarks.search_queue --candidates 1000 10000 100000 [--workers 2]

The search is the real one: every spec of a space is counted, queued to worker processes, scored, written to a score
book and compared with all others. Only the scorer (a number computed from the spec) and the cost (a formula) are cheap,
so that the search itself is measured. Each size runs in a separate process. `queued` is the largest number of specs
that waited in worker processes at one time; own memory is that of the searching process minus its imports.
"""

import argparse
import json
import logging
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.memory import MIB, measure
from ganpress.config.search_section import SearchConfig
from ganpress.search.budgeted_search import search_specs
from ganpress.search.score_book import ScoreBook
from ganpress.search.spec_costs import SpecCosts
from models.elastic import Spec, WidthSpace

PLACES = 5
WIDTHS = {1_000: 4, 10_000: 7, 100_000: 10}
"""Choices of each of five places, for about so many candidates or more."""


@dataclass(frozen=True)
class CheapScorer:
    """Builds a scorer that costs nothing; in each worker, as a real one is."""

    def __call__(self) -> Callable[[Spec], float]:
        """A number of the spec."""
        return lambda spec: sum((place + 1) * number % 97 for place, number in enumerate(spec.numbers)) / 97


def cheap_cost(spec: Spec) -> SpecCosts:
    """Parameters as of a chain of layers."""
    parameters = sum(one * other for one, other in zip(spec.numbers, spec.numbers[1:], strict=False))
    return SpecCosts(parameters, 64 * parameters, 4 * parameters)


class CountingExecutor(ProcessPoolExecutor):
    """Notes how many specs were handed over and not yet scored."""

    waiting = most = 0

    def submit(self, *arguments: Any, **named: Any) -> "Future[Any]":
        """Hand one over."""
        type(self).waiting += 1
        type(self).most = max(self.most, self.waiting)
        future: Future[Any] = super().submit(*arguments, **named)
        future.add_done_callback(self._leave)
        return future

    def _leave(self, _: object) -> None:
        type(self).waiting -= 1


def search(widths: int, workers: int) -> dict[str, float]:
    """Search all of a space, and say what it took."""
    import ganpress.search.workers as pool

    pool.ProcessPoolExecutor = CountingExecutor  # type: ignore[misc]
    space = WidthSpace(tuple(tuple(range(1, widths + 1)) for _ in range(PLACES)))
    config = SearchConfig(
        metric="fid",
        images=2,
        calibration_images=2,
        exhaustive_limit=len(space),
        workers=workers,
        generations=1,
        max_macs=10**18,
    )
    began, found = time.perf_counter(), []
    with tempfile.TemporaryDirectory() as folder:
        book = ScoreBook(Path(folder) / "scores.jsonl")
        peak = measure(lambda: found.append(search_specs(space, cheap_cost, CheapScorer(), config, 1, book=book)))
    seconds = time.perf_counter() - began
    return {"candidates": len(space), "own": peak.own, "seconds": seconds, "queued": CountingExecutor.most,
            "scored": len(found[0].scored), "front": len(found[0].front)}  # fmt: skip


def main() -> None:
    """Print a line a size, or search one and print it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", type=int, nargs="+", default=list(WIDTHS), choices=list(WIDTHS))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    logging.disable(logging.INFO)
    if options.one is not None:
        print(json.dumps(search(options.one, options.workers)))
        return
    print(f"{'candidates':>10} {'scored':>9} {'queued':>7} {'own, MiB':>9} {'bytes each':>11} {'seconds':>8}")
    for about in options.candidates:
        command = ["--one", str(WIDTHS[about]), "--workers", str(options.workers)]
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.search_queue", *command], stdout=subprocess.PIPE, text=True, check=True
        )
        one = json.loads(done.stdout.splitlines()[-1])
        each = one["own"] / one["candidates"]
        print(
            f"{one['candidates']:>10,} {one['scored']:>9,} {one['queued']:>7} {one['own'] / MIB:>9.1f} {each:>11,.0f} "
            f"{one['seconds']:>8.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
