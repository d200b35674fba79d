"""Fixtures that several test folders share."""

import logging
import os
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
import torch
from hypothesis import settings

from tests import shape_checks

shape_checks.install()  # before the packages that it checks are imported

from ganpress.data.prepared.arrays import ImageArray  # noqa: E402
from models.wdcgan import WdcganGenerator, wdcgan_generator  # noqa: E402

CHECKOUT = Path(__file__).resolve().parents[1]
CLONE_MARK = "GANPRESS_TEST_CHAIN"
"""Environment variable by which a test knows the processes of its clone."""

FLAGS = "--no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update"
"""Of the browser; it runs as root in containers, and asks nobody outside for anything."""

# A test runner that was started in the background ignores these, and so would every process that a test interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Workers share the cores: one thread each, and in what they start.
os.environ.setdefault("OMP_NUM_THREADS", "1")
torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))

MEMORY, MEMORY_NEEDED = Path("/dev/shm"), 8 * 2**30
if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= MEMORY_NEEDED:
    # Databases and caches of hundreds of small projects: on a disk, a third of the tests' time is waiting for it.
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))

os.environ.setdefault("GANPRESS_TRACKING", "off")  # a recorder costs 6 CPU seconds; tests of tracking switch it on

# The same examples in every run, and no folder of earlier ones; the slow tier's look for new ones.
settings.register_profile("ganpress", database=None, deadline=None, derandomize=True)
settings.load_profile("ganpress")


LONGEST = ("test_chain.py", "test_side_by_side.py", "test_kill.py")
"""Files that take minutes; begun first, so that no worker is left alone with one at the end."""


QUICK = ("compression", "config", "metrics", "models", "search")
"""Folders whose tests start hardly any process: `pytest -m quick` runs them within 90 seconds on two cores."""
NOT_QUICK = ("test_hostile_packed_files.py", "test_workers.py", "test_cluster_scoring.py")
"""Files there that take a quarter of the time: large files, and processes that are killed."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the quick tests, and put the longest files first; `--no-loadscope-reorder` lets them stay there."""
    for item in items:
        others = {mark.name for mark in item.iter_markers()} & {"slow", "gpu"}
        if item.path.parent.name in QUICK and item.path.name not in NOT_QUICK and not others:
            item.add_marker(pytest.mark.quick)
    items.sort(key=lambda item: item.path.name not in LONGEST)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what is marked `needs_target(NAME)` where that export target's extra is not installed."""
    for mark in item.iter_markers("needs_target"):
        from ganpress.registries import TARGETS

        needed = TARGETS[mark.args[0]].missing()
        if needed is not None:
            pytest.skip(f"needs {needed}: uv sync --extra {mark.args[0]}")
    if item.get_closest_marker("needs_vnni") and not has_vnni():
        pytest.skip("needs a processor with VNNI: without it OpenVINO's sums of 8-bit products overflow")


def has_vnni() -> bool:
    """Whether the processor adds products of 8-bit numbers in 32 bits; True where it is none of x86 or does not say."""
    place = Path("/proc/cpuinfo")
    flags = place.read_text() if place.exists() else ""
    return "flags" not in flags or "vnni" in flags


@pytest.fixture(autouse=True)
def _process_stays_as_it_was() -> Iterator[None]:
    """A command that a test calls in this process settles things for its own stages, not for the next test."""
    variables, log = dict(os.environ), logging.getLogger("ganpress")
    said = logging.root.manager.disable, log.level, log.propagate, log.disabled
    yield
    logging.root.manager.disable, log.level, log.propagate, log.disabled = said
    logging.root.manager._clear_cache()
    if os.environ != variables:
        os.environ.clear()
        os.environ.update(variables)


@pytest.fixture
def unchecked_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls as users make them, whom no annotation stops: for tests of what refuses a wrong shape then."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets beside the checkout; skips where there is none."""
    named = os.environ.get("GANPRESS_SHARED_DATA")
    folder = Path(named) if named else CHECKOUT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data: set GANPRESS_SHARED_DATA (looked at {folder})")
    return folder


@pytest.fixture(scope="session")
def tiny_images() -> ImageArray:
    """60 labelled images (60, 1, 16, 16) of three classes: a bright square at a place that depends on the class."""
    random = np.random.default_rng(0)
    labels = np.arange(60, dtype=np.int64) % 3
    pixels = random.integers(0, 60, (60, 1, 16, 16)).astype(np.uint8)
    for image, label in zip(pixels, labels, strict=True):
        image[0, 4 * label : 4 * label + 6, 4 * label : 4 * label + 6] = random.integers(200, 256)
    return ImageArray(pixels, labels, "tiny_images")


@pytest.fixture(scope="session")
def shared_conformance() -> Path:
    """The folder of tables that architectures and counters must reproduce; skips where there is none."""
    folder = Path(os.environ.get("GANPRESS_SHARED_CONFORMANCE", CHECKOUT.parent / "shared" / "conformance"))
    if not folder.is_dir():
        pytest.skip(f"no conformance tables: set GANPRESS_SHARED_CONFORMANCE (looked at {folder})")
    return folder


