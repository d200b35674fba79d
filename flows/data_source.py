"""Keeps the raw data in data/ and its pin data.dvc consistent with the data section of params.yaml."""

import configparser
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganpress.basics.whole_files import write_whole
from ganpress.config.data_section import DataConfig
from ganpress.config.yaml_text import MAX_BYTES_OF_DVC, OF_DVC, dump_yaml, parse_yaml, read_text
from ganpress.data.raw.dataset_card import DatasetCard, display_name, is_bundled, read_card, with_place
from ganpress.errors import ConfigError, DataError


@dataclass(frozen=True)
class DataPin:
    """Contents of data.dvc."""

    md5: str
    """DVC's digest of the whole folder; it ends in `.dir`."""
    size_bytes: int
    files: int
    source: str | None
    """The source as it was requested; None if data.dvc was written by `dvc add` alone."""
    style: Mapping[str, Any]
    """`values` and `background` of the data section if they differ from the defaults."""
    settings: Mapping[str, Any]
    """Settings that `data add` wrote into params.yaml for this data, by dotted key."""


def read_pin(root: Path) -> DataPin | None:
    """Read data.dvc; return None if it does not exist.

    Raises:
        DataError: if it cannot be parsed.
    """
    path = root / "data.dvc"
    try:
        content: Any = parse_yaml(read_text(path, MAX_BYTES_OF_DVC), str(path), OF_DVC)
        out = content["outs"][0]
        meta = content.get("meta") or {}
        style, settings = dict(meta.get("style") or {}), dict(meta.get("settings") or {})
        numbers = int(out.get("size", 0)), int(out.get("nfiles", 0))
        return DataPin(str(out["md5"]), *numbers, meta.get("source"), style, settings)
    except FileNotFoundError:
        return None
    except (ConfigError, KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path} is damaged ({reason}); restore it with git, or delete it and run again") from None


def ensure_data(root: Path, config: DataConfig, replace: bool = False) -> None:
    """Import the source that `config` names into data/ and pin it; return within milliseconds if data/ already holds
    it.

    Args:
        root: folder of data/ and data.dvc.
        config: the data section.
        replace: whether data of another source may be replaced, see `check_replacement`.

    Raises:
        ConfigError: if the source is unknown.
        DataError: if data/ was not made by ganpress or holds data of another source that must stay, the import fails,
            or its bytes differ from those that data.dvc pins for the same source; data/ and data.dvc are then
            unchanged.
    """
    if _is_in_place(root, config):
        return
    if not replace:
        check_replacement(root, config.source)
    from filelock import FileLock

    (root / ".ganpress").mkdir(exist_ok=True)
    with FileLock(root / ".ganpress" / "data.lock"):
        if not _is_in_place(root, config):  # Another run may have imported it meanwhile.
            _make(root, config)


def check_replacement(root: Path, source: str) -> None:
    """Refuse to replace data that a user added by `source`; data that ships with a dependency may be replaced.

    Raises:
        ConfigError: if `source` is unknown.
        DataError: if data/ must stay; the message names its source and both ways out.
    """
    pin, card = read_pin(root), read_card(root / "data")
    pinned = None if pin is None else pin.source
    there = pinned or (None if card is None else card.source)
    if there is None or _is_same(root, there, source) or is_bundled(there):
        return
    from ganpress.data.sources.acquisition import check_source

    check_source(source)
    raise DataError(
        f"data/ holds {there}, but params.yaml asks for {source}; nothing was replaced. To run on the present "
        f"data, set "
        f"data.source to {there}; to replace it run `ganpress run --replace-data` or `ganpress data add {source}`"
    )


def _is_in_place(root: Path, config: DataConfig) -> bool:
    card, pin = read_card(root / "data"), read_pin(root)
    return _describes(card, config.source) and _pins(root, pin, config)


def _pins(root: Path, pin: DataPin | None, config: DataConfig) -> bool:
    return pin is not None and _is_same(root, pin.source, config.source) and pin.style == config.style()


def _describes(card: DatasetCard | None, source: str) -> bool:
    return card is not None and card.source == display_name(source)


def _is_same(root: Path, one: str | None, other: str) -> bool:
    """Return whether two sources are the same; paths in them are resolved from `root` first."""

    def absolute(path: str) -> str:
        return str((root / Path(path).expanduser()).resolve())

    return one is not None and with_place(one, absolute) == with_place(other, absolute)


