"""`team.yaml` says where a team's MLflow server and shared checkpoints are; it is committed, so each clone has it."""

import re
from pathlib import Path
from typing import Annotated

from pydantic import Field

from ganpress.basics.whole_files import write_whole
from ganpress.config.base import Section, parse, read_yaml
from ganpress.config.bounds import LINE, FilePath
from ganpress.config.yaml_text import dump_yaml
from ganpress.errors import ConfigError

NAME = "team.yaml"
SERVER = r"^https?://[^\s/@]+(?:/[^\s@]*)?$"
"""The address has no login, which does not belong in a committed file."""


class Team(Section):
    """What a team shares besides git and DVC's remote; environment variables take precedence."""

    mlflow: Annotated[str, Field(max_length=2048, pattern=LINE)] | None = None
    """Address of the MLflow server, as `MLFLOW_TRACKING_URI`."""
    checkpoints: FilePath | None = None
    """Folder of the network for half-done trainings, as `GANPRESS_CHECKPOINTS`."""


def read_team(root: Path) -> Team:
    """Return what the project's team.yaml says; nothing where there is none.

    Raises:
        ConfigError: if the file is damaged or a value is wrong.
    """
    path = root / NAME
    return check_team(parse(read_yaml(path), Team, str(path)), str(path)) if path.is_file() else Team()


def check_team(team: Team, origin: str) -> Team:
    """Return the settings if both can be used.

    Raises:
        ConfigError: if one of them cannot be used.
    """
    if team.mlflow is not None and not re.match(SERVER, team.mlflow):
        raise ConfigError(
            f"{origin}: mlflow must be http://HOST:PORT or https://HOST, without a login, which belongs in "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        )
    if team.checkpoints is not None and not Path(team.checkpoints).is_absolute():
        raise ConfigError(f"{origin}: checkpoints must be an absolute path, the same on all machines")
    return team


def write_team(root: Path, team: Team) -> None:
    """Write team.yaml."""
    content = {name: value for name, value in team.model_dump().items() if value is not None}
    write_whole(root / NAME, "# What the team shares beside git and DVC's remote: docs/team.md.\n" + dump_yaml(content))


def team_environment(root: Path) -> dict[str, str]:
    """Return the environment variables that team.yaml sets."""
    team = read_team(root)
    named = {"MLFLOW_TRACKING_URI": team.mlflow, "GANPRESS_CHECKPOINTS": team.checkpoints}
    return {name: value for name, value in named.items() if value is not None}
