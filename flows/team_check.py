"""The checks of `ganpress remote check`: whether a colleague's clone finds everything. They change nothing."""

import importlib.util
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from flows.checkup import Finding
from ganpress.basics.git import GitFailed, git
from ganpress.errors import GanpressError, shown

PLUGINS = {
    "s3": "dvc-s3", "gs": "dvc-gs", "azure": "dvc-azure", "ssh": "dvc-ssh", "webdav": "dvc-webdav",
    "webdavs": "dvc-webdav", "gdrive": "dvc-gdrive", "hdfs": "dvc-hdfs", "oss": "dvc-oss",
}  # fmt: skip
"""DVC's plugin package for each kind of remote that DVC does not support by itself."""
COMMITTED = ("dvc.lock", "data.dvc", "params.yaml", ".dvc/config", "team.yaml")
"""Files by which a clone knows which outputs belong to it; those that are there must be committed."""
SET_UP = "ganpress remote init s3://BUCKET/FOLDER"
MAX_REASON = 160


def missing_plugin(url: str) -> str | None:
    """Return the package that DVC needs for a remote's address, or None."""
    package = PLUGINS.get(urlsplit(url).scheme)
    return package if package and importlib.util.find_spec(package.replace("-", "_")) is None else None


def check_team(root: Path) -> list[Finding]:
    """Return all findings, in the order in which a team sets things up."""
    lines = [*_check_git(root), *_check_remote(root)]
    return [*lines, _check_mlflow(), _check_checkpoints()]


def _check_git(root: Path) -> Iterator[Finding]:
    try:
        remotes = git(root, "remote").decode().split()
        changed = git(root, "status", "--porcelain", "--", *COMMITTED).decode().splitlines()
        known = git(root, "ls-files", "--", "dvc.lock").decode().strip()
    except GitFailed as error:
        yield Finding("git", "error", shown(error, MAX_REASON), "git init && git add --all && git commit -m begin")
        return
    if remotes:
        yield Finding("git", "ok", f"remote {remotes[0]}")
    else:
        yield Finding(
            "git", "error", "no remote: nobody can clone", "git remote add origin URL && git push -u origin HEAD"
        )
    names = sorted(line[3:] for line in changed)
    if names or not known:
        words = f"not committed: {', '.join(names)}" if names else "no dvc.lock: nothing has run yet"
        command = f"git add {' '.join(names)} && git commit -m results && git push" if names else "ganpress run"
        yield Finding("commit", "error", words, command)
    else:
        yield Finding("commit", "ok", "dvc.lock, data.dvc and parameters are committed")


def _check_remote(root: Path) -> Iterator[Finding]:
    from dvc.repo import Repo

    with closing(Repo(str(root))) as repo:
        name = repo.config["core"].get("remote")
        if not name:
            yield Finding("DVC remote", "error", "none is the default", SET_UP)
            return
        url = repo.config["remote"].get(name, {}).get("url", "")
        if package := missing_plugin(url):
            yield Finding("DVC remote", "error", f"{url} needs {package}", f"uv pip install {package}")
            return
        try:
            differences = _differences(repo)
        except Exception as error:  # each kind of store has its own errors
            reason = shown(f"{type(error).__name__}: {error}", MAX_REASON)
            yield Finding(
                "DVC remote", "error", f"{url} does not answer: {reason}", f"dvc remote modify --local {name} …"
            )
            return
        yield Finding("DVC remote", "ok", f"{name}: {url}")
        yield from _results(differences)


def _differences(repo: Any) -> dict[str, list[str]]:
    """Outputs by how cache and remote differ: `new` is here alone, `deleted` there alone, `missing` nowhere."""
    store = repo.cloud.get_remote_odb()
    store.fs.exists(store.path)  # `status` takes a store that does not answer for an empty one
    found: dict[str, list[str]] = {}
    for path, state in repo.status(cloud=True).items():
        found.setdefault(state, []).append(path)
    return found


def _results(differences: dict[str, list[str]]) -> Iterator[Finding]:
    if here := differences.get("new"):
        yield Finding("results", "error", f"{len(here)} outputs are not in the remote", "dvc push --run-cache")
    if there := differences.get("deleted"):
        pull = "dvc fetch --run-cache && dvc repro --pull --allow-missing"
        yield Finding("results", "error", f"{len(there)} outputs are only in the remote", pull)
    if nowhere := differences.get("missing"):
        yield Finding("results", "error", f"{len(nowhere)} outputs are nowhere", "ganpress run")
    if not any(differences.values()):
        yield Finding("results", "ok", "all are in the remote")


def _check_mlflow() -> Finding:
    from ganpress.tracking.service import check_service

    address = os.environ.get("MLFLOW_TRACKING_URI", "")
    command = "ganpress remote init --mlflow http://HOST:5000"
    if not address.startswith(("http://", "https://")):
        return Finding("MLflow", "error", "runs are recorded on this machine alone", command)
    try:
        check_service(address)
    except GanpressError as error:
        return Finding("MLflow", "error", str(error).partition(";")[0], command)
    return Finding("MLflow", "ok", address)


def _check_checkpoints() -> Finding:
    folder = Path(os.environ.get("GANPRESS_CHECKPOINTS", ""))
    if folder.name == "checkpoints" and folder.parent.name == ".ganpress":
        words, command = "half-done trainings stay on this machine", "ganpress remote init --checkpoints /mnt/FOLDER"
        return Finding("checkpoints", "error", words, command)
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        return Finding("checkpoints", "error", f"{folder} is no folder that you may write", f"mkdir -p {folder}")
    return Finding("checkpoints", "ok", str(folder))
