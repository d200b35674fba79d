"""Manages which registered edge file is in use: the aliases `candidate`, `champion` and `previous`, and the rule that
moves them.

The candidate is the file to ship of the last evaluation. It becomes the champion if it is not worse than the present
one by more than the larger of both intervals and all gates passed, or by `ganpress promote`; the former champion then
becomes `previous`, to which `ganpress rollback` returns. A run without an evaluation moves no alias.
"""

from pathlib import Path
from typing import Any

from ganpress.errors import ConfigError
from ganpress.metrics.gate_verdict import GateVerdict
from ganpress.metrics.version_score import Champion, Score
from ganpress.tracking.provenance import user_name
from ganpress.tracking.store import Store, in_one_line, open_store

CANDIDATE, CHAMPION, PREVIOUS = "candidate", "champion", "previous"
VERDICT, USER = "verdict", "user"
"""Tags of a version, in addition to those of its score."""
LOCK = "promotion.lock"
TAG_CHARACTERS = 5000
"""MLflow's limit on the length of a tag's value."""


def judge(candidate: Score | None, champion: Score | None) -> tuple[bool, str]:
    """Return whether a candidate replaces the champion by the rule, and the reason as a sentence."""
    if candidate is None:
        return False, "stays a candidate: it has no score"
    if champion is None:
        return True, "promoted: there was no champion with a score"
    worse = candidate.is_worse_than(champion)
    if worse is None:
        return False, f"stays a candidate: {candidate.metric} cannot be compared with the champion's {champion.metric}"
    return not worse, f"{'stays a candidate' if worse else 'promoted'}: {candidate.against(champion)}"


def propose(store: Store, name: str, version: str, score: Score | None, gates: GateVerdict | None) -> None:
    """Make a version the candidate and, by the rule, the champion; the verdict is written to its tags.

    Args:
        store: the open store.
        name: name of the registered model.
        version: version of the file to ship.
        score: score of the file; None if it was not measured.
        gates: verdict of the gates on this evaluation; None before they have run.
    """
    tags = (score.tags() if score else {}) | {USER: user_name()}
    store.client.set_registered_model_alias(name, CANDIDATE, version)
    champion = version_of(store, name, CHAMPION)
    if champion is not None and str(champion.version) == version:
        promoted, words = False, champion.tags.get(VERDICT, "is the champion")
    elif gates is None:
        promoted, words = False, "stays a candidate: the stage gates has not run yet"
    elif gates.failed:
        promoted, words = False, f"stays a candidate: {gates.sentence}"[:TAG_CHARACTERS]
    else:
        promoted, words = judge(score, Score.of_tags(champion.tags) if champion is not None else None)
    for key, value in (tags | {VERDICT: words}).items():
        store.client.set_model_version_tag(name, version, key, value)
    if promoted:
        _crown(store, name, version, champion)


def champion_of(root: Path, name: str) -> Champion | None:
    """Return the edge file in use according to the registry; None if there is none with a score.

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
        name: name of the registered model.
        root: root of the project, where only one promotion runs at a time.
        wanted: a version's number, or a generator's reference for its newest version; None means the candidate.

    Returns:
        Version and reference of the new champion.

    Raises:
        ConfigError: if there is no such version.
        ServiceUnavailable: if the store refuses the change.
    """
    with _alone(root), in_one_line():
        chosen = _find(store, name, wanted)
        champion = version_of(store, name, CHAMPION)
        if champion is None or champion.version != chosen.version:
            _crown(store, name, str(chosen.version), champion)
            store.client.set_model_version_tag(name, str(chosen.version), VERDICT, f"promoted by {user_name()}")
        return str(chosen.version), chosen.tags.get("reference", "")


def roll_back(store: Store, name: str, root: Path) -> tuple[str, str]:
    """Make the previous champion the champion again, and this one the previous.

    Raises:
        ConfigError: if there is no previous one.
        ServiceUnavailable: if the store refuses the change.
    """
    with _alone(root), in_one_line():
        previous, champion = version_of(store, name, PREVIOUS), version_of(store, name, CHAMPION)
        if previous is None:
            raise ConfigError(f"{name} has no version '{PREVIOUS}' to go back to; `ganpress promote` makes one")
        _crown(store, name, str(previous.version), champion)
        store.client.set_model_version_tag(name, str(previous.version), VERDICT, f"rolled back by {user_name()}")
        return str(previous.version), previous.tags.get("reference", "")


def version_of(store: Store, name: str, alias: str) -> Any | None:
    """Return the version that an alias points to; None if the alias does not exist."""
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
