"""The checks of `ganpress doctor`. Each check returns findings and changes nothing."""

import contextlib
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path
from typing import Literal

State = Literal["ok", "warn", "error"]

MIN_PYTHON = (3, 11)
SCARCE_MIB = 2048
"""Free disk space below which the check warns; a chain on MNIST writes a few hundred MiB."""
NO_SPACE_MIB = 200
PORTS = {5000: "MLflow", 4200: "Prefect"}


@dataclass(frozen=True)
class Finding:
    """One line of the checkup; `error` means that something will not work until the user fixes it."""

    check: str
    state: State
    words: str
    command: str = ""
    """Command that fixes it, where there is one; empty for `ok`."""


def check_everything(root: Path) -> list[Finding]:
    """Run all checks; a check that raises becomes a finding itself."""
    checks: list[Callable[[Path], Iterator[Finding]]] = [
        check_python,
        check_packages,
        check_git,
        check_state,
        check_dvc,
        check_data,
        check_disk,
        check_stores,
        check_ports,
        check_shadowing,
    ]
    findings: list[Finding] = []
    for check in checks:
        try:
            findings += check(root)
        except Exception as error:
            findings.append(Finding(check.__name__.removeprefix("check_"), "error", f"{type(error).__name__}: {error}"))
    return findings


def check_python(_root: Path) -> Iterator[Finding]:
    """Check that the interpreter is new enough."""
    fits = sys.version_info >= MIN_PYTHON
    needed = ".".join(map(str, MIN_PYTHON))
    words = f"{platform.python_version()} at {sys.executable}"
    yield Finding("python", "ok" if fits else "error", words if fits else f"{words}; needs {needed} or newer")


def check_packages(root: Path) -> Iterator[Finding]:
    """Check that every dependency is installed in a version that its pin allows."""
    from packaging.requirements import Requirement

    needed = [one for one in map(Requirement, _dependencies(root)) if one.marker is None or one.marker.evaluate()]
    wrong = []
    for requirement in needed:
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{requirement.name} is not installed (needs {requirement.specifier or 'any version'})")
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            wrong.append(f"{requirement.name} is {version}, pinned {requirement.specifier}")
    for words in wrong:
        yield Finding("packages", "error", f"{words}; run `uv sync` or `pip install -e .`")
    if not wrong:
        yield Finding("packages", "ok", f"{len(needed)} dependencies as pinned")


def _dependencies(root: Path) -> list[str]:
    """Return the requirements from a clone's pyproject.toml, or from the installed package in a user's own project."""
    import tomllib

    place = root / "pyproject.toml"
    declared = tomllib.loads(place.read_text(encoding="utf-8")).get("project", {}) if place.is_file() else {}
    if declared.get("name") == "ganpress":
        return list(declared["dependencies"])
    return [one for one in metadata.requires("ganpress") or () if "extra ==" not in one]


def check_git(root: Path) -> Iterator[Finding]:
    """Check that the project is a git checkout, so that runs can record their code."""
    from ganpress.basics.git import git_state

    state = git_state(root)
    if state.sha is None:
        yield Finding(
            "git",
            "warn",
            "no commit: runs cannot record their code, and --recipe and --set need a commit; run `git commit`",
        )
    elif state.dirty:
        yield Finding("git", "warn", f"{state.sha[:10]} with uncommitted edits: runs are tagged git.dirty; commit them")
    else:
        yield Finding("git", "ok", state.sha[:10])


def check_state(root: Path) -> Iterator[Finding]:
    """Check that the state files that runs share are not damaged."""
    from flows.state_files import FIX, find_damage

    damaged = list(find_damage(root))
    for one in damaged:
        yield Finding("state", "error", f"{one.path} is damaged ({one.words}); {FIX} {one.remedy}")
    if not damaged:
        yield Finding("state", "ok", "no state file is damaged")


def check_dvc(root: Path) -> Iterator[Finding]:
    """Check that DVC is initialised and that its cache can be written."""
    if not (root / ".dvc").is_dir():
        yield Finding("dvc", "error", "not initialised: run `dvc init` (`dvc init --no-scm` outside git)")
        return
    cache = _dvc_cache(root)
    if not _writable(cache):
        yield Finding("dvc", "error", f"cache {cache} cannot be written; check its permissions or `dvc cache dir PATH`")
    else:
        yield Finding("dvc", "ok", f"cache {cache}")
    if not (root / "dvc.lock").exists():
        yield Finding("dvc", "warn", "no dvc.lock: nothing has run yet; `ganpress run`")


