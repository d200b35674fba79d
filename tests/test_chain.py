"""The real chain on real digits, by the command that users type: every stage, once; then what must not run again."""

import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from flows.dvc_graph import read_graph
from flows.mlflow_pages import pages
from flows.mlflow_server import mlflow_server
from ganpress.config.base import read_yaml
from ganpress.demo.server import open_server
from ganpress.files.checkpoint import load_weights_only, save_atomically

CHECKOUT = Path(__file__).resolve().parents[1]
CLONE_MARK = "GANPRESS_TEST_CHAIN"  # as the fixture `clone_environment` sets it
SMOKE = ("--recipe", "smoke")
pytestmark = pytest.mark.slow  # minutes; CI runs it beside the default tier
MARKER = 123.25
"""A loss that no training has, written into a checkpoint to see it come out of the resumed training."""


def workspace(root: Path) -> Path:
    """The worktree of the only recipe run so far."""
    (folder,) = (path for path in (root / ".ganpress" / "worktrees").iterdir() if path.is_dir())
    return folder


def processes_of(root: Path) -> list[psutil.Process]:
    """Every process that inherited this test's environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(CLONE_MARK) == str(root) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.fixture(scope="module")
def clone(tmp_path_factory, clone_checkout):
    """A checkout of the working tree as it is, with git and DVC but no cache."""
    return clone_checkout(tmp_path_factory.mktemp("clone") / "ganpress")


@pytest.fixture(scope="module")
def chain(clone, ganpress):
    """The clone after a whole run of the smoke recipe, and what the run printed."""
    return clone, ganpress(clone, "run", *SMOKE).stdout


@pytest.mark.timeout(900)
def test_every_stage_runs_from_data_to_report(chain):
    root, printed = chain
    params = read_yaml(workspace(root) / "params.yaml")
    items = sum(len(params[stage]["items"]) for stage in ("candidate", "student", "control", "compress", "export"))
    stages = 11 + items
    assert f"{stages} stages: {stages} ran" in printed
    artifacts = workspace(root) / "artifacts"
    metrics = json.loads((artifacts / "evaluate" / "metrics.json").read_text())
    assert {"teacher", "student/d1-mse", "control/d1", "subnet", "compress/subnet-int8", "export/subnet-int8"} <= set(
        metrics
    )
    page = (artifacts / "report" / "report.html").read_text()
    assert "ganpress: smoke" in page
    assert all(reference in page for reference in metrics)
    card = json.loads((artifacts / "export" / "subnet-int8" / "card.json").read_text())
    assert card["size_bytes"] == (artifacts / "export" / "subnet-int8" / "generator.onnx").stat().st_size


def test_the_workspace_of_the_user_stays_as_it_was(chain):
    root, _ = chain
    assert (root / "params.yaml").read_bytes() == (CHECKOUT / "params.yaml").read_bytes()
    assert not (root / "artifacts").exists()


def test_second_run_executes_nothing(chain, ganpress):
    root, _ = chain
    before = {path: path.stat().st_mtime_ns for path in (workspace(root) / "artifacts").rglob("*") if path.is_file()}
    printed = ganpress(root, "run", *SMOKE).stdout
    stages = len(read_graph(workspace(root)).stages)
    assert f"{stages} stages: {stages} Cached" in printed
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_dvc_has_nothing_to_do_after_the_flow(chain, clone_environment):
    root, _ = chain
    command = [sys.executable, "-m", "dvc", "repro", "--dry"]
    done = subprocess.run(
        command, cwd=workspace(root), env=clone_environment(root), capture_output=True, text=True, check=True
    )
    assert re.findall("Running stage '(.+)'", done.stdout) == ["code"], done.stdout


LATE = {
    "subnet",
    "compress@subnet-int8",
    "export@subnet-int8",
    "sweep",
    "evaluate",
    "report",
    "gates",
}


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        ("params.yaml", "max_parameters: 20000", "max_parameters: 19000", {"search"} | LATE),
        ("params.yaml", "calibration_images: 32", "calibration_images: 33", LATE - {"subnet"}),
        ("ganpress/search/score_book.py", "{}).get(quantity)", "{}).get(quantity, None)", {"search"} | LATE),
        ("params.yaml", "bits:\n  - 3", "bits:\n  - 4", {"sweep", "report", "gates"}),
        (
            "ganpress/evaluation/compression_level.py",
            "max_crest=math.inf",
            "max_crest=1e9",
            {"sweep", "report", "gates"},
        ),
        ("ganpress/report/tables/result_tables.py", '"fewer"', '"less"', {"report", "gates"}),
        ("ganpress/report/templates/report.css", "", "/* edited */", {"report", "gates"}),
        ("ganpress/training/supernet_training.py", "losses = {}", "losses = dict()", {"supernet", "search"} | LATE),
        ("ganpress/training/supernet_training.py", '"""', '"""Words. ', set()),
        ("ganpress/errors.py", "class", "# Words.\n\n\nclass", set()),
        ("ganpress/tracking/journal.py", "import", "import json as _unused\nimport", set()),
    ],
)
def test_a_change_runs_exactly_what_is_downstream_of_it(chain, file, old, new, expected):
    folder = workspace(chain[0])
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new, 1))
    try:
        assert {stage.name for stage in read_graph(folder).stages if stage.need != "clean"} == expected
    finally:
        (folder / file).write_text(text)
    assert all(stage.need == "clean" for stage in read_graph(folder).stages)


def test_a_changed_data_byte_runs_everything(chain):
    folder = workspace(chain[0])
    path = next((folder / "data").glob("train-images*"))
    whole = path.read_bytes()
    path.unlink()  # DVC's cache may share the file
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    try:
        assert all(stage.need == "run" for stage in read_graph(folder).stages)
    finally:
        path.write_bytes(whole)
    assert all(stage.need == "clean" for stage in read_graph(folder).stages)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


DOORS = """
import json, sys
from pathlib import Path
import mlflow
from ganpress.metrics.evaluated import shipped_of
ship = shipped_of(Path(sys.argv[1]))
client = mlflow.MlflowClient()
version = client.get_model_version_by_alias("ganpress-edge-smoke", "candidate")
ids = [one.experiment_id for one in client.search_experiments() if one.name == "ganpress"]
flow = client.search_runs(ids, "tags.ship != ''", order_by=["attributes.start_time DESC"])[0]
told = version.tags["reference"], version.tags["ship"], flow.data.tags["mlflow.note.content"]
print(json.dumps([ship.reference, ship.sentence, *told]))
"""


def test_lineage_of_the_edge_file_reaches_the_teacher(chain, clone_environment):
    root, _ = chain
    program = (
        "import mlflow, json\n"
        "client = mlflow.MlflowClient()\n"
        "ids = [one.experiment_id for one in client.search_experiments() if one.name == 'ganpress']\n"
        "models = {one.model_id: one for one in client.search_logged_models(ids, max_results=200)}\n"
        "edge = next(one for one in models.values() if one.tags['reference'] == 'export/subnet-int8')\n"
        "path = []\n"
        "while edge is not None:\n"
        "    path.append(edge.tags['family'])\n"
        "    edge = models.get(edge.tags.get('parent.model_id', '').split(',')[0])\n"
        "print(json.dumps(path))\n"
    )
    store = clone_environment(root) | {"MLFLOW_TRACKING_URI": f"sqlite:///{root}/mlflow/tracking.db"}
    done = subprocess.run([sys.executable, "-c", program], cwd="/", env=store, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    path = json.loads(done.stdout.strip().splitlines()[-1])
    assert path[:2] == ["edge", "compressed"], path
    assert "teacher" in path


def test_every_door_names_the_same_file_and_says_why(
    chain, ganpress, clone_environment, chromium, browser_runtime, tmp_path
):
    """Report, `compare`, the registry's alias, MLflow's first page and run, the demo: one answer, one rule."""
    root, _ = chain
    command = [sys.executable, "-c", DOORS, str(workspace(root))]
    env = clone_environment(root) | {"MLFLOW_TRACKING_URI": f"sqlite:///{root}/mlflow/tracking.db"}
    done = subprocess.run(command, cwd="/", env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    ship, sentence, candidate, why, note = json.loads(done.stdout.strip().splitlines()[-1])
    assert ship.startswith("export/")
    assert sentence.startswith(f"{ship} is the ")
    assert f"ship: {sentence}\n" in ganpress(root, "compare", *SMOKE).stdout
    assert json.loads(ganpress(root, "compare", "--json", *SMOKE).stdout)["ship"] == ship
    assert (candidate, why) == (ship, sentence)  # the registry's alias
    assert sentence in note  # of the run of the flow in MLflow

    page = chromium.new_page()
    page.goto((workspace(root) / "artifacts/report/report.html").as_uri())
    assert f"Ship {ship}" in page.inner_text("body").replace("\u200b", "")
    runtime = str(browser_runtime.folder)
    told = ganpress(root, "demo", "--out", str(tmp_path / "site"), "--runtime", runtime, *SMOKE).stdout
    assert f"To ship: {sentence}.\n" in told
    with open_server(tmp_path / "site", 0) as demo:
        threading.Thread(target=demo.serve_forever, daemon=True).start()
        page.goto(f"http://127.0.0.1:{demo.server_port}/")
        page.wait_for_selector("html[data-state]", state="attached", timeout=120_000)
        assert page.inner_text("#ship") == f"To ship: {sentence}."
        demo.shutdown()
    with mlflow_server(root, free_port(), f"sqlite:///{root}/mlflow/tracking.db") as server:
        server.wait_until_ready()
        first, *_ = pages(server.address, 100_000)
        assert first.title == f"ship {ship}: {sentence}"
        page.goto(first.link)
        for width in (1366, 1920):
            page.set_viewport_size({"width": width, "height": 900})
            row = page.get_by_text(ship.replace("/", "@", 1), exact=False).first
            row.wait_for(timeout=120_000)
            place = row.bounding_box()
            assert place is not None
            assert place["x"] + place["width"] <= width
            assert place["y"] + place["height"] <= 900
        assert page.evaluate("localStorage.getItem('mlflow.assistant.panelOpen_v1')") in (None, "false")
        page.goto("about:blank")
        page.goto(f"{server.address}/")
        page.wait_for_url("**/#/experiments?workflowType=machine_learning*", timeout=60_000)
    page.close()


@pytest.mark.slow
def test_a_failed_gate_ends_the_run_after_everything_is_kept(chain, clone_environment):
    root, _ = chain
    command = [sys.executable, "-m", "flows", "run", *SMOKE, "--set", "gates.max_latency_ms=0.000001"]
    for _ in range(2):  # the second time everything but the gate is Cached
        done = subprocess.run(command, cwd=root, env=clone_environment(root), capture_output=True, text=True)
        assert done.returncode == 2
        (line,) = done.stderr.strip().splitlines()
        assert line.startswith(
            "ganpress: stage gates failed: gates: 1 of 1 gates failed: latency (allowed: at most 1e-06 ms"
        )
        assert "report: " in done.stdout
        assert "1 failed" in done.stdout
    assert re.search(r"\d+ stages: \d+ Cached, 1 failed", done.stdout)
    place = re.search(r"^report: (.+)$", done.stdout, re.MULTILINE)[1]
    assert "1 of 1 gates failed: latency" in Path(place).read_text()


@pytest.mark.slow  # tests/flows/test_kill.py kills flows, and tests of trainings resume them, in seconds
@pytest.mark.timeout(900)
@pytest.mark.parametrize("with_signal", [signal.SIGKILL, signal.SIGTERM])
def test_killed_in_mid_training_leaves_nothing_and_resumes_to_the_same_weights(
    chain, with_signal, ganpress, clone_environment
):
    root, _ = chain
    # A setting of its own for each signal, so that neither finds the other's result in DVC's cache.
    # Checkpoints are a second apart, so this is long enough to be killed in, on any machine.
    images = 40_000 + with_signal * 640
    arguments = ("run", *SMOKE, "--set", f"candidate.training.train_images={images}", "--stage", "candidate@d2")
    ganpress(root, *arguments[:-1], "validate", "--stage", "prepare")
    checkpoints = root / ".ganpress" / "checkpoints"
    flow = subprocess.Popen(
        [sys.executable, "-m", "flows", *arguments],
        cwd=root,
        env=clone_environment(root),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 240
    while not list(checkpoints.glob("candidate@d2-*.pt")):
        assert time.monotonic() < deadline
        assert flow.poll() is None, "the training ended before its first checkpoint"
        time.sleep(0.05)
    flow.send_signal(with_signal)
    flow.wait(60)
    deadline = time.monotonic() + 60
    while left := processes_of(root):
        assert time.monotonic() < deadline, [process.cmdline() for process in left]
        time.sleep(0.2)
    (checkpoint,) = checkpoints.glob("candidate@d2-*.pt")
    saved = load_weights_only(checkpoint)
    saved["curve"][0][1]["generator_loss"] = MARKER
    save_atomically(checkpoint, saved)

    resumed = ganpress(root, *arguments).stdout
    assert "candidate@d2" in resumed
    assert not checkpoint.exists()
    (folder,) = (
        path
        for path in (root / ".ganpress" / "worktrees").iterdir()
        if path.is_dir() and read_yaml(path / "params.yaml")["candidate"]["training"]["train_images"] == images
    )
    weights = folder / "artifacts" / "candidate" / "d2" / "generator.safetensors"
    killed = weights.read_bytes()
    # What the killed process had learned was continued, not learned again.
    assert str(MARKER) in weights.with_name("curves.csv").read_text().splitlines()[1]
    # The same training without a kill, without any cache.
    plain = clone_environment(root) | {
        "GANPRESS_THREADS": "1",  # as a flow with a job for each core sets it
        "OMP_NUM_THREADS": "1",
        "GANPRESS_TRACKING": "off",
        "GANPRESS_CHECKPOINTS": str(folder / "other-checkpoints"),
    }
    subprocess.run([sys.executable, "-m", "tasks.candidate", "d2"], cwd=folder, env=plain, check=True, timeout=300)
    assert weights.read_bytes() == killed
