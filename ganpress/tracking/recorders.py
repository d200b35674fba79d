"""Recorder processes: started beside a stage, or once for a whole flow. Imports no MLflow."""

import hashlib
import json
import logging
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from ganpress.basics.whole_files import write_whole
from ganpress.errors import ConfigError
from ganpress.tracking.events import journals_folder
from ganpress.tracking.moved import follow_move
from ganpress.tracking.service import check_service, login_headers, sqlite_path, tracking_uri

logger = logging.getLogger("ganpress")

MODES = ("direct", "deferred", "off")
PATIENCE_SECONDS = 120.0
"""Seconds that a stage or flow waits for its recorder; the rest stays in the journals for the next one."""
POLL_SECONDS = 0.5
STAMP_FILE = "reconciled.json"


def tracking_mode() -> str:
    """Return the recording mode from GANPRESS_TRACKING: `direct` (default) gives each stage its own recorder.

    `deferred` leaves the journals to the flow's recorder; `off` keeps no record, for tests of stages.

    Raises:
        ConfigError: if it is anything else.
    """
    mode = os.environ.get("GANPRESS_TRACKING", "direct")
    if mode not in MODES:
        raise ConfigError(f"GANPRESS_TRACKING is '{mode}'; allowed: {', '.join(MODES)}")
    return mode


@contextmanager
def own_recorder(root: Path, journal: Path, mode: str) -> Iterator[None]:
    """Run a recorder of one journal while the block runs; in `deferred` mode run none."""
    if mode != "direct":
        yield
        return
    recorder = _start(root, "--journal", str(journal))
    try:
        yield
    finally:
        _wait(recorder)


@contextmanager
def recording(root: Path, flow_run_id: str | None = None, recipe: str | None = None) -> Iterator[None]:
    """Record all stages of the block with one recorder process, and reconcile afterwards.

    Stages must inherit this process's environment. The recorder starts with the first journal, so a flow in which
    everything is up to date starts none; it ends with this process in any case.
    """
    before = os.environ.get("GANPRESS_TRACKING")
    if before == "off":
        yield
        return
    os.environ["GANPRESS_TRACKING"] = "deferred"
    recorder: list[subprocess.Popen[bytes]] = []
    done = threading.Event()

    def start_with_the_first_journal() -> None:
        while not done.wait(POLL_SECONDS):
            if has_pending(root):
                recorder.append(_start(root, "--follow", flow_run_id=flow_run_id, recipe=recipe))
                return

    watch = threading.Thread(target=start_with_the_first_journal, daemon=True)
    watch.start()
    try:
        yield
    finally:
        done.set()
        watch.join()
        for one in recorder:
            _wait(one)
        os.environ.pop("GANPRESS_TRACKING", None)
        if before is not None:
            os.environ["GANPRESS_TRACKING"] = before
        reconcile(root, flow_run_id, recipe)


DAMAGED = "tracking-damaged"
"""Folder below .ganpress/ for journals that cannot be read."""


def has_pending(root: Path) -> bool:
    """Return whether any journal waits for a recorder."""
    folder = journals_folder(root)
    return folder.is_dir() and any(entry.is_dir() for entry in folder.iterdir())


def record_pending(root: Path) -> None:
    """Record the remaining events of the journals, if any; create the store if it is a file that does not exist."""
    database = sqlite_path(tracking_uri(root))
    if database is not None:
        follow_move(database)
    if has_pending(root) or (database is not None and not database.exists()):
        _wait(_start(root, "--prepare"))


def reconcile(root: Path, flow_run_id: str | None = None, recipe: str | None = None) -> None:
    """Make MLflow agree with dvc.lock: record models that cached stages did not record, and set the aliases of the
    edge files.

    The work is done in a separate process; the function returns at once if dvc.lock and the store have not changed
    since.

    Raises:
        ServiceUnavailable: if the tracking store cannot be used.
    """
    if tracking_mode() == "off":
        return
    if has_pending(root) or ((root / "dvc.lock").exists() and not is_reconciled(root)):
        check_service(tracking_uri(root))
        _wait(_start(root, "--reconcile", flow_run_id=flow_run_id, recipe=recipe))


def is_reconciled(root: Path) -> bool:
    """Return whether dvc.lock is the last reconciled one, and the store still has the run that recorded this."""
    try:
        stamp = json.loads((journals_folder(root) / STAMP_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    uri = tracking_uri(root)
    return bool(stamp.get("state") == reconcilable_state(root)) and _store_holds(uri, str(stamp.get("run_id")))


def reconcilable_state(root: Path) -> str:
    """Return a digest of the inputs of reconciling: the locked outputs and the store's address."""
    lock = (root / "dvc.lock").read_bytes()
    return hashlib.sha256(lock + tracking_uri(root).encode()).hexdigest()


def write_stamp(root: Path, run_id: str) -> None:
    """Note that the store agrees with dvc.lock as of the flow-level run `run_id`."""
    folder = journals_folder(root)
    folder.mkdir(parents=True, exist_ok=True)
    stamp = {"state": reconcilable_state(root), "run_id": run_id}
    write_whole(folder / STAMP_FILE, json.dumps(stamp))


def _store_holds(uri: str, run_id: str) -> bool:
    """Look up a run in the store without importing MLflow, which takes seconds; in case of doubt the answer is no."""
    database = sqlite_path(uri)
    if database is None:
        return _server_holds(uri, run_id)
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            query = "SELECT 1 FROM runs WHERE run_uuid = ? AND lifecycle_stage = 'active'"
            return connection.execute(query, (run_id,)).fetchone() is not None
    except sqlite3.Error:
        return False


def _server_holds(uri: str, run_id: str) -> bool:
    import urllib.request

    address = f"{uri.rstrip('/')}/api/2.0/mlflow/runs/get?run_id={run_id}"
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=login_headers()), timeout=5):
            return True
    except (OSError, ValueError):
        return False


def _start(
    root: Path, *arguments: str, flow_run_id: str | None = None, recipe: str | None = None
) -> "subprocess.Popen[bytes]":
    """Start a recorder, which ends when the pipe to its standard input closes, and thus also when this process dies."""
    package_root = str(Path(__file__).resolve().parents[2])
    paths = [package_root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    lineage = {"GANPRESS_FLOW_RUN_ID": flow_run_id, "GANPRESS_RECIPE": recipe}
    environment |= {name: value for name, value in lineage.items() if value}
    command = [sys.executable, "-P", "-m", "ganpress.tracking.recorder", str(root.resolve()), *arguments]
    return subprocess.Popen(command, cwd=root, env=environment, stdin=subprocess.PIPE)


def _wait(recorder: "subprocess.Popen[bytes]") -> None:
    """Tell a recorder that no more events follow, and wait until it has recorded everything."""
    if recorder.stdin is not None:
        recorder.stdin.close()
    try:
        recorder.wait(PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        recorder.kill()
        recorder.wait()
        logger.warning("tracking: MLflow took more than %.0f s; the next run records what is left", PATIENCE_SECONDS)
