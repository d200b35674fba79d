"""Reads files that DVC wrote: dvc.lock and the copies in its cache. It does not import DVC."""

import configparser
import hashlib
import json
import time
from pathlib import Path
from typing import Any

from ganpress.config.yaml_text import OF_DVC, parse_yaml
from ganpress.errors import ConfigError, DataError
from ganpress.files.plain_values import read_json

FOLDER = ".dir"
"""Suffix of DVC's digest of a folder."""
LOCK_SECONDS = 5.0
"""Seconds for which a dvc.lock may be incomplete."""
LOCK_POLL_SECONDS = 0.05


def read_lock(path: Path) -> dict[str, Any]:
    """Read dvc.lock, which DVC may be rewriting: it is complete if two consecutive reads agree and are valid YAML.

    Raises:
        DataError: if it does not become readable within `LOCK_SECONDS`.
    """
    deadline = time.monotonic() + LOCK_SECONDS
    before = None
    while True:
        text = path.read_text(encoding="utf-8")
        if text == before or time.monotonic() > deadline:
            try:
                content = parse_yaml(text, path.name, OF_DVC) or {}
                if isinstance(content, dict):
                    return content
                reason = f"it contains a {type(content).__name__}, not stages"
            except ConfigError as error:
                reason = " ".join(str(error).split())
            if time.monotonic() > deadline:
                raise DataError(f"{path} cannot be read ({reason}); restore it from git, or delete it and run again")
        before = text
        time.sleep(LOCK_POLL_SECONDS)


def dvc_md5(path: Path) -> str | None:
    """Return DVC's digest of a file or folder; None if it does not exist, or disappears while it is read, as when DVC
    restores it.
    """
    try:
        if not path.is_dir():
            return _md5(path)
        files = sorted((file.relative_to(path).as_posix(), file) for file in path.rglob("*") if file.is_file())
        listing = json.dumps([{"md5": _md5(file), "relpath": name} for name, file in files])
        return hashlib.md5(listing.encode(), usedforsecurity=False).hexdigest() + FOLDER
    except FileNotFoundError:
        return None


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def locked_outs(root: Path, stage: str) -> dict[str, str]:
    """Return path -> digest of a stage's outputs in dvc.lock; empty if it records none.

    Raises:
        DataError: if dvc.lock cannot be read.
    """
    return {str(out["path"]): str(out["md5"]) for out in _entry(root, stage).get("outs") or [] if "md5" in out}


def locked_params(root: Path, stage: str) -> dict[str, Any]:
    """Return the parameters that a stage had in params.yaml when dvc.lock recorded it; empty if it records none.

    Raises:
        DataError: if dvc.lock cannot be read.
    """
    return dict((_entry(root, stage).get("params") or {}).get("params.yaml") or {})


def _entry(root: Path, stage: str) -> dict[str, Any]:
    if not (root / "dvc.lock").is_file():
        return {}
    return dict((read_lock(root / "dvc.lock").get("stages") or {}).get(stage) or {})


def cached_copy(root: Path, md5: str) -> Path | None:
    """Return the file of this content in DVC's cache; None if it is not there."""
    path = _cache_folder(root) / "files" / "md5" / md5[:2] / md5[2:]
    return path if path.is_file() else None


def cached_files(root: Path, md5: str) -> dict[str, Path]:
    """Return name -> file of each file in DVC's cache of a folder; empty if its listing is not there.

    Raises:
        DataError: if the listing is damaged.
    """
    listing = cached_copy(root, md5)
    if listing is None:
        return {}
    try:
        files = {str(one["relpath"]): cached_copy(root, str(one["md5"])) for one in read_json(listing)}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{listing} in DVC's cache is damaged ({type(error).__name__}); run `dvc fetch`") from None
    return {name: file for name, file in files.items() if file is not None}


def _cache_folder(root: Path) -> Path:
    """Return the cache folder from the project's settings; settings of this machine come first."""
    settings = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        settings.read([root / ".dvc" / name for name in ("config", "config.local")], encoding="utf-8")
    except (configparser.Error, UnicodeError):
        return root / ".dvc" / "cache"
    return root / ".dvc" / settings.get("cache", "dir", fallback="cache").strip().strip('"')
