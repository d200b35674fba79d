"""Finds the store's record of a file by the digest of its content."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganpress.tracking.catalogue import search_models
from ganpress.tracking.store import Store, open_store

FACTS = {"git.sha": "at commit", "process.host": "on", "recipe": "recipe", "prefect.flow_run_id": "flow run"}
"""Tags of a model about its origin, with their names in a sentence."""


@dataclass(frozen=True)
class KnownModel:
    """A model of the store."""

    name: str
    reference: str
    md5: str


@dataclass(frozen=True)
class KnownFile:
    """A file in the store, and its history."""

    way: tuple[KnownModel, ...]
    """The file's model and the models that it was made from, the newest first."""
    data_md5: str
    """Digest of the raw data; empty if it was not recorded."""
    facts: list[str]
    """Sentence about who made it, where and when."""


def known_file(root: Path, md5: str) -> KnownFile | None:
    """Find a model by the md5 of its file; return None if the store has none.

    Raises:
        ServiceUnavailable: if the store cannot be used.
    """
    store = open_store(root)
    found = list(search_models(store, f"tags.`dvc.md5` = '{md5}'"))
    if not found:
        return None
    way = _way(store, found[0])
    tags = found[0].tags
    made = [f"made by run {found[0].source_run_id}"]
    made += [f"{words} {tags[key]}" for key, words in FACTS.items() if tags.get(key)]
    return KnownFile(way, tags.get("data.md5", ""), [", ".join(made)])


def _way(store: Store, model: Any) -> tuple[KnownModel, ...]:
    """Return the model and its chain of first parents, as far as they are known."""
    way: list[KnownModel] = []
    seen: set[str] = set()
    while model is not None and model.model_id not in seen:
        seen.add(model.model_id)
        tags = model.tags
        way.append(KnownModel(model.name, tags.get("reference", model.name), tags.get("dvc.md5", "")))
        parent = tags.get("parent.model_id", "").split(",")[0]
        model = store.client.get_logged_model(parent) if parent else None
    return tuple(way)
