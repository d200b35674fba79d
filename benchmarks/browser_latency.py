"""Compares generators in a real headless Chromium with the native runtime: milliseconds per image, bytes of the site.

    python -m benchmarks.browser_latency [--depths 16 4] [--size 64] [--runs 60] [--rounds 5] [--runtime PATH]
    python -m benchmarks.browser_latency --artifacts artifacts [--original REF] [--compressed REF]

The page of `ganpress demo` is served to Chromium, and its own measurement is used: one image, one thread, in a worker.
Native runtime and browser take turns in each round; the figures are the fastest round's medians, because other load can
only add time. Without --artifacts the weights are random with the statistics of trained ones.
"""

import argparse
import gzip
import shutil
import statistics
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.edge_subjects import generator_like_trained
from ganpress.basics.seeding import torch_generator
from ganpress.compression.quantization import QuantizationConfig, quantize
from ganpress.demo.generators import EdgeGenerator, choose_pair
from ganpress.demo.page_runtime import BrowserRuntime, find_runtime
from ganpress.demo.server import open_server
from ganpress.demo.site import ROLES, build_site
from ganpress.edge.graphs.onnx_export import export_onnx
from ganpress.edge.onnx_runtime import OnnxGenerator, runtime_version
from ganpress.edge.proof.card_writing import write_card
from ganpress.edge.proof.edge_card import Lineage
from ganpress.edge.proof.verification import Verification
from ganpress.performance.latency import measure_latency
from models.family import LATENT

FLAGS = "--no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update"
CACHE = Path(".ganpress") / "browser"


@dataclass(frozen=True)
class Row:
    """One generator in both runtimes."""

    name: str
    size_bytes: int
    native_ms: float
    browser_ms: float


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--depths", type=int, nargs="+", default=[16, 4])
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--artifacts", type=Path)
    parser.add_argument("--original")
    parser.add_argument("--compressed")
    parser.add_argument("--runs", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--runtime", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    runtime = find_runtime(CACHE, arguments.runtime)
    with tempfile.TemporaryDirectory() as folder:
        pairs = {}
        if arguments.artifacts:
            pairs["exported"] = choose_pair(arguments.artifacts, arguments.original, arguments.compressed)
        else:
            for depth in arguments.depths:
                pairs[f"wdcgan:{depth}"] = export_pair(depth, arguments.size, Path(folder) / str(depth))
        with chromium() as browser:
            print(f"onnxruntime {runtime_version()}, Chromium {browser.version}, batch 1, 1 thread")
            print(f"{'generator':<34}{'bytes':>12}{'native ms':>11}{'browser ms':>12}{'ratio':>8}")
            for label, pair in pairs.items():
                site = Path(folder) / "site"
                build_site(*pair, runtime, (arguments.artifacts or Path(folder)) / "prepare", site)
                for row in measure(browser, site, pair, arguments.runs, arguments.rounds):
                    print(f"{label + ' ' + row.name:<34}{row.size_bytes:>12,}{row.native_ms:>11.3f}", end="")
                    print(f"{row.browser_ms:>12.3f}{row.browser_ms / row.native_ms:>7.1f}x")
            print_bytes(site, runtime)


def export_pair(depth: int, size: int, folder: Path) -> tuple[EdgeGenerator, EdgeGenerator]:
    """A W-DCGAN in floats and in 8-bit integers, as exported files with cards."""
    model = generator_like_trained(depth, size)
    z = torch.randn(256, LATENT, generator=torch_generator(0, "benchmark", "inputs"))
    lineage = Lineage(source="random", source_md5="0" * 32, builder="wdcgan_generator")
    proof = Verification(images=1, max_abs_error=0.0, snr_db=None, tolerance=0.1)
    for item, exported in (("teacher", model), ("int8", quantize(model, z, QuantizationConfig(8, 8)))):
        path = folder / "export" / item / "generator.onnx"
        export_onnx(exported, path, z[:2])
        write_card(path, exported, z[:1], proof, lineage)
    return choose_pair(folder, None, None)


@contextmanager
def chromium() -> Iterator[Any]:
    """Give a headless Chromium."""
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        raise SystemExit("no chromium on the PATH; install it")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=program, headless=True, args=FLAGS.split())
        yield browser
        browser.close()


def measure(browser: Any, site: Path, pair: tuple[EdgeGenerator, EdgeGenerator], runs: int, rounds: int) -> list[Row]:
    """Time both generators of a site in both runtimes, in turn."""
    server = open_server(site, 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    page = browser.new_page()
    page.goto(f"http://127.0.0.1:{server.server_port}/")
    page.wait_for_selector("html[data-state=ready]", state="attached", timeout=300_000)
    natives = [OnnxGenerator(generator.path, threads=1) for generator in pair]
    times: dict[str, list[tuple[float, float]]] = {role: [] for role in ROLES}
    for _ in range(rounds):
        in_browser = page.evaluate(f"demo.measure({runs})")
        for role, native in zip(ROLES, natives, strict=True):
            example = torch.randn(1, *native.input_shape, generator=torch_generator(0, "benchmark", "inputs"))
            latency = measure_latency({role: native}, example, runs, warm_up=3)[role]
            times[role].append((latency.p50_ms, statistics.median(in_browser[role])))
    page.close()
    server.shutdown()
    server.server_close()
    return [
        Row(one.card.number_type, one.card.size_bytes, *(min(column) for column in zip(*times[role], strict=True)))
        for role, one in zip(ROLES, pair, strict=True)
    ]


def print_bytes(site: Path, runtime: BrowserRuntime) -> None:
    """What a visitor downloads: as it lies there, and as a web server that compresses sends it."""
    names = {path.name for path in runtime.files()}
    parts: dict[str, list[Path]] = {"runtime": [], "generators": [], "page": []}
    for path in sorted(one for one in site.rglob("*") if one.is_file()):
        part = "runtime" if path.name in names else "generators" if path.suffix == ".onnx" else "page"
        parts[part].append(path)
    print(f"{'the last site':<34}{'bytes':>12}{'gzip':>12}")
    for part, paths in parts.items():
        packed = sum(len(gzip.compress(path.read_bytes())) for path in paths)
        print(f"{part:<34}{sum(path.stat().st_size for path in paths):>12,}{packed:>12,}")


if __name__ == "__main__":
    main()
