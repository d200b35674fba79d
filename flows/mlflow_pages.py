"""The pages of the MLflow user interface that answer a question, as links that open on them.

The table of models can neither be filtered nor sorted by a metric; the table of runs can. Each generator's numbers are
logged with the run that made it too, so saved views of that table are the pages that compare generators.
"""

import json
import urllib.request
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from ganpress.errors import ConfigError
from ganpress.ranking import Table, find_metric, higher_is_better

MODEL_TRAINING = "workflowType=machine_learning"
"""Without it the pages open for chat applications, where models are hidden."""
COMPARED_RUNS = 12
COLUMNS = ("fid", "latency_ms_p50", "size_bytes")
"""Beside the metric that sorts; more would not be seen without scrolling."""
TAG_OF_VIEW = "mlflow.sharedViewState."


@dataclass(frozen=True)
class Page:
    title: str
    link: str


@dataclass(frozen=True)
class _Run:
    name: str
    run_id: str
    metrics: dict[str, float]


def pages(address: str, max_bytes: int | None) -> list[Page]:
    """Save the views in the store behind the server at `address`, and return the links, the best answer first."""
    experiment = _experiment_id(address)
    if experiment is None:
        return [Page("MLflow (nothing tracked yet)", f"{address}/#/experiments?{MODEL_TRAINING}")]
    home = f"{address}/#/experiments/{experiment}"
    runs = _newest_generator_runs(address, experiment)
    return [
        *_comparisons(address, experiment, {run.name: run.metrics for run in runs}, max_bytes),
        *_trade_offs(address, experiment, runs),
        Page("generators, lineage", f"{home}/models?{MODEL_TRAINING}"),
        Page("runs of all stages", f"{home}/runs?{MODEL_TRAINING}"),
        Page("edge files, aliases", f"{address}/#/models/ganpress-edge?{MODEL_TRAINING}"),
    ]


def _comparisons(address: str, experiment: str, table: Table, max_bytes: int | None) -> list[Page]:
    try:
        best = find_metric(table, None)
    except ConfigError:  # nothing is evaluated yet
        return []
    home = f"{address}/#/experiments/{experiment}/runs?{MODEL_TRAINING}&viewStateShareKey="
    found = []
    if max_bytes is not None:
        _save_view(address, experiment, "best-under-budget", _view(table, best, max_bytes))
        found.append(Page(f"best under {max_bytes:,} bytes", f"{home}best-under-budget"))
    _save_view(address, experiment, "all-generators", _view(table, best, None))
    return [*found, Page("all generators", f"{home}all-generators")]


def _view(table: Table, best: str, max_bytes: int | None) -> dict[str, object]:
    """What the runs page keeps of a saved view: filter, order, columns."""
    conditions = [f"metrics.`{best}` > 0", "tags.current = 'true'"]
    if max_bytes is not None:
        conditions.insert(0, f"metrics.size_bytes <= {max_bytes}")
    names = [best]
    for family in COLUMNS:
        try:
            names.append(find_metric(table, family))
        except ConfigError:
            continue
    return {
        "searchFilter": " AND ".join(conditions),
        "orderByKey": f"metrics.`{best}`",
        "orderByAsc": not higher_is_better(best),
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
        "selectedColumns": [*(f"metrics.`{name}`" for name in names), "tags.`family`", "tags.`recipe`"],
    }


def _save_view(address: str, experiment: str, key: str, view: dict[str, object]) -> None:
    tag = {"experiment_id": experiment, "key": f"{TAG_OF_VIEW}{key}", "value": json.dumps(view)}
    _call(f"{address}/api/2.0/mlflow/experiments/set-experiment-tag", tag)


def _trade_offs(address: str, experiment: str, runs: list[_Run]) -> list[Page]:
    measured = [run.run_id for run in runs if "latency_ms_p50" in run.metrics][:COMPARED_RUNS]
    if len(measured) < 2:
        return []
    chosen, experiments = quote(json.dumps(measured, separators=(",", ":"))), quote(json.dumps([experiment]))
    link = f"{address}/#/compare-runs?runs={chosen}&experiments={experiments}&{MODEL_TRAINING}"
    return [Page("plots (pick the axes)", link)]


def _experiment_id(address: str) -> str | None:
    try:
        found = _call(f"{address}/api/2.0/mlflow/experiments/get-by-name?experiment_name=ganpress")
    except OSError:
        return None
    return str(found["experiment"]["experiment_id"])


def _newest_generator_runs(address: str, experiment: str) -> list[_Run]:
    query = {
        "experiment_ids": [experiment],
        "filter": "attributes.status = 'FINISHED' AND tags.current = 'true'",
        "order_by": ["attributes.start_time DESC"],
        "max_results": 200,
    }
    newest: dict[str, _Run] = {}
    for run in _call(f"{address}/api/2.0/mlflow/runs/search", query).get("runs", []):
        metrics = {metric["key"]: float(metric["value"]) for metric in run["data"].get("metrics", [])}
        name = run["info"]["run_name"]
        newest.setdefault(name, _Run(name, run["info"]["run_id"], metrics))
    return list(newest.values())


def _call(url: str, body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)
