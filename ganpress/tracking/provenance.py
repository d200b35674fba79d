"""Determines the origin of a run (code, data, flow, recipe) and the names of parameters and model files."""

import getpass
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
NOTE_TAG = "mlflow.note.content"
"""Tag that MLflow shows as the description of a run or a model."""
USER_TAG = "mlflow.user"
"""Tag that MLflow shows as the user of a run."""
MADE_TAGS = ("git.sha", "git.dirty", "prefect.flow_run_id", "recipe", "process.host", USER_TAG)
"""Tags that say who made a result, where and from which code; they are kept with the result."""
NOTES = {
    "validate": "Checks the raw pictures against the limits of `validate` in params.yaml.",
    "prepare": "Resizes the pictures and splits them into training, validation and test sets.",
    "judge": "Trains the feature network by which all generators are measured.",
    "candidate": "Trains or imports one large generator; the best candidate becomes the teacher.",
    "teacher": "Scores all candidates and keeps the best as the teacher.",
    "student": "Trains a smaller generator to draw what the teacher draws.",
    "control": "Trains a generator of a student's size without a teacher, to see what distillation adds.",
    "supernet": "Trains one network that holds many smaller generators.",
    "search": "Scores generators inside the supernet and picks the best within the limits of `search`.",
    "subnet": "Takes the chosen generator out of the supernet and tunes it.",
    "compress": "Makes a generator smaller by rounding or pruning its weights.",
    "sweep": "Measures quality and variety at many levels of compression.",
    "export": "Writes a file for the edge and checks it against torch.",
    "evaluate": "Measures every generator and every edge file on the test set.",
    "report": "Writes the report, which names the file to ship.",
    "gates": "Ends the chain with an error if a limit of `gates` is broken.",
    "flow": "One state of the whole chain: its final models are the inputs, its metrics are those of the file to ship.",
}
"""What each kind of run does, in a sentence that MLflow shows on its page."""


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


def user_name() -> str:
    """Return the name of the user of this process; a user id without a name, as in containers, is given as a number."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"


def stage_tags(label: str, root: Path) -> dict[str, str]:
    """Return the tags of every run: stage, data, code, flow, recipe, user, host, and a note that says what it is."""
    tags = {
        "dvc.stage": label,
        NOTE_TAG: _note(label),
        USER_TAG: user_name(),
        "data.md5": data_md5(root),
        "recipe": os.environ.get("GANPRESS_RECIPE") or "default",
        "prefect.flow_run_id": os.environ.get("GANPRESS_FLOW_RUN_ID"),
        "process.host": socket.gethostname(),
    } | git_tags(root)
    return {name: value for name, value in tags.items() if value}


def _note(label: str) -> str | None:
    return NOTES.get(label.partition("@")[0])


def data_md5(root: Path) -> str | None:
    """Return the digest of the raw data in data.dvc; None if there is no data.dvc."""
    try:
        path = root / "data.dvc"
        content = parse_yaml(read_text(path, MAX_BYTES_OF_DVC), str(path), OF_DVC)
        return str(content["outs"][0]["md5"])
    except (OSError, ConfigError, KeyError, IndexError, TypeError):
        return None


def git_tags(root: Path) -> dict[str, str | None]:
    """Return commit and state of the checkout that a stage runs for; without git, nothing."""
    named = os.environ.get("GANPRESS_GIT_SHA")
    if named:  # The flow runs in its own worktree and knows the original checkout.
        return {"git.sha": named, "git.dirty": os.environ.get("GANPRESS_GIT_DIRTY")}
    state = git_state(root)
    return {"git.sha": state.sha, "git.dirty": str(state.dirty).lower()} if state.sha else {}
