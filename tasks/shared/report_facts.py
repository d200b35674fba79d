"""Collects facts for the report: compression records, edge cards, the machine."""

from pathlib import Path
from typing import Any

from ganpress.edge.proof.edge_card import Card, read_card
from ganpress.errors import CheckpointError, DataError, shown
from ganpress.files.checkpoint import file_digest
from ganpress.files.edge_files import edge_names, find_edge_file
from ganpress.files.plain_values import read_json
from ganpress.report.content import Fact, ItemRecord
from ganpress.report.notation import write_bytes, write_count, write_share
from tasks.shared.machine import read_machine


def machine_facts(artifacts: Path) -> list[Fact]:
    """Return processor, threads and runtime versions of the machine that ran the evaluation; empty if they were not
    recorded.

    Raises:
        DataError: if its file is damaged.
    """
    return [Fact(name, value) for name, value in read_machine(artifacts / "evaluate").items()]


def read_optional(path: Path) -> dict[str, Any] | None:
    """Read a JSON object whose file may not exist.

    Raises:
        DataError: if the file is not JSON.
    """
    if not path.exists():
        return None
    try:
        content = read_json(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is damaged ({shown(error)}); delete it and run `dvc repro` for its stage") from None
    return content if isinstance(content, dict) else None


def compression_records(artifacts: Path, items: list[str]) -> list[ItemRecord]:
    """Return the changes of each compression; items without a record are left out."""
    records = []
    for item in items:
        folder = artifacts / "compress" / item
        record, metrics = read_optional(folder / "compression.json"), read_optional(folder / "metrics.json") or {}
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
        facts.append(Fact("calibrated on", f"{write_count(calibration['count'])} inputs", digest))
    if "sparsity" in metrics:
        facts.append(
            Fact("zero weights", write_share(metrics["sparsity"]), f"{write_share(record['sparsity'])} asked for")
        )
    if "packed_bytes" in metrics:
        facts.append(Fact("packed file", write_bytes(metrics["packed_bytes"]), "decoded to what is measured here"))
    if "snr_db" in metrics:
        facts.append(Fact("SNR to its source", f"{metrics['snr_db']:.1f} dB", "on inputs it was not calibrated on"))
    return facts


def card_records(artifacts: Path, items: list[str]) -> list[ItemRecord]:
    """Return the card of each edge file after checking it against the file; items without a card are left out.

    Raises:
        CheckpointError: if an edge file is missing or does not match its card.
    """
    folders = {item: artifacts / "export" / item for item in items}
    cards = {item: _read_card(folder) for item, folder in folders.items() if (folder / "card.json").exists()}
    return [ItemRecord(item, _card(card, artifacts), card.format) for item, card in cards.items()]


def _read_card(folder: Path) -> Card:
    path = find_edge_file(folder)
    if path is None:
        raise CheckpointError(f"{folder} has a card but no edge file ({', '.join(edge_names())}); export again")
    return read_card(path)


def _card(card: Card, artifacts: Path) -> list[Fact]:
    proof, lineage = card.verification, card.lineage
    snr = "equal" if proof.snr_db is None else f"{proof.snr_db:.1f} dB"
    inputs = f"{write_count(proof.images)} inputs"
    return [
        Fact(
            "made from",
            lineage.source,
            _source_note(artifacts / lineage.source / "generator.safetensors", lineage.source_md5),
        ),
        Fact("numbers", card.number_type, card.format + (f" opset {card.opset}" if card.opset else "")),
        *_run_facts(card),
        Fact("size", write_bytes(card.size_bytes), f"{write_count(card.size_bytes)} bytes"),
        *_packed_facts(card),
        Fact(
            "largest difference",
            f"{proof.max_abs_error:.2g}",
            f"allowed {proof.tolerance:.2g}; images in [-1, 1], {inputs}",
        ),
        Fact("SNR", snr, f"to {card.verified_against}"),
        Fact(
            "verified in", card.runtime, f"not run here; computed by {card.stand_in} instead" if card.stand_in else ""
        ),
        Fact("md5", card.md5[:8], "the file has this content"),
    ]


def _packed_facts(card: Card) -> list[Fact]:
    if card.packed is None:
        return []
    decoded = f"{write_count(card.packed.size_bytes)} bytes, sha256 {card.packed.files[0].sha256[:8]}"
    return [Fact("decoded at load", write_bytes(card.packed.size_bytes), f"{decoded}; {card.packed.coding}")]


def _run_facts(card: Card) -> list[Fact]:
    """Return the facts of the target's own profile and timing, which cards of earlier versions lack."""
    facts = []
    if card.form_ms:
        times = ", ".join(f"{form} {milliseconds:.3g} ms" for form, milliseconds in card.form_ms.items())
        facts.append(Fact("form", card.form, f"measured: {times}"))
    if card.kernels is not None:
        share = f"{card.kernels.integer_layers} of {card.kernels.layers} layers in integers"
        facts.append(Fact("kernels", share, card.kernels.summary.partition("; ")[2]))
    if card.speed is not None:
        p95 = f"p95 {card.speed.latency_ms_p95:.3g} ms, one thread, one input"
        facts.append(Fact("latency at export", f"{card.speed.latency_ms_p50:.3g} ms", p95))
        if card.speed.peak_memory_bytes is not None:
            memory = write_bytes(card.speed.peak_memory_bytes)
            facts.append(Fact("peak memory", memory, "to load the runtime and the file and run it once"))
    return facts


def _source_note(source: Path, recorded_md5: str) -> str:
    if not source.exists():
        return f"md5 {recorded_md5[:8]}"
    if file_digest(source, "md5") == recorded_md5:
        return f"md5 {recorded_md5[:8]}, the file measured here"
    return f"md5 {recorded_md5[:8]}, which is NOT the file measured here: export again"
