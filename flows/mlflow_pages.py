"""Links to the pages of the MLflow user interface that answer a question.

The table of models can neither be filtered nor sorted by a metric; the table of runs can. The numbers of each
generator are also logged with the run that made it, so saved views of that table compare generators.
"""

import json
import os
import urllib.request
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from flows.ports import LOCAL
from ganpress.basics.request_guard import basic, configured_login
from ganpress.errors import ConfigError
from ganpress.metrics.ranking import Table, file_to_ship, find_metric, higher_is_better

MODEL_TRAINING = "workflowType=machine_learning"
"""Without this parameter the pages open in the mode for chat applications, which hides models."""
COLUMNS = ("fid", "latency_ms_p50", "size_bytes")
"""Columns beside the metric that sorts; more would not be visible without scrolling."""
TRADE_OFFS = (("size_bytes", "is"), ("size_bytes", "fid"), ("latency_ms_p50", "is"), ("latency_ms_p50", "fid"))
"""Metrics of the scatter plots: cost on the x axis, quality on the y axis."""
SECTION = "ganpress"
TAG_OF_VIEW = "mlflow.sharedViewState."


@dataclass(frozen=True)
class Page:
    title: str
    link: str


def pages(address: str, max_bytes: int | None) -> list[Page]:
    """Save the views in the store behind the server at `address`, and return the links, the best answer first."""
    experiment = _experiment_id(address)
    if experiment is None:
        return [Page("MLflow (nothing tracked yet)", f"{address}/#/experiments?{MODEL_TRAINING}")]
    home = f"{address}/#/experiments/{experiment}"
    table = _newest_generators(address, experiment)
    return [
        *_comparisons(address, experiment, table, max_bytes),
        *_trade_offs(address, experiment, table),
        Page("generators, lineage", f"{home}/models?{MODEL_TRAINING}"),
        Page("runs of all stages", _runs_page(address, experiment)),
        *_registries(address),
    ]


def _comparisons(address: str, experiment: str, table: Table, max_bytes: int | None) -> list[Page]:
    try:
        best = find_metric(table, None)
    except ConfigError:  # Nothing has been evaluated yet.
        return []
    home = f"{_runs_page(address, experiment)}&viewStateShareKey="
    found = []
    edges = {name.replace("@", "/"): row for name, row in table.items()}
    ship = file_to_ship(edges, best, max_bytes)
    if ship is not None:
        view = _view(table, best, max_bytes, "attributes.run_name LIKE 'export@%'")
        _save_view(address, experiment, "edge-files", view)
        found.append(Page(f"ship {ship.reference}: {ship.sentence}", f"{home}edge-files"))
    _save_view(address, experiment, "all-generators", _view(table, best, None))
    return [*found, Page("all generators", f"{home}all-generators")]


def _view(table: Table, best: str, max_bytes: int | None, *more: str) -> dict[str, object]:
    """Return the state of a saved view of the runs page: filter, order and columns."""
    conditions = [f"metrics.`{best}` > 0", "tags.current = 'true'", *more]
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


def _trade_offs(address: str, experiment: str, table: Table) -> list[Page]:
    charts = []
    for cost, quality in TRADE_OFFS:
        try:
            charts.append(_scatter(find_metric(table, cost), find_metric(table, quality)))
        except ConfigError:
            continue
    if not charts:
        return []
    section = {"uuid": SECTION, "name": "Quality against cost", "display": True, "isReordered": False}
    view = _view(table, find_metric(table, None), None)
    view |= {"runsHiddenMode": "SHOWALL", "compareRunSections": [section], "compareRunCharts": charts}
    _save_view(address, experiment, "quality-against-cost", view)
    link = f"{_runs_page(address, experiment)}&viewStateShareKey=quality-against-cost&compareRunsMode=CHART"
    return [Page("plots: quality against cost", link)]


def _scatter(cost: str, quality: str) -> dict[str, object]:
    """Return the state of a scatter plot of the runs page, with one point for each generator."""
    return {
        "type": "SCATTER",
        "uuid": f"{SECTION}-{cost}-{quality}",
        "metricSectionId": SECTION,
        "isGenerated": False,
        "deleted": False,
        "xaxis": {"key": cost, "type": "METRIC"},
        "yaxis": {"key": quality, "type": "METRIC"},
    }


def _registries(address: str) -> list[Page]:
    """Return a page for each registered model: one for the default parameters and one for each recipe that was run."""
    found = _call(f"{address}/api/2.0/mlflow/registered-models/search?max_results=100").get("registered_models", [])
    names = sorted(model["name"] for model in found)
    return [Page(f"edge files: {name}", f"{address}/#/models/{quote(name)}?{MODEL_TRAINING}") for name in names]


def _runs_page(address: str, experiment: str) -> str:
    return f"{address}/#/experiments/{experiment}/runs?{MODEL_TRAINING}"


def _experiment_id(address: str) -> str | None:
    try:
        found = _call(f"{address}/api/2.0/mlflow/experiments/get-by-name?experiment_name=ganpress")
    except OSError:
        return None
    return str(found["experiment"]["experiment_id"])


def _newest_generators(address: str, experiment: str) -> Table:
    """Read the metrics of the newest current run of each name."""
    query = {
        "experiment_ids": [experiment],
        "filter": "attributes.status = 'FINISHED' AND tags.current = 'true'",
        "order_by": ["attributes.start_time DESC"],
        "max_results": 200,
    }
    newest: dict[str, dict[str, float]] = {}
    for run in _call(f"{address}/api/2.0/mlflow/runs/search", query).get("runs", []):
        metrics = {metric["key"]: float(metric["value"]) for metric in run["data"].get("metrics", [])}
        newest.setdefault(run["info"]["run_name"], metrics)
    return newest


def _call(url: str, body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    login = configured_login(os.environ)
    headers = {"Content-Type": "application/json"} | ({"Authorization": basic(login)} if login else {})
    request = urllib.request.Request(url, data, headers)
    with LOCAL.open(request, timeout=30) as answer:
        return json.load(answer)
