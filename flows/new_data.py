"""Runs that a server starts only when there is a new version of the data.

`GANPRESS_NEW_DATA` names where to look, also for the runs of a worker. It is not a parameter of the flow, because a
client that may start runs must not choose what is fetched. Only data is taken: of a branch, no code.
"""

import hashlib
import json
import time
from pathlib import Path

from flows.data_source import add_data, read_pin, require_dvc
from ganpress.basics.git import GitFailed, git
from ganpress.basics.whole_files import write_whole
from ganpress.config.base import parse_section, read_yaml
from ganpress.config.data_section import DataConfig
from ganpress.config.yaml_text import quoted
from ganpress.data.raw.dataset_card import with_place
from ganpress.errors import ConfigError, DataError, shown

VARIABLE = "GANPRESS_NEW_DATA"
SOURCE, IMPORT, BRANCH = "source", "import", "branch:"
STATE = ".ganpress/new-data.json"
SETTLE_S = 10.0
"""Seconds since the last change of a folder, before which somebody may still be copying into it."""
PIN = "data.dvc"


def check_place(text: str) -> None:
    """Check where new data is looked for.

    Raises:
        ConfigError: if it is none of the three forms.
    """
    remote, slash, branch = text.removeprefix(BRANCH).partition("/")
    named = text.startswith(BRANCH) and slash and remote and branch and not remote.startswith("-")
    if text not in (SOURCE, IMPORT) and not named:
        raise ConfigError(
            f"--on-new-data is {quoted(text)}; write `source` (the folder that params.yaml names), `import` (data.dvc "
            "of `dvc import` or `dvc import-url`) or `branch:REMOTE/BRANCH`"
        )


def fetch_new(root: Path, place: str) -> str | None:
    """Get a new version of the data if there is one.

    Args:
        root: the project's root.
        place: `source`, `import` or `branch:REMOTE/BRANCH`.

    Returns:
        Why there is nothing to do, in one line; None if there is a version for which no run was started yet.

    Raises:
        ConfigError: if `place` is none of these, or the source of params.yaml is no folder or file.
        DataError: if git or DVC fails, or the new data cannot be read; the former data stays.
    """
    check_place(place)
    if place == SOURCE:
        version = _fingerprint(_folder(root))
        if version is None:
            return "the data is still being written"
    elif place == IMPORT:
        require_dvc(root, "update", PIN)
        version = _pinned(root)
    else:
        version = _take_from_branch(root, place.removeprefix(BRANCH))
    if _seen(root).get(place) == version:
        return "no new version of the data"
    if place == SOURCE:
        add_data(root, _data_section(root))
    # Noted before the run: data that a check refuses is not tried again until it changes.
    write_whole(root / STATE, json.dumps({**_seen(root), place: version}))
    return None


def _seen(root: Path) -> dict[str, str]:
    try:
        found = json.loads((root / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _data_section(root: Path) -> DataConfig:
    return parse_section(read_yaml(root / "params.yaml"), "data", DataConfig, "params.yaml")


def _folder(root: Path) -> Path:
    config = _data_section(root)
    places = [] if config.path is None else [str(config.path)]

    def noted(place: str) -> str:
        places.append(place)
        return place

    with_place(config.source, noted)
    found = next((path for one in places if (path := root / Path(one).expanduser()).exists()), None)
    if found is None:
        raise ConfigError(f"data.source {quoted(config.source)} names no folder or file that is there to be watched")
    return found


def _fingerprint(place: Path) -> str | None:
    """Return the digest of names, sizes and times of all files; None if one has just changed."""
    digest, newest = hashlib.sha256(), 0.0
    for path in [place] if place.is_file() else sorted(place.rglob("*")):
        found = path.stat()
        newest = max(newest, found.st_mtime)
        if path.is_file():
            digest.update(f"{path.relative_to(place.parent)}\0{found.st_size}\0{found.st_mtime_ns}\0".encode())
    return None if 0 <= time.time() - newest < SETTLE_S else digest.hexdigest()


def _pinned(root: Path) -> str:
    pin = read_pin(root)
    return pin.md5 if pin is not None else ""


def _take_from_branch(root: Path, name: str) -> str:
    """Write data.dvc of a branch and get its data from DVC's remote; return its digest."""
    remote, _, branch = name.partition("/")
    try:
        git(root, "fetch", "--quiet", "--", remote, branch)
        theirs = git(root, "show", f"FETCH_HEAD:{PIN}")
    except GitFailed as error:
        raise DataError(f"{PIN} of branch {quoted(name)} could not be fetched: {shown(error)}") from None
    path = root / PIN
    former = path.read_bytes() if path.exists() else None
    if theirs != former:
        write_whole(path, theirs)
        try:
            require_dvc(root, "pull", PIN)
        except DataError:
            if former is not None:
                write_whole(path, former)
            raise
    return _pinned(root)
