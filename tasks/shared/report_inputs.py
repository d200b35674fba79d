"""Reads everything below artifacts/ as the content of the report. Absent files are left out; an error names a damaged
one.
"""

import csv
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ganpress.config.base import read_yaml
from ganpress.config.params import Params, load_params
from ganpress.errors import DataError, shown
from ganpress.files.array_files import read_arrays
from ganpress.files.checkpoint import file_digest
from ganpress.files.edge_files import find_edge_file
from ganpress.files.plain_values import read_json as read_whole
from ganpress.imported.import_card import imported_model
from ganpress.report.chain_values import (
    Candidate,
    Curve,
    LatencyPrediction,
    PredictedLatency,
    ScoredSubnet,
    SearchOutcome,
    Selection,
)
from ganpress.report.content import Gallery, Measured, ReportInputs
from ganpress.report.lineage.network_names import network_names
from ganpress.report.notation import parse_metric_name
from ganpress.tracking.provenance import git_tags
from tasks.shared.machine import read_peaks
from tasks.shared.report_data import data_facts
from tasks.shared.report_facts import card_records, compression_records, machine_facts
from tasks.shared.report_samples import step_samples
from tasks.shared.report_sensitivity import sensitivities
from tasks.shared.report_sweep import sweep_levels
from tasks.shared.stage import Stage, require

T = TypeVar("T")


