"""Which registered edge file is in use: `candidate`, `champion` and `previous`, and the rule that moves them.

The candidate is what the last evaluation calls the file to ship. It becomes the champion if it is no worse than the
present one beyond the larger of both intervals and all gates were passed, or by `ganpress promote`; the former champion
is then `previous`, to which `ganpress rollback` leads. A run in which nothing was evaluated moves none of them.
"""

import getpass
import os
from pathlib import Path
from typing import Any

from ganpress.errors import ConfigError
from ganpress.metrics.gate_verdict import GateVerdict
from ganpress.metrics.version_score import Champion, Score
from ganpress.tracking.store import Store, in_one_line, open_store

CANDIDATE, CHAMPION, PREVIOUS = "candidate", "champion", "previous"
VERDICT, USER = "verdict", "user"
"""Tags of a version, beside those of its score."""
LOCK = "promotion.lock"
TAG_CHARACTERS = 5000
"""MLflow's limit of a tag's value."""


def judge(candidate: Score | None, champion: Score | None) -> tuple[bool, str]:
    """Say whether a candidate replaces the champion by the rule, and why, in a sentence."""
    if candidate is None:
        return False, "stays a candidate: it bears no score"
    if champion is None:
        return True, "promoted: there was no champion with a score"
    worse = candidate.is_worse_than(champion)
    if worse is None:
        return False, f"stays a candidate: {candidate.metric} cannot be held against the champion's {champion.metric}"
    return not worse, f"{'stays a candidate' if worse else 'promoted'}: {candidate.against(champion)}"


def propose(store: Store, name: str, version: str, score: Score | None, gates: GateVerdict | None) -> None:
    """Make a version the candidate and, by the rule, the champion; the verdict stands in its tags.

    Args:
        store: the open store.
        name: of the registered model.
        version: of the file to ship.
        score: how good it is; None where it was not measured.
        gates: what the gates say of this evaluation; None while they have not judged it.
    """
    tags = (score.tags() if score else {}) | {USER: _user()}
    store.client.set_registered_model_alias(name, CANDIDATE, version)
    champion = version_of(store, name, CHAMPION)
    if champion is not None and str(champion.version) == version:
        promoted, words = False, champion.tags.get(VERDICT, "is the champion")
    elif gates is None:
        promoted, words = False, "stays a candidate: the stage gates has not judged it"
    elif gates.failed:
        promoted, words = False, f"stays a candidate: {gates.sentence}"[:TAG_CHARACTERS]
    else:
        promoted, words = judge(score, Score.of_tags(champion.tags) if champion is not None else None)
    for key, value in (tags | {VERDICT: words}).items():
        store.client.set_model_version_tag(name, version, key, value)
    if promoted:
        _crown(store, name, version, champion)


def champion_of(root: Path, name: str) -> Champion | None:
    """The edge file in use, as the registry knows it; None without one that bears a score.

    Raises:
        ServiceUnavailable: if the store cannot be used.
    """
    version = version_of(open_store(root), name, CHAMPION)
    score = Score.of_tags(version.tags) if version is not None else None
    if version is None or score is None:
        return None
    return Champion(str(version.version), version.tags.get("reference", ""), score)


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
        ServiceUnavailable: if the store refuses it.
    """
    with _alone(root), in_one_line():
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
        ServiceUnavailable: if the store refuses it.
    """
    with _alone(root), in_one_line():
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
