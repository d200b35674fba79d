"""Traces a file back to the data by its digest, using DVC's locks, the card beside it, or MLflow's store."""

import logging
from dataclasses import dataclass, field
from pathlib import Path

from flows.environment import WORKTREES, main_root
from ganpress.errors import DataError, ServiceUnavailable, shown
from ganpress.files.dvc_files import dvc_md5
from ganpress.files.dvc_lineage import LockedChain, Place, overlap
from ganpress.files.plain_values import read_json

logger = logging.getLogger("ganpress")


@dataclass(frozen=True)
class Step:
    """One stage on the way to the file, or a source that no stage made."""

    stage: str | None
    """Name of the stage; None for a source of the project: its data or an imported generator."""
    made: str
    """Main file of the stage."""
    md5: str
    made_from: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Answer:
    """Lineage of a file."""

    file: str
    md5: str
    found_in: str
    """Where the record was found: `dvc.lock`, the dvc.lock of a recipe's worktree, `card.json` beside the file, or
    `MLflow`."""
    stage: str
    path: str
    """Path at which the project keeps this content."""
    steps: list[Step]
    notes: list[str]
    """Inconsistencies, one sentence each."""


def lineage_of(root: Path, path: Path) -> Answer:
    """Look up a file in the project's lock, those of recipes, the card beside the file and MLflow's store, in this
    order.

    Args:
        root: folder of the project.
        path: resolved path of a file, or of a folder that dvc.lock records as a whole.

    Raises:
        DataError: if it is not a file, or no record has its digest.
    """
    main = main_root(root.resolve())
    roots = dict.fromkeys(one.resolve() for one in (root, main, *sorted((main / WORKTREES).glob("*/"))))
    chains = [LockedChain(one) for one in roots if (one / "dvc.lock").is_file()]
    own = next((chain for chain in chains if path.is_relative_to(chain.root)), None)
    below = path.relative_to(own.root).as_posix() if own is not None else None
    md5 = _digest(own, below, path)
    ordered = sorted(chains, key=lambda chain: chain is not own)  # The project that holds the file is searched first.
    for chain in ordered:
        place = chain.find(md5, below if chain is own else None)
        if place is not None:
            return _answer(chain, place, path, md5, _named(chain.root, main), _of_path(own, below, place))
    changed = _changed(own, below, md5)
    found = _by_card(ordered, path, md5, main) or _by_store(root, path, md5)
    if found is None:
        raise DataError(
            changed
            or f"{shown(path)} (md5 {md5}) is neither in dvc.lock nor in MLflow's store, and no card beside it "
            f"records what it was made from"
        )
    return found


def _digest(own: LockedChain | None, below: str | None, path: Path) -> str:
    """Return DVC's digest of a file, or of a folder that is in the lock; other folders and devices are not read.

    Raises:
        DataError: if the path is neither.
    """
    known = own is not None and below is not None and own.locked_digest(below) is not None
    md5 = dvc_md5(path) if path.is_file() or (known and path.is_dir()) else None
    if md5 is None:
        raise DataError(f"{shown(path)} is not a file; name one below artifacts/, or any file that ganpress made")
    return md5


def _named(root: Path, main: Path) -> str:
    return "dvc.lock" if root == main else f"{root.relative_to(main).as_posix()}/dvc.lock"


def _of_path(own: LockedChain | None, below: str | None, place: Place) -> list[str]:
    """Report a path of the project that holds the content of another path."""
    if own is None or below is None or own.locked_digest(below) is None or place.path == below:
        return []
    return [f"{below} is not the file that dvc.lock records for that path; it has the content of {place.path}"]


def _changed(own: LockedChain | None, below: str | None, md5: str) -> str | None:
    locked = own.locked_digest(below) if own is not None and below is not None else None
    if locked is None:
        return None
    return (
        f"{below} has changed since its stage wrote it: its md5 is {md5}, dvc.lock records {locked}; "
        f"`dvc checkout {below}` restores it"
    )


def _answer(chain: LockedChain, place: Place, path: Path, md5: str, found_in: str, notes: list[str]) -> Answer:
    way = chain.way_to(place.stage)
    names = {stage.name for stage in way}
    made = [out.path for stage in way for out in stage.makes]
    begun = {
        read.path: read.md5 for stage in way for read in stage.reads if not any(overlap(out, read.path) for out in made)
    }
    steps = [Step(None, name, digest) for name, digest in begun.items()]
    for stage in way:
        main = max(stage.makes, key=lambda out: _is_main(out.path), default=None)
        makers = [maker for read in stage.reads for maker in chain.makers(read.path) if maker in names]
        sources = [read.path for read in stage.reads if read.path in begun]
        if main is not None:
            here = list(dict.fromkeys([*sources, *makers]))
            steps.append(Step(stage.name, main.path, main.md5, [one for one in here if one != stage.name]))
    stale = chain.broken(way)
    if stale:
        notes = [
            *notes,
            f"out of date: {', '.join(stale)} was rebuilt after it was read; `ganpress run` updates it",
        ]
    return Answer(str(path), md5, found_in, place.stage, place.path, steps, notes)


def _is_main(path: str) -> bool:
    name = path.rpartition("/")[2]
    return name.startswith("generator.") or name.endswith(".safetensors") or "." not in name


def _by_card(chains: list[LockedChain], path: Path, md5: str, main: Path) -> Answer | None:
    """Trace an edge file by the card beside it, and the history of its generator by a lock.

    Raises:
        DataError: if the card belongs to another file.
    """
    card_file = path.with_name("card.json")
    if not path.is_file() or not card_file.is_file():
        return None
    try:
        card = read_json(card_file)
        told = card["lineage"]
        known, source, digest = (str(one) for one in (card["md5"], told["source"], told["source_md5"]))
        data = str(told.get("data_md5") or "")
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if known != md5:
        raise DataError(f"{shown(path)} does not match the card beside it: its md5 is {md5}, the card records {known}")
    for chain in chains:
        place = chain.find(digest)
        if place is not None:
            before = _answer(chain, place, path, md5, "", [])
            steps = [*before.steps, Step("export", path.name, md5, [place.stage])]
            found_in = f"{path.parent.name}/card.json, and {_named(chain.root, main)} of its generator,"
            return Answer(str(path), md5, found_in, "export", path.name, steps, before.notes)
    steps = [Step(None, "prepared data", data)] if data else []
    steps += [Step(source, "generator.safetensors", digest), Step("export", path.name, md5, [source])]
    notes = ["its generator is in no dvc.lock of this project"]
    return Answer(str(path), md5, f"{path.parent.name}/card.json", "export", path.name, steps, notes)


def _by_store(root: Path, path: Path, md5: str) -> Answer | None:
    """Trace a file by MLflow's store, for a file that is in no lock any more or that a colleague made."""
    from ganpress.tracking.known_files import known_file
    from ganpress.tracking.recorders import tracking_mode

    if tracking_mode() == "off":
        return None
    try:
        found = known_file(root, md5)
    except ServiceUnavailable as error:
        logger.warning("%s", error)
        return None
    if found is None:
        return None
    steps = [Step(None, "data", found.data_md5)] if found.data_md5 else []
    names: list[str] = []
    for model in reversed(found.way):
        steps.append(Step(model.name, model.reference, model.md5, names))
        names = [model.name]
    return Answer(str(path), md5, "MLflow", found.way[0].name, found.way[0].reference, steps, found.facts)