def read_inputs(stage: Stage) -> ReportInputs:
    """Read everything that the report shows.

    Raises:
        DataError: if the evaluation is missing, or any file is damaged.
        ConfigError: if params.yaml is wrong.
    """
    artifacts = stage.root / "artifacts"
    params_file = stage.root / "params.yaml"
    params = load_params(params_file)
    metrics_file = require(artifacts / "evaluate" / "metrics.json", "evaluate")
    selection = _optional(artifacts / "teacher" / "selection.csv", _selection)
    search = _search(artifacts / "search")
    code = git_tags(stage.root)
    return ReportInputs(
        params=params,
        params_text=params_file.read_text(encoding="utf-8"),
        generators=[Measured(reference, row) for reference, row in read_json(metrics_file).items()],
        gallery=_gallery(artifacts / "evaluate" / "gallery.npz"),
        selection=selection,
        curves=_curves(artifacts, params),
        search=search,
        sweep=sweep_levels(artifacts, params.sweep),
        data=data_facts(artifacts),
        compressions=compression_records(artifacts, list(params.compress.items)),
        sensitivities=sensitivities(artifacts, list(params.compress.items)),
        cards=card_records(artifacts, list(params.export.items)),
        networks=network_names(
            params, selection.chosen.network if selection else None, search.best.spec if search else None
        ),
        digests=_digests(stage.root, params),
        commit=code.get("git.sha"),
        edited=code.get("git.dirty") == "true",
        edge_files={
            f"export/{item}": f"../{file.relative_to(artifacts).as_posix()}"
            for item in params.export.items
            if (file := find_edge_file(artifacts / "export" / item)) is not None
        },
        machine=machine_facts(artifacts),
        peaks=read_peaks(artifacts / "evaluate"),
        steps=step_samples(artifacts / "evaluate", params.seed),
    )


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        DataError: if the file contains anything else.
    """
    try:
        content = read_whole(path)
    except (OSError, ValueError) as error:
        raise _damaged(path, shown(error)) from None
    if not isinstance(content, dict):
        raise _damaged(path, f"an object is needed, found {type(content).__name__}")
    return content


def _damaged(path: Path, reason: object) -> DataError:
    return DataError(f"{path} is damaged ({reason}); delete it and run `dvc repro` for its stage")


def _optional(path: Path, read: Callable[[Path], T]) -> T | None:
    """Read a file that may not exist."""
    if not path.exists():
        return None
    try:
        return read(path)
    except (ValueError, KeyError, IndexError, TypeError, OverflowError, csv.Error) as error:
        raise _damaged(path, shown(f"{type(error).__name__}: {error}")) from None


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _gallery(path: Path) -> Gallery:
    pictures: dict[str, dict[str, NDArray[np.uint8]]] = {"samples": {}, "interpolation": {}}
    given: dict[str, NDArray[np.uint8]] = {}
    if path.exists():
        try:
            for key, value in read_arrays(path).items():
                kind, _, reference = key.partition("/")
                if reference:
                    pictures[kind][reference] = value
                else:
                    given[key] = value
        except (ValueError, KeyError) as error:
            raise _damaged(path, shown(error)) from None
    return Gallery(**pictures, source=given.get("source"), truth=given.get("truth"))


def _selection(path: Path) -> Selection:
    rows = _rows(path)
    candidates = [
        Candidate(row["item"], row["generator"], int(row["parameters"]), float(row["score"]), row["selected"] == "1")
        for row in rows
    ]
    if sum(one.selected for one in candidates) != 1:
        raise ValueError("one candidate must be selected")
    return Selection(parse_metric_name(rows[0]["metric"]), candidates)


def _curves(artifacts: Path, params: Params) -> list[Curve]:
    references = [f"candidate/{item}" for item in params.candidate.items]
    references += [f"control/{item}" for item in params.control.items]
    references += [f"student/{item}" for item in params.student.items] + ["supernet", "subnet"]
    curves = [
        _optional(artifacts / reference / "curves.csv", lambda path, name=reference: _curve(path, name))  # type: ignore[misc]
        for reference in references
    ]
    return [curve for curve in curves if curve is not None]


def _curve(path: Path, reference: str) -> Curve:
    rows = _rows(path)
    losses = {name: [float(row[name]) for row in rows] for name in rows[0] if name != "images"}
    return Curve(reference, [float(row["images"]) for row in rows], losses)


COSTS = ("parameters", "macs_exact", "size_bytes", "latency_ms_p50")
"""Columns of scores.csv with the costs of a sub-generator."""


def _search(folder: Path) -> SearchOutcome | None:
    scored = _optional(folder / "scores.csv", _subnets)
    front = _optional(folder / "front.csv", _subnets)
    file = folder / "best.json"
    if not scored or not front or not file.exists():
        return None
    best = read_json(file)
    chosen = next((one for one in scored if one.spec == best.get("spec")), None)
    if chosen is None:
        raise _damaged(file, f"its spec {best.get('spec')} is not in scores.csv")
    metric = parse_metric_name(str(best.get("metric")))
    speed = best.get("subnets_per_second"), best.get("workers")
    try:
        return SearchOutcome(metric, scored, front, chosen, *speed, _prediction(best))
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(file, f"{type(error).__name__}: {error}") from None


def _prediction(best: Mapping[str, Any]) -> LatencyPrediction | None:
    """Return the facts about latencies that the search predicted."""
    if "latency_samples" not in best:
        return None
    return LatencyPrediction(
        str(best["latency_runtime"]),
        int(best["latency_layers"]),
        float(best["latency_error_median"]),
        float(best["latency_error_p90"]),
        best.get("latency_rank_correlation"),
        [PredictedLatency(**one) for one in best["latency_samples"]],
    )


def _subnets(path: Path) -> list[ScoredSubnet]:
    """Read rows of spec, costs, metric, on_front."""
    rows = _rows(path)
    metric = list(rows[0])[-2]
    return [
        ScoredSubnet(row["spec"], {name: float(row[name]) for name in COSTS if name in row}, float(row[metric]))
        for row in rows
    ]


def _digests(root: Path, params: Params) -> dict[str, str]:
    """Return the md5 of each stage's main file, which is the one in dvc.lock."""
    artifacts = root / "artifacts"
    files: dict[str, Path] = {
        "prepare": artifacts / "prepare" / "train.npy",
        "judge": artifacts / "judge" / "judge.safetensors",
        "supernet": artifacts / "supernet" / "supernet.safetensors",
        "search": artifacts / "search" / "best.json",
    }
    families: Mapping[str, Mapping[str, object]] = {
        "candidate": params.candidate.items,
        "student": params.student.items,
        "control": params.control.items,
        "compress": params.compress.items,
    }
    if any(one.imported for one in params.candidate.items.values()):
        files[params.candidate.imported] = imported_model(root / params.candidate.imported)
    plain = ["teacher", "subnet", *(f"{stage}/{item}" for stage, items in families.items() for item in items)]
    files |= {reference: artifacts / reference / "generator.safetensors" for reference in plain}
    exports = {f"export/{item}": find_edge_file(artifacts / "export" / item) for item in params.export.items}
    files |= {reference: path for reference, path in exports.items() if path is not None}
    digests = {reference: file_digest(path, "md5") for reference, path in files.items() if path.exists()}
    pinned = root / "data.dvc"
    if pinned.exists():
        outs = read_yaml(pinned).get("outs") or [{}]
        if outs[0].get("md5"):
            digests["data"] = str(outs[0]["md5"]).removesuffix(".dir")
    return digests
