"""Determines the origin of a run (code, data, flow, recipe) and the names of parameters and model files."""

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ganpress.basics.git import git_state
from ganpress.config.yaml_text import MAX_BYTES_OF_DVC, OF_DVC, parse_yaml, read_text
from ganpress.errors import ConfigError

PARAMETER_CHARACTERS = 6000
"""MLflow's limit on the length of a parameter's value."""


def flat_params(params: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Flatten nested parameters to dotted names, leaving None out."""
    flat: dict[str, str] = {}
    for name, value in params.items():
        if isinstance(value, Mapping):
            flat |= flat_params(value, f"{prefix}{name}.")
        elif value is not None:
            flat[f"{prefix}{name}"] = str(value)[:PARAMETER_CHARACTERS]
    return flat


def reference_of(path: Path, root: Path) -> str:
    """Return the folder of a model file below artifacts/, such as `student/d2-mse`."""
    folder = path.resolve().parent
    artifacts = (root / "artifacts").resolve()
    return folder.relative_to(artifacts).as_posix() if folder.is_relative_to(artifacts) else folder.name


def name_of(reference: str) -> str:
    """Return the model name of a reference; MLflow allows no slash, so it is DVC's name, `student@d2-mse`."""
    return reference.replace("/", "@", 1).replace("/", "-")


def stage_tags(label: str, root: Path) -> dict[str, str]:
    """Return the tags of every run: stage, data, code, flow, recipe."""
    tags = {
        "dvc.stage": label,
        "data.md5": data_md5(root),
        "recipe": os.environ.get("GANPRESS_RECIPE") or "default",
        "prefect.flow_run_id": os.environ.get("GANPRESS_FLOW_RUN_ID"),
        "process.host": socket.gethostname(),
    } | _git_tags(root)
    return {name: value for name, value in tags.items() if value}


def data_md5(root: Path) -> str | None:
    """Return the digest of the raw data in data.dvc; None if there is no data.dvc."""
    try:
        path = root / "data.dvc"
        content = parse_yaml(read_text(path, MAX_BYTES_OF_DVC), str(path), OF_DVC)
        return str(content["outs"][0]["md5"])
    except (OSError, ConfigError, KeyError, IndexError, TypeError):
        return None


def _git_tags(root: Path) -> dict[str, str | None]:
    named = os.environ.get("GANPRESS_GIT_SHA")
    if named:  # The flow runs in its own worktree and knows the original checkout.
        return {"git.sha": named, "git.dirty": os.environ.get("GANPRESS_GIT_DIRTY")}
    state = git_state(root)
    return {"git.sha": state.sha, "git.dirty": str(state.dirty).lower()} if state.sha else {}
