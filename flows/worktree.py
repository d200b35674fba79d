"""Gives a run with other parameters its own workspace: a git worktree that shares DVC's cache and MLflow's store.

The main workspace is never edited. Worktrees are named by the digest of their parameters, so the same recipe and the
same `--set` use the same folder again, where everything is `Cached`. DVC's experiments are not used: they also run in
worktrees, but in a temporary folder, which leaves nothing to look at or to continue.
"""

import filecmp
import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from flows.environment import WORKTREES, main_root
from flows.project_files import recipes_folder
from ganpress.basics.git import GitFailed, git
from ganpress.basics.whole_files import write_whole
from ganpress.config.base import parse, read_yaml
from ganpress.config.data_section import DataConfig
from ganpress.config.params import Params, load_params, merge_overlay
from ganpress.config.yaml_text import MAX_DEPTH, dump_yaml, parse_yaml, quoted
from ganpress.data.raw.dataset_card import with_place
from ganpress.errors import ConfigError

MAX_SETTING = 4096
"""Largest number of characters of one `--set`."""
MAX_SETTINGS = 1000
MAX_NAMED = 8
"""Largest number of settings that a message repeats."""
MAX_SHOWN = 120
"""Largest number of characters of a recipe's name or a setting that a message repeats."""
OWN_FILES = frozenset({"params.yaml", "dvc.lock", "data.dvc"})
"""Paths that a worktree has for itself; every other file follows the main workspace."""


@dataclass(frozen=True)
class Workspace:
    """Folder and parameters of a run."""

    root: Path
    """The folder that holds params.yaml, data/ and artifacts/ of this run."""
    main: Path
    """The checkout that the user works in; the same as `root` without recipe and settings."""
    recipe: str | None
    params: Params

    @property
    def isolated(self) -> bool:
        return self.root != self.main

    @property
    def data(self) -> DataConfig:
        """The data section; relative paths are resolved from the main checkout, wherever the run is."""
        config = self.params.data
        if not self.isolated:
            return config
        source = with_place(config.source, lambda place: str(self.main / place))
        path = None if config.path is None else str(self.main / config.path)
        return config.model_copy(update={"source": source, "path": path})

    @property
    def imports(self) -> str | None:
        """Folder below the root of the imported generator that the run starts from; None if it trains its own."""
        candidate = self.params.candidate
        return candidate.imported if any(item.imported for item in candidate.items.values()) else None


def find_workspace(root: Path, recipe: str | None = None, settings: Sequence[str] = ()) -> Workspace:
    """Return the workspace of a run without creating it: its parameters are checked, its folder may not exist yet.

    Args:
        root: the project's root.
        recipe: name of a file in recipes/, or path of one; it overrides params.yaml.
        settings: `section.key=value` with YAML values, which override both.

    Raises:
        ConfigError: if params.yaml, the recipe or a setting is wrong.
    """
    main = main_root(root)
    if recipe is None and not settings:
        return Workspace(root, main, None, load_params(root / "params.yaml"))
    content = _merged(main, recipe, settings)
    params = parse(content, Params, _origin(recipe, settings))
    return Workspace(main / WORKTREES / _digest(content), main, recipe, params)


def make_workspace(root: Path, recipe: str | None = None, settings: Sequence[str] = ()) -> Workspace:
    """Return the workspace of a run, created or updated with the main workspace's files.

    Raises:
        ConfigError: as `find_workspace`, or if the project is not in git.
    """
    workspace = find_workspace(root, recipe, settings)
    if recipe is None and not settings:
        return workspace
    content = _merged(workspace.main, recipe, settings)
    workspace.root.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(workspace.root.with_suffix(".lock")):
        if not _is_worktree(workspace):
            _add_worktree(workspace)
        if not (
            workspace.root / ".dvc" / "config.local"
        ).is_file():  # An earlier run was killed while it created the worktree.
            _share_cache(workspace.main, workspace.root)
        _follow_main(workspace)
        _write_if_changed(workspace.root / "params.yaml", dump_yaml(content))
    return workspace


def _merged(main: Path, recipe: str | None, settings: Sequence[str]) -> dict[str, Any]:
    if len(settings) > MAX_SETTINGS:
        raise ConfigError(
            f"--set is given {len(settings):,} times, and at most {MAX_SETTINGS:,} are allowed; write a recipe"
        )
    content = read_yaml(main / "params.yaml")
    if recipe is not None:
        content = merge_overlay(content, read_yaml(find_recipe(main, recipe)))
    for setting in settings:
        content = _with_setting(content, setting)
    return {section: _with_files_of(main, one) for section, one in content.items()}


FILES_OF_THE_USER = frozenset({"weights", "perceptual_weights", "lpips_weights"})
"""Keys whose values are paths relative to the main checkout, which a stage in a worktree would not find."""


def _with_files_of(main: Path, content: Any) -> Any:
    """Return parameters whose paths are absolute."""
    if not isinstance(content, dict):
        return content
    return {
        key: str(main / value) if key in FILES_OF_THE_USER and isinstance(value, str) else _with_files_of(main, value)
        for key, value in content.items()
    }


def find_recipe(main: Path, recipe: str) -> Path:
    """Return the file of `recipe`, which is a path or a name in recipes/ of the project or of ganpress.

    Raises:
        ConfigError: if there is none.
    """
    folders = (main / "recipes", recipes_folder())
    places = (folders[0] / f"{recipe}.yaml", Path(recipe), main / recipe, folders[1] / f"{recipe}.yaml")
    for path in places if recipe else ():
        if _is_file_at(path):
            return path
    known = sorted({path.stem for folder in folders for path in folder.glob("*.yaml")})
    raise ConfigError(
        f"no recipe '{_brief(recipe)}'; name one of recipes/ ({', '.join(known) or 'none yet'}) or a YAML file"
    )