def _make(root: Path, config: DataConfig) -> None:
    _check_ours(root)
    pin = read_pin(root)
    if pin is None or not _pins(root, pin, config):
        add_data(root, config)
        return
    if not (root / "data").exists() and _checked_out(root, config.source):
        return
    pinned = (root / "data.dvc").read_text(encoding="utf-8")
    found = add_data(root, config)
    if found.pin.md5 != pin.md5:
        # If the different bytes stayed, the next run would take them for the pinned ones.
        _remove(root / "data")
        write_whole(root / "data.dvc", pinned)
        raise DataError(
            f"data.dvc pins {config.source} with md5 {pin.md5}, but importing it here gives {found.pin.md5}; get the "
            f"pinned images (`dvc pull data.dvc`), or pin yours: `ganpress data add {config.source}`"
        )


def _check_ours(root: Path) -> None:
    data = root / "data"
    if data.exists() and read_card(data) is None and (not data.is_dir() or any(data.iterdir())):
        raise DataError(
            f"{data} was not written by ganpress (it has no dataset.json); move it away, then import it with "
            "`ganpress data add folder:<where you moved it>`"
        )


def _checked_out(root: Path, source: str) -> bool:
    """Try to fetch the pinned bytes from DVC's cache or remote."""
    verb = "pull" if _has_remote(root) else "checkout"
    done = run_dvc(root, verb, "--quiet", "data.dvc")
    if done.returncode == 0 and _describes(read_card(root / "data"), source):
        return True
    _remove(root / "data")
    return False


def _has_remote(root: Path) -> bool:
    """Whether this project names a default DVC remote (asking `dvc config` would cost a second)."""
    config = configparser.ConfigParser(interpolation=None)
    config.read([root / ".dvc" / "config", root / ".dvc" / "config.local"], encoding="utf-8")
    return config.has_option("core", "remote")


def _remove(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class AddedData:
    """Result of an import."""

    card: DatasetCard
    pin: DataPin
    former: DataPin | None
    """Contents of data.dvc before the import."""


def add_data(root: Path, config: DataConfig) -> AddedData:
    """Import a source into data/ and pin it with `dvc add`; earlier data is replaced.

    Raises:
        ConfigError: if the source is unknown.
        DataError: if data/ was not made by ganpress, the import fails, or DVC does.
    """
    from ganpress.data.sources.acquisition import import_data
    from ganpress.data.sources.plain_pictures import PictureStyle

    _check_ours(root)
    former = read_pin(root)
    source = with_place(config.source, lambda place: str(root / Path(place).expanduser()))
    path = None if config.path is None else root / Path(config.path).expanduser()
    card = import_data(source, path, root / "data", PictureStyle(config.values, config.background))
    pin_data(root, config)
    pin = read_pin(root)
    assert pin is not None  # `dvc add` has just written data.dvc.
    return AddedData(card, pin, former)


def pin_data(root: Path, config: DataConfig) -> None:
    """Run `dvc add data`, and write source and style into the meta section of data.dvc, which DVC keeps.

    Raises:
        DataError: if DVC fails; the message holds DVC's last line.
    """
    if not (root / ".dvc").is_dir():
        require_dvc(root, "init", "--quiet", *([] if (root / ".git").exists() else ["--no-scm"]))
    require_dvc(root, "add", "--quiet", "data")
    note_in_pin(root, {"source": config.source, "style": config.style()})


def note_in_pin(root: Path, facts: Mapping[str, Any]) -> None:
    """Write values into the meta section of data.dvc; empty ones are removed from it."""
    path = root / "data.dvc"
    content = parse_yaml(read_text(path, MAX_BYTES_OF_DVC), str(path), OF_DVC)
    former = content.get("meta") or {}
    meta = {key: value for key, value in {**former, **facts}.items() if value or key not in facts}
    if meta != former:
        content["meta"] = meta
        write_whole(path, dump_yaml(content))


def require_dvc(root: Path, *arguments: str) -> None:
    """Run DVC in `root`.

    Raises:
        DataError: if it fails; the message holds its first error.
    """
    done = run_dvc(root, *arguments)
    if done.returncode != 0:
        lines = [line for line in done.stderr.strip().splitlines() if line.startswith("ERROR")] or ["no message"]
        raise DataError(
            f"`dvc {' '.join(arguments)}` failed: {lines[0].removeprefix('ERROR: ')}; fix that and run again"
        )


def run_dvc(root: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run DVC in `root`, waiting for its lock, and return its output."""
    command = [sys.executable, "-P", "-m", "dvc", *([] if arguments[0] == "init" else ["--wait-for-lock"]), *arguments]
    environment = os.environ | {"DVC_NO_ANALYTICS": "1"}
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
