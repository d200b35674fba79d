"""Collects facts for the report: prepared data, its validation, the judge."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ganpress.data.prepared.arrays import SPLITS, Conditioning, read_meta
from ganpress.report.content import DataFacts, Fact
from ganpress.report.notation import parse_metric_name, write_count, write_score, write_share
from tasks.shared.report_facts import read_optional

REAL = "_real_"
"""Part of the name of a score of real images, such as `is_real_360_test_judge`."""


def data_facts(artifacts: Path) -> DataFacts:
    """Return the results of prepare, validate and judge; missing parts are empty.

    Raises:
        DataError: if a file is damaged.
    """
    validation = read_optional(artifacts / "validate" / "validation.json")
    judge = read_optional(artifacts / "judge" / "metrics.json") or {}
    conditioning = read_meta(artifacts / "prepare").conditioning if _is_prepared(artifacts / "prepare") else None
    return DataFacts(
        prepared=_prepared(artifacts / "prepare"),
        validation=_validation(validation) if validation else (),
        validation_passed=_passed(validation) if validation else None,
        judge=_judge(judge),
        conditioning=conditioning,
        real_scores={name.replace(REAL, "_", 1): value for name, value in judge.items() if REAL in name},
    )


def _is_prepared(folder: Path) -> bool:
    return (folder / "meta.json").exists()


def _prepared(folder: Path) -> list[Fact]:
    if not _is_prepared(folder):
        return []
    meta = read_meta(folder)
    facts = [
        Fact("source", meta.source),
        Fact("image", f"{meta.width} × {meta.size} × {meta.channels}", meta.resize),
    ]
    facts += [Fact(f"{split} images", write_count(count)) for split, count in _in_order(meta.counts)]
    if meta.classes:
        facts.append(Fact("classes", write_count(len(meta.classes)), ", ".join(meta.classes)))
    return facts + _sources(meta.conditioning)


PAIRINGS = {
    "paired": "each source has its image",
    "unpaired": "two domains, no image belongs to another",
    "semantic": "each label map has its image",
}


def _sources(conditioning: Conditioning | None) -> list[Fact]:
    """Return facts about the input of a conditional generator; empty for unconditional data."""
    if conditioning is None:
        return []
    shape = f"{conditioning.width} × {conditioning.height}"
    facts = [Fact("pairing", conditioning.pairing, PAIRINGS[conditioning.pairing])]
    if conditioning.pairing == "semantic":
        names = ", ".join(conditioning.label_names)
        return [*facts, Fact("label map", shape, f"{conditioning.channels} classes: {names}")]
    facts.append(Fact("source image", f"{shape} × {conditioning.channels}"))
    if conditioning.pairing == "unpaired":
        facts += [Fact(f"{split} sources", write_count(count)) for split, count in _in_order(conditioning.counts)]
    return facts


def _in_order(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """Return the counts of the splits: train, validation, test, then others."""
    names = [*SPLITS, *(f"source_{split}" for split in SPLITS)]
    places: dict[str, int] = {split: place for place, split in enumerate(names)}
    return sorted(counts.items(), key=lambda item: places.get(item[0], len(places)))


def _judge(metrics: dict[str, Any]) -> list[Fact]:
    facts = []
    for name, value in metrics.items():
        if name == "accuracy_test":
            facts.append(Fact("accuracy", write_share(value), "of the judge on the test split"))
        elif REAL in name:
            metric = parse_metric_name(name.replace(REAL, "_", 1))
            compared = metric.metric is not None and "real" in metric.metric.needs
            note = metric.protocol + (", between train and test split" if compared else "")
            facts.append(Fact(f"{metric.title} of real images", write_score(value), note))
        elif isinstance(value, int | float):
            facts.append(Fact(name.replace("_", " "), f"{value:.4g}"))
    return facts


def _passed(validation: dict[str, Any]) -> bool | None:
    success = validation.get("success")
    return success if isinstance(success, bool) else None


def _counted(split: str) -> str:
    """Return the names under which validation counts a split: `train`, and `source_train` for its sources."""
    return f"{split.removeprefix('source_')} sources" if split.startswith("source_") else f"{split} images"


def _validation(validation: dict[str, Any]) -> list[Fact]:
    """Return raw counts, and each check with its limit and what was found."""
    facts = [
        Fact(_counted(split), write_count(count), "raw") for split, count in _in_order(validation.get("counts", {}))
    ]
    classes = validation.get("class_counts", {})
    if classes:
        smallest, largest = min(classes.values()), max(classes.values())
        facts.append(
            Fact("images in a class", f"{write_count(smallest)} to {write_count(largest)}", "raw train images")
        )
    for check in validation.get("checks", []):
        verdict = "passed" if check["success"] else f"FAILED, e.g. {', '.join(check.get('offenders', [])[:3])}"
        found = f"{write_count(check['unexpected'])} of {write_count(check['examined'])} break it"
        facts.append(Fact(check["name"].replace("_", " "), verdict, f"allowed: {check['limit']}; {found}"))
    return facts