def _with_setting(content: dict[str, Any], setting: str) -> dict[str, Any]:
    """Return `content` with one `a.b.c=value` applied."""
    dotted, equals, text = setting.partition("=")
    keys = dotted.strip().split(".")
    name = f"--set {_brief(setting)}"
    if not equals or not all(keys) or len(keys) > MAX_DEPTH:
        raise ConfigError(f"{name}: write section.key=value, for example --set teacher.images=500")
    if len(setting) > MAX_SETTING:
        raise ConfigError(
            f"{name}: {len(setting):,} characters are more than the {MAX_SETTING:,} that one --set may have; "
            "write a recipe and give it with --recipe"
        )
    return _with_value(content, keys, parse_yaml(text, f"{name}: the value", wrong="is not YAML"), name)


def _brief(text: str) -> str:
    """Return a user's text shortened for a message, without quotes."""
    return quoted(text)[1:-1] if len(text) <= MAX_SHOWN else quoted(text, MAX_SHOWN)


def _with_value(content: Any, keys: Sequence[str], value: Any, name: str) -> dict[str, Any]:
    if content is None:
        content = {}
    if not isinstance(content, dict):
        raise ConfigError(f"{name}: '{keys[0]}' cannot be set below the value {quoted(content)}")
    rest = keys[1:]
    return {**content, keys[0]: _with_value(content.get(keys[0]), rest, value, name) if rest else value}


def _origin(recipe: str | None, settings: Sequence[str]) -> str:
    shown_settings = [f"--set {_brief(setting)}" for setting in settings[:MAX_NAMED]]
    more = [f"{len(settings) - MAX_NAMED} more"] if len(settings) > MAX_NAMED else []
    return " + ".join(["params.yaml", *([f"recipe {_brief(recipe)}"] if recipe else []), *shown_settings, *more])


def _digest(content: dict[str, Any]) -> str:
    of_results = {section: one for section, one in content.items() if section != "resources"}
    text = json.dumps(of_results, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _write_if_changed(path: Path, text: str) -> None:
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_whole(path, text)


def _is_worktree(workspace: Workspace) -> bool:
    """Return whether the workspace's folder is a worktree of this checkout; a copied or moved folder is not."""
    try:
        _, _, place = (workspace.root / ".git").read_text(encoding="utf-8").strip().partition("gitdir: ")
        known = Path(place).is_absolute() and (Path(place) / "HEAD").is_file()
    except (OSError, ValueError):
        return False
    if not known:
        return False
    ours = _git(workspace.main, "rev-parse", "--path-format=absolute", "--git-common-dir").strip()
    return Path(place).resolve().is_relative_to(Path(ours).resolve())


def _add_worktree(workspace: Workspace) -> None:
    """Check out HEAD into the workspace's folder.

    A folder that is not a worktree was left by a killed creation or a moved project. It is created again; its results
    are in DVC's cache, and DVC's records of it are kept.
    """
    main, root = workspace.main, workspace.root
    former = root / "dvc.lock" if (root / "dvc.lock").is_file() else main / "dvc.lock"
    locked = former.read_bytes() if former.is_file() else None
    shutil.rmtree(root, ignore_errors=True)
    _git(main, "worktree", "prune")
    _git(main, "worktree", "add", "--quiet", "--force", "--detach", str(root), "HEAD")
    if locked is not None:
        write_whole(root / "dvc.lock", locked)


def _share_cache(main: Path, root: Path) -> None:
    from dvc.repo import Repo

    local = main / ".dvc" / "config.local"
    if local.is_file():  # This file has credentials and remotes of this machine only.
        shutil.copy2(local, root / ".dvc" / "config.local")
    with Repo(str(main)) as repo:
        cache = repo.cache.local_cache_dir
    with Repo(str(root)) as repo, repo.config.edit("local") as config:
        config["cache"]["dir"] = cache


def _follow_main(workspace: Workspace) -> None:
    """Copy the user's files: tracked files with their uncommitted changes, and new modules."""
    main, root = workspace.main, workspace.root
    wanted = {path for path in _sources(main) if _is_file(main / path)}
    for path in wanted - OWN_FILES:
        if not _same(main / path, root / path):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(main / path, root / path, follow_symlinks=False)
    for path in _sources(root) - wanted - OWN_FILES:
        (root / path).unlink(missing_ok=True)


def _sources(root: Path) -> set[str]:
    """Return the tracked files and the modules that git does not know yet, as paths below `root`."""
    new = _git(root, "ls-files", "-z", "--others", "--exclude-standard", "--", "*.py")
    return set(filter(None, (_git(root, "ls-files", "-z", "--cached") + new).split("\0")))


def _is_file_at(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # The name is too long for a file, or the folder must not be read.
        return False


def _is_file(path: Path) -> bool:
    return path.is_file() or path.is_symlink()


def _same(one: Path, other: Path) -> bool:
    if one.is_symlink() or other.is_symlink():
        return one.is_symlink() and other.is_symlink() and one.readlink() == other.readlink()
    return other.is_file() and filecmp.cmp(one, other, shallow=True)


def _git(root: Path, *arguments: str) -> str:
    """Run git; an error names the options that need git."""
    try:
        return os.fsdecode(git(root, *arguments))
    except GitFailed as error:
        raise ConfigError(
            f"--recipe and --set run in a git worktree, and {error}; "
            "commit the project to git first, or edit params.yaml and run without them"
        ) from None