def check_data(root: Path) -> Iterator[Finding]:
    """Check that data/ holds the data that data.dvc pins."""
    if not (root / "data.dvc").exists():
        yield Finding("data", "error", "data.dvc is missing: add data with `ganpress data add digits`")
        return
    if not (root / "data").is_dir():
        yield Finding("data", "error", "data/ is missing: `dvc checkout`, or `ganpress data add` writes it again")
        return
    if not (root / ".dvc").is_dir():
        return
    from dvc.repo import Repo

    with contextlib.closing(Repo(str(root))) as repo:
        changed = repo.status(targets=["data.dvc"])
    if changed:
        words = (
            "data/ differs from data.dvc: `ganpress data add` or `dvc add data` accepts it, `dvc checkout` undoes it"
        )
        yield Finding("data", "error", words)
    else:
        yield Finding("data", "ok", "data/ is as data.dvc pins it")


def check_disk(root: Path) -> Iterator[Finding]:
    """Check that there is disk space for artifacts and caches."""
    free = shutil.disk_usage(root).free // 2**20
    state: State = "error" if free < NO_SPACE_MIB else "warn" if free < SCARCE_MIB else "ok"
    advice = "" if state == "ok" else "; `dvc gc --workspace` deletes outputs that nothing refers to any more"
    yield Finding("disk", state, f"{free:,} MiB free{advice}")


def check_stores(root: Path) -> Iterator[Finding]:
    """Check that MLflow's store and Prefect's home answer or can be written, and that no run waits to be recorded."""
    from flows.environment import check_services
    from ganpress.errors import ServiceUnavailable
    from ganpress.tracking import tracking_uri
    from ganpress.tracking.recorders import has_pending

    home = Path(os.environ.get("PREFECT_HOME", root / ".prefect"))
    try:
        check_services(root)
        yield Finding("stores", "ok", f"MLflow {tracking_uri(root)}")
    except ServiceUnavailable as error:
        yield Finding("stores", "error", str(error))
    if _writable(home):
        yield Finding("stores", "ok", f"Prefect {os.environ.get('PREFECT_API_URL', home)}")
    else:
        yield Finding("stores", "error", f"Prefect's home {home} cannot be written; set PREFECT_HOME to another folder")
    if has_pending(root):
        words = "runs wait in .ganpress/tracking (at work, or left there); the next `ganpress run` or `ui` records them"
        yield Finding("stores", "warn", words)


def check_ports(_root: Path) -> Iterator[Finding]:
    """Check that the ports of `ganpress ui` are free."""
    from flows.ports import port_refusal

    for port, name in PORTS.items():
        reason = port_refusal(port)
        words = f"{port} ({name})" if reason is None else f"{port} ({name}): {reason}; `ganpress ui` takes other ports"
        yield Finding("ports", "ok" if reason is None else "warn", words)


def check_shadowing(root: Path) -> Iterator[Finding]:
    """Check that no file of the project hides a library."""
    hiding = sorted(str(path.relative_to(root)) for path in (root / "mlflow").rglob("*.py"))
    spec = util.find_spec("mlflow")
    origin = Path(spec.origin).resolve() if spec is not None and spec.origin else None
    if hiding:
        yield Finding(
            "shadowing", "error", f"Python in mlflow/ hides the library of that name; move {', '.join(hiding)}"
        )
    elif origin is None or origin.is_relative_to(root.resolve() / "mlflow"):
        yield Finding("shadowing", "error", "`import mlflow` does not find the library; run `uv sync`")
    else:
        yield Finding("shadowing", "ok", "`import mlflow` finds the library")


def _dvc_cache(root: Path) -> Path:
    from dvc.repo import Repo

    with contextlib.closing(Repo(str(root))) as repo:
        return Path(repo.cache.local.path)


def _writable(folder: Path) -> bool:
    """Return whether `folder`, or its nearest existing parent, can be written."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK)
