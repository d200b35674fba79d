"""Writes the files of `ganpress remote init`."""

import re
from pathlib import Path

from flows.team_check import missing_plugin
from flows.team_file import NAME, Team, check_team, read_team, write_team
from ganpress.basics.folders import fault_of_folder
from ganpress.config.base import parse
from ganpress.config.yaml_text import quoted
from ganpress.errors import ConfigError

CONFIG = ".dvc/config"
REMOTE_NAME = r"[A-Za-z0-9][A-Za-z0-9_-]*"


def set_up(
    root: Path,
    url: str | None,
    name: str,
    endpoint: str | None = None,
    mlflow: str | None = None,
    checkpoints: str | None = None,
) -> list[str]:
    """Write the given addresses and leave the others as they are.

    Args:
        root: the main checkout.
        url: of DVC's remote, which becomes the default.
        name: what DVC calls it.
        endpoint: address of an S3-compatible server.
        mlflow: address of the MLflow server.
        checkpoints: folder of the network.

    Returns:
        The files that were written, below the root.

    Raises:
        ConfigError: if nothing is given, an address is wrong, the remote's plugin is not installed, or the folder
            cannot be written. Nothing is written then.
    """
    if url is None and mlflow is None and checkpoints is None:
        raise ConfigError("there is nothing to set up; name DVC's remote, --mlflow or --checkpoints")
    if endpoint is not None and not (url or "").startswith("s3://"):
        raise ConfigError("--endpoint belongs to a remote s3://BUCKET/FOLDER; name that, too")
    given = {"mlflow": mlflow, "checkpoints": checkpoints}
    given = {key: value for key, value in given.items() if value is not None}
    team = parse({**read_team(root).model_dump(), **given}, Team, "remote init")
    check_team(team, "remote init")
    if checkpoints is not None and (fault := fault_of_folder(Path(checkpoints))):
        raise ConfigError(f"--checkpoints {quoted(checkpoints)} {fault}")
    if url is not None:
        _check_remote(root, url, name)
        _add_remote(root, url, name, endpoint)
    if given:
        write_team(root, team)
    return [*([CONFIG] if url is not None else []), *([NAME] if given else [])]


def _check_remote(root: Path, url: str, name: str) -> None:
    if not re.fullmatch(REMOTE_NAME, name):
        raise ConfigError(f"--name {quoted(name)} must be letters, digits, '-' and '_'")
    if re.match(r"[a-z0-9+]+://[^/]*@", url) and not url.startswith("ssh://"):
        raise ConfigError(
            "the remote's address has a login, but it is written to a committed file; leave the login out, and "
            f"set it by `dvc remote modify --local {name} …`"
        )
    if package := missing_plugin(url):
        raise ConfigError(f"{quoted(url)} needs DVC's plugin {package}; run `uv pip install {package}`")
    if not (root / ".dvc").is_dir():
        raise ConfigError(f"{root} is not a DVC project; run `dvc init` there")


def _add_remote(root: Path, url: str, name: str, endpoint: str | None) -> None:
    from dvc.config import ConfigError as DvcConfigError
    from dvc.repo import Repo

    place = url if "://" in url or Path(url).is_absolute() else str(Path(url).resolve())
    remote = {"url": place, **({"endpointurl": endpoint} if endpoint else {})}
    try:
        with Repo(str(root)) as repo, repo.config.edit("repo") as config:
            config["remote"][name] = remote
            config["core"]["remote"] = name
    except DvcConfigError as error:
        raise ConfigError(
            f"DVC does not know this remote: {quoted(url)} ({error}); see `dvc remote add --help`"
        ) from None
