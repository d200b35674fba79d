"""Lists of facts for the report: data, judge, compression records, edge cards, machine."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ganpress.checkpoint import file_digest
from ganpress.data.arrays import SPLITS, read_meta
from ganpress.edge.card import Card, read_card
from ganpress.errors import DataError
from ganpress.report.content import DataFacts, Fact, ItemRecord
from ganpress.report.notation import parse_metric_name, write_bytes, write_count, write_score, write_share
from tasks.machine import read_machine

REAL = "_real_"
"""In the name of a score that real images reach: `is_real_360_test_judge`."""


def machine_facts(artifacts: Path) -> list[Fact]:
    """Processor, threads and runtime versions of the machine that evaluated; none where it wrote none.

    Raises:
        DataError: if its file is damaged.
    """
    return [Fact(name, value) for name, value in read_machine(artifacts / "evaluate").items()]


def data_facts(artifacts: Path) -> DataFacts:
    """What prepare, validate and judge wrote; parts that are absent are empty.

    Raises:
        DataError: if a file is damaged.
    """
    validation = _read(artifacts / "validate" / "validation.json")
    judge = _read(artifacts / "judge" / "metrics.json") or {}
    return DataFacts(
        prepared=_prepared(artifacts / "prepare"),
        validation=_validation(validation) if validation else (),
        validation_passed=_passed(validation) if validation else None,
        judge=_judge(judge),
        real_scores={name.replace(REAL, "_", 1): value for name, value in judge.items() if REAL in name},
    )


def _read(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is damaged ({error}); delete it and run `dvc repro` for its stage") from None
    return content if isinstance(content, dict) else None


def _prepared(folder: Path) -> list[Fact]:
    if not (folder / "meta.json").exists():
        return []
    meta = read_meta(folder)
    facts = [
        Fact("source", meta.source),
        Fact("image", f"{meta.size} × {meta.size} × {meta.channels}", meta.resize),
    ]
    facts += [Fact(f"{split} images", write_count(count)) for split, count in _in_order(meta.counts)]
    if meta.classes:
        facts.append(Fact("classes", write_count(len(meta.classes)), ", ".join(meta.classes)))
    return facts


def _in_order(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """Counts of the splits: train, validation, test, then others."""
    places: dict[str, int] = {split: place for place, split in enumerate(SPLITS)}
    return sorted(counts.items(), key=lambda item: places.get(item[0], len(places)))


def _judge(metrics: dict[str, Any]) -> list[Fact]:
    facts = []
    for name, value in metrics.items():
        if name == "accuracy_test":
            facts.append(Fact("accuracy", write_share(value), "of the classifier on the test split"))
        elif REAL in name:
            metric = parse_metric_name(name.replace(REAL, "_", 1))
            note = metric.protocol + (", between train and test split" if metric.base == "fid" else "")
            facts.append(Fact(f"{metric.title} of real images", write_score(value), note))
        elif isinstance(value, int | float):
            facts.append(Fact(name.replace("_", " "), f"{value:.4g}"))
    return facts


def compression_records(artifacts: Path, items: list[str]) -> list[ItemRecord]:
    """What each compression did; items without a record are left out."""
    records = []
    for item in items:
        folder = artifacts / "compress" / item
        record, metrics = _read(folder / "compression.json"), _read(folder / "metrics.json") or {}
        if record is not None:
            records.append(ItemRecord(item, _compression(record, metrics)))
    return records


def _compression(record: dict[str, Any], metrics: dict[str, Any]) -> list[Fact]:
    facts = [Fact("made from", str(record["source"]), f"md5 {record['source_md5'][:8]}")]
    for name in ("weight", "activation"):
        bits = record.get(f"{name}_bits")
        facts.append(Fact(f"{name}s", f"{bits} bits" if bits else "float32", record.get(f"{name}_scheme") or ""))
    calibration = record.get("calibration")
    if calibration:
        digest = f"seed {calibration['seed']}, sha256 {calibration['sha256'][:8]}"
        facts.append(Fact("calibrated on", f"{write_count(calibration['count'])} latents", digest))
    if "sparsity" in metrics:
        facts.append(
            Fact("zero weights", write_share(metrics["sparsity"]), f"{write_share(record['sparsity'])} asked for")
        )
    if "snr_db" in metrics:
        facts.append(Fact("SNR to its source", f"{metrics['snr_db']:.1f} dB", "on latents it was not calibrated on"))
    return facts


def card_records(artifacts: Path, items: list[str]) -> list[ItemRecord]:
    """The card of each edge file, checked against the file; items without a card are left out.

    Raises:
        CheckpointError: if an edge file is not the one its card describes.
    """
    records = []
    for item in items:
        path = artifacts / "export" / item / "generator.onnx"
        if path.with_name("card.json").exists():
            records.append(ItemRecord(item, _card(read_card(path), artifacts)))
    return records


def _card(card: Card, artifacts: Path) -> list[Fact]:
    proof, lineage = card.verification, card.lineage
    snr = "equal" if proof.snr_db is None else f"{proof.snr_db:.1f} dB"
    latents = f"{write_count(proof.images)} latents"
    return [
        Fact(
            "made from", lineage.source, _source_note(artifacts / lineage.source / "generator.pt", lineage.source_md5)
        ),
        Fact("numbers", card.number_type, f"{card.format} opset {card.opset}"),
        Fact("size", write_bytes(card.size_bytes), f"{write_count(card.size_bytes)} bytes"),
        Fact(
            "largest difference",
            f"{proof.max_abs_error:.2g}",
            f"allowed {proof.tolerance:.2g}; images in [-1, 1], {latents}",
        ),
        Fact("SNR", snr, f"to {card.verified_against}"),
        Fact("verified in", card.runtime),
        Fact("md5", card.md5[:8], "the file has this content"),
    ]


def _source_note(source: Path, recorded_md5: str) -> str:
    if not source.exists():
        return f"md5 {recorded_md5[:8]}"
    if file_digest(source, "md5") == recorded_md5:
        return f"md5 {recorded_md5[:8]}, the file measured here"
    return f"md5 {recorded_md5[:8]}, which is NOT the file measured here: export again"


def _passed(validation: dict[str, Any]) -> bool | None:
    success = validation.get("success")
    return success if isinstance(success, bool) else None


def _validation(validation: dict[str, Any]) -> list[Fact]:
    """Raw counts, and each check with what was allowed and found."""
    facts = [
        Fact(f"{split} images", write_count(count), "raw") for split, count in _in_order(validation.get("counts", {}))
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