@pytest.fixture(scope="session")
def trained_like() -> Callable[[str, int, int], WdcganGenerator]:
    """(spec, size, channels) -> a generator with the statistics of a trained one, in eval mode; a new one each call.

    Laplace weights, log-normal channel scales, biases of both signs, statistics from forward passes, and a
    head that reaches the saturated ends of tanh.
    """

    def build(spec: str, size: int, channels: int) -> WdcganGenerator:
        random = torch.Generator().manual_seed(len(spec) * 1000 + size + channels)
        model = wdcgan_generator(spec, size, channels).train()
        with torch.no_grad():
            for parameter in model.parameters():
                noise = torch.randn(parameter.shape, generator=random)
                if parameter.dim() == 1:
                    parameter.copy_(0.3 * noise)
                    continue
                signed = torch.rand(parameter.shape, generator=random) - 0.5
                laplace = -signed.sign() * torch.log1p(-2 * signed.abs().clamp(max=0.499))
                scale = torch.exp(0.5 * torch.randn(parameter.shape[1], generator=random))
                parameter.copy_(0.05 * laplace * scale[None, :, None, None])
            for _ in range(20):
                model(torch.randn(64, 100, generator=random))
            before_tanh = torch.atanh(model.eval()(torch.randn(64, 100, generator=random)).clamp(-0.999, 0.999))
            model.head.weight.mul_(2.0 / float(before_tanh.std()))
        return model

    return build


@pytest.fixture(scope="session")
def clone_checkout() -> Callable[[Path], Path]:
    """(root) -> root, a clone of the working tree as it is, uncommitted edits included, with neither data nor cache."""

    def clone(root: Path) -> Path:
        subprocess.run(["git", "clone", "--quiet", CHECKOUT, root], check=True)
        command = ["git", "ls-files", "-m", "-o", "--exclude-standard"]
        edited = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True)
        for name in edited.stdout.splitlines():  # what is edited but not committed is what is tested
            if (CHECKOUT / name).is_file():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(CHECKOUT / name, root / name)
            else:
                (root / name).unlink(missing_ok=True)
        return root

    return clone


@pytest.fixture(scope="session")
def clone_environment() -> Callable[[Path], dict[str, str]]:
    """(root) -> the environment of a user in a clone: its code, this interpreter, nothing set for tests but a mark."""

    def environment(root: Path) -> dict[str, str]:
        ours = ("GANPRESS", "PREFECT", "MLFLOW")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        return kept | {CLONE_MARK: str(root), "PYTHONPATH": str(root), "PATH": path}

    return environment


@pytest.fixture(scope="session")
def ganpress(
    clone_environment: Callable[[Path], dict[str, str]],
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """(root, *arguments, check=True) -> the ended `ganpress <arguments>` in a clone."""

    def run(root: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "flows", *arguments]
        done = subprocess.run(
            command, cwd=root, env=clone_environment(root), capture_output=True, text=True, timeout=900
        )
        assert not check or done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done

    return run


@pytest.fixture(scope="session")
def forked() -> Callable[..., subprocess.CompletedProcess[str]]:
    """(root, main, *arguments, **variables) -> the ended `python -m main`, or function, run by a copy of this process.

    The copy has torch already, which a new process imports for seconds.
    """

    def run(
        root: Path, main: str | Callable[[], int], *arguments: str, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        module = main if isinstance(main, str) else "function"
        with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
            child = os.fork()
            if child == 0:
                sys.stdout, sys.stderr = output, errors
                code = 1
                try:
                    os.chdir(root)
                    os.environ.update({"GANPRESS_TRACKING": "off"} | variables)
                    sys.argv = [module, *arguments]
                    warnings.simplefilter("ignore")  # of runpy, about modules that are imported already
                    code = 0 if isinstance(main, str) else main()
                    if isinstance(main, str):
                        runpy.run_module(main, run_name="__main__", alter_sys=True)
                except SystemExit as end:
                    code = int(end.code or 0)
                except BaseException:
                    traceback.print_exc()
                finally:
                    output.flush()
                    errors.flush()
                    os._exit(code)
            _, status = os.waitpid(child, 0)
            output.seek(0)
            errors.seek(0)
            code = os.waitstatus_to_exitcode(status)
            return subprocess.CompletedProcess([module, *arguments], code, output.read(), errors.read())

    return run


@pytest.fixture(scope="session")
def launch_chromium():
    """(flags) -> a headless Chromium of its own; skips where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright: uv sync --group dev")
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no chromium on the PATH")
    with sync_api.sync_playwright() as play:
        yield lambda flags: play.chromium.launch(executable_path=program, headless=True, args=flags.split())


@pytest.fixture(scope="session")
def chromium(launch_chromium):
    """A headless Chromium without any graphics processor."""
    browser = launch_chromium(FLAGS)
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def browser_runtime():
    """The real onnxruntime-web; skips where npm is absent and no local copy is named."""
    from ganpress.demo.page_runtime import find_runtime
    from ganpress.errors import ServiceUnavailable

    named = os.environ.get("GANPRESS_BROWSER_RUNTIME")
    try:
        return find_runtime(CHECKOUT / ".ganpress" / "browser", Path(named) if named else None)
    except ServiceUnavailable as error:
        pytest.skip(f"no runtime for browsers: {error}")
