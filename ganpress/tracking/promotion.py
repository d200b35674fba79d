"""Which registered edge file is in use: `candidate`, `champion` and `previous`, and the rule that moves them.

The candidate is what the last evaluation calls the file to ship. It becomes the champion if it is no worse than the
present one beyond the larger of both intervals, or by `ganpress promote`; the former champion is then `previous`, to
which `ganpress rollback` leads. A run in which nothing was evaluated moves none of them.
"""

import getpass
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganpress.errors import ConfigError
from ganpress.metrics.metric import badness
from ganpress.metrics.metric_names import known_name
from ganpress.metrics.ranking import half_width
from ganpress.tracking.store import Store

CANDIDATE, CHAMPION, PREVIOUS = "candidate", "champion", "previous"
SCORE, METRIC, WIDTH, VERDICT, USER = "score", "score.metric", "score.half_width", "verdict", "user"
"""Tags of a version; the first three say how good it was when it was evaluated."""
LOCK = "promotion.lock"


@dataclass(frozen=True)
class Score:
    """How good a version is, as its tags say."""

    metric: str
    value: float
    half_width: float

    @classmethod
    def of_row(cls, row: Mapping[str, float], metric: str) -> "Score | None":
        """Read what was evaluated; None where the metric was not."""
        return cls(metric, row[metric], half_width(row, metric)) if metric in row else None

    @classmethod
    def of_tags(cls, tags: Mapping[str, str]) -> "Score | None":
        """Read a version's tags; None where it bears no score."""
        if METRIC not in tags or SCORE not in tags:
            return None
        return cls(tags[METRIC], float(tags[SCORE]), float(tags.get(WIDTH, "0")))

    def tags(self) -> dict[str, str]:
        """The same as tags."""
        return {METRIC: self.metric, SCORE: repr(self.value), WIDTH: repr(self.half_width)}


def judge(candidate: Score | None, champion: Score | None) -> tuple[bool, str]:
    """Say whether a candidate replaces the champion by the rule, and why, in a sentence."""
    if candidate is None:
        return False, "stays a candidate: it bears no score"
    if champion is None:
        return True, "promoted: there was no champion with a score"
    if candidate.metric != champion.metric:
        return False, f"stays a candidate: {candidate.metric} cannot be held against the champion's {champion.metric}"
    better = known_name(candidate.metric).direction
    spread = max(candidate.half_width, champion.half_width)
    numbers = f"{candidate.metric} {candidate.value:.4g} against the champion's {champion.value:.4g}, ± {spread:.3g}"
    if badness(candidate.value, better) <= badness(champion.value, better) + spread:
        return True, f"promoted: {numbers}"
    return False, f"stays a candidate: {numbers}"


def propose(store: Store, name: str, version: str, score: Score | None) -> None:
    """Make a version the candidate and, by the rule, the champion; the verdict stands in its tags."""
    tags = (score.tags() if score else {}) | {USER: _user()}
    store.client.set_registered_model_alias(name, CANDIDATE, version)
    champion = version_of(store, name, CHAMPION)
    if champion is not None and str(champion.version) == version:
        promoted, words = False, "is the champion"
    else:
        promoted, words = judge(score, Score.of_tags(champion.tags) if champion is not None else None)
    for key, value in (tags | {VERDICT: words}).items():
        store.client.set_model_version_tag(name, version, key, value)
    if promoted:
        _crown(store, name, version, champion)


def promote(store: Store, name: str, root: Path, wanted: str | None) -> tuple[str, str]:
    """Make a version the champion by hand.

    Args:
        store: the open store.
        name: of the registered model.
        root: of the project; one promotion at a time is made there.
        wanted: a version's number or a generator's reference, whose newest version is meant; None: the candidate.

    Returns:
        Version and reference of the new champion.

    Raises:
        ConfigError: if there is no such version.
    """
    with _alone(root):
        chosen = _find(store, name, wanted)
        champion = version_of(store, name, CHAMPION)
        if champion is None or champion.version != chosen.version:
            _crown(store, name, str(chosen.version), champion)
            store.client.set_model_version_tag(name, str(chosen.version), VERDICT, f"promoted by {_user()}")
        return str(chosen.version), chosen.tags.get("reference", "")


def roll_back(store: Store, name: str, root: Path) -> tuple[str, str]:
    """Make the previous champion the champion again, and this one the previous.

    Raises:
        ConfigError: if there is no previous one.
    """
    with _alone(root):
        previous, champion = version_of(store, name, PREVIOUS), version_of(store, name, CHAMPION)
        if previous is None:
            raise ConfigError(f"{name} has no version '{PREVIOUS}' to go back to; `ganpress promote` makes one")
        _crown(store, name, str(previous.version), champion)
        store.client.set_model_version_tag(name, str(previous.version), VERDICT, f"taken back by {_user()}")
        return str(previous.version), previous.tags.get("reference", "")


def version_of(store: Store, name: str, alias: str) -> Any | None:
    """The version that an alias points at; None without it."""
    from mlflow.exceptions import MlflowException

    try:
        return store.client.get_model_version_by_alias(name, alias)
    except MlflowException:
        return None


def _find(store: Store, name: str, wanted: str | None) -> Any:
    if wanted is None:
        candidate = version_of(store, name, CANDIDATE)
        if candidate is None:
            raise ConfigError(f"{name} has no candidate yet; `ganpress run` evaluates and registers edge files")
        return candidate
    versions = list(store.client.search_model_versions(f"name = '{name}'"))
    found = [one for one in versions if wanted in (str(one.version), one.tags.get("reference"))]
    if not found:
        known = ", ".join(sorted({f"{one.version} ({one.tags.get('reference')})" for one in versions})) or "none"
        raise ConfigError(f"{name} has no version '{wanted[:80]}'; versions: {known}")
    return max(found, key=lambda one: int(one.version))


def _crown(store: Store, name: str, version: str, champion: Any | None) -> None:
    if champion is not None and str(champion.version) != version:
        store.client.set_registered_model_alias(name, PREVIOUS, str(champion.version))
    store.client.set_registered_model_alias(name, CHAMPION, version)


def _alone(root: Path) -> Any:
    from filelock import FileLock

    (root / ".ganpress").mkdir(exist_ok=True)
    return FileLock(root / ".ganpress" / LOCK)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, in a container
        return f"user {os.getuid()}"
