"""Reads the inputs of the gates from the stages' files, and writes their verdict."""

import csv
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path

from ganpress.config.params import Params
from ganpress.data.gate.expectations import CheckResult
from ganpress.data.prepared.arrays import read_meta
from ganpress.errors import DataError
from ganpress.evaluation.metric_gates import CHAMPION, Measurements, judge_results, sentences
from ganpress.metrics.gate_verdict import VERDICT, GateVerdict, metrics_digest
from ganpress.metrics.ranking import Table
from ganpress.metrics.version_score import Champion
from ganpress.report.content import Fact
from ganpress.tracking.model_registry import registered_name
from ganpress.tracking.promotion import champion_of
from ganpress.tracking.recorders import tracking_mode
from tasks.shared.sample_files import TABLE
from tasks.shared.stage import Stage


def judge_evaluation(stage: Stage, params: Params, table: Table) -> tuple[GateVerdict, list[CheckResult]]:
    """Check the last evaluation against the limits of `gates`, and write the verdict beside the report.

    Args:
        stage: stage that shows the verdict.
        params: all parameters.
        table: metrics of each generator by reference.

    Raises:
        DataError: if the evaluation's samples are damaged.
        ServiceUnavailable: if the champion is needed but the registry cannot be used.
    """
    results = judge_results(params.gates, _measurements(stage, params, table)) if params.gates.has_limits else []
    warns = {CHAMPION} if params.gates.champion == "warn" else set()
    verdict = GateVerdict(
        metrics_digest(stage.root),
        len(results),
        tuple(sentences(one for one in results if one.name not in warns)),
        tuple(sentences(one for one in results if one.name in warns)),
    )
    verdict.save(stage.root / VERDICT, [asdict(one) for one in results])
    return verdict, results


def gate_facts(results: list[CheckResult]) -> list[Fact]:
    """Return one line for each gate: its verdict, the limit and what was found."""
    return [
        Fact(
            one.name.replace("_", " "),
            "passed" if one.success else "FAILED",
            f"allowed: {one.limit}; {one.unexpected} of {one.examined} break it",
        )
        for one in results
    ]


def _measurements(stage: Stage, params: Params, table: Table) -> Measurements:
    exports = {f"export/{item}": one.generator for item, one in params.export.items.items()}
    return Measurements(
        table,
        exports,
        _classes(stage, [one for one in exports if one in table]) if params.gates.min_class_share is not None else {},
        params.evaluate.max_bytes,
        _champion(stage.root) if params.gates.champion is not None else None,
    )


def _champion(root: Path) -> Champion | None:
    """Return the present champion; one that is promoted later is compared with a later evaluation."""
    return None if tracking_mode() == "off" else champion_of(root, registered_name())


def _classes(stage: Stage, exports: Collection[str]) -> Mapping[str, Mapping[str, int]]:
    """Count the pictures of each class that each edge file drew."""
    names = read_meta(stage.artifact("prepare")).classes
    counts = {one: Counter(dict.fromkeys(names, 0)) for one in exports}
    path = stage.artifact("evaluate") / TABLE
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                if row["generator"] in counts:
                    counts[row["generator"]][row["class_after"]] += 1
    except (OSError, KeyError, ValueError, csv.Error) as error:
        raise DataError(f"{path} is damaged ({type(error).__name__}); run `dvc repro evaluate` again") from None
    return counts
