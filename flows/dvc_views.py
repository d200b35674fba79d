"""What DVC knows of a project, for `ganpress show`: its graph by families, its metrics by stages, its experiments.

DVC's own tables have a column for each metric of each stage, thousands of characters in all, and its graph has a box
for each item.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from flows.readable import Line
from ganpress.config.yaml_text import quoted
from ganpress.errors import ConfigError
from ganpress.executed_code.stages import CODE_STAGE

SUMMARY = "artifacts/report/summary.json"
HEAD = "workspace"


def draw_graph(root: Path, mermaid: bool) -> str:
    """Return the graph of the stages as a drawing of characters or as Mermaid text.

    The items of a family are one box, and an edge that others imply is left out, so that the drawing fits 80 columns.
    """
    import networkx
    from dvc.dagascii import draw

    graph = _repo(root).index.graph
    families = networkx.DiGraph()
    items: dict[str, int] = {}
    for stage in graph:
        if (name := _family(stage.addressing)) != CODE_STAGE:
            items[name] = items.get(name, 0) + ("@" in stage.addressing)
            families.add_node(name)
    for reader, read in graph.edges():
        pair = _family(read.addressing), _family(reader.addressing)
        if pair[0] != pair[1] and CODE_STAGE not in pair:
            families.add_edge(*pair)
    titles = {name: f"{name} ({count})" if count else name for name, count in items.items()}
    reduced = networkx.relabel_nodes(networkx.transitive_reduction(families), titles)
    nodes, edges = sorted(reduced.nodes), sorted(reduced.edges)
    if mermaid:
        named = {node: f'node{number}["{node}"]' for number, node in enumerate(nodes)}
        arrows = [f"{named[one].partition('[')[0]} --> {named[other].partition('[')[0]}" for one, other in edges]
        return "\n".join(["flowchart TD", *(f"    {line}" for line in (*named.values(), *arrows))])
    # DVC's drawing has the end of each arrow above its start.
    drawing = draw(nodes, [(other, one) for one, other in edges])
    return "\n".join(line.rstrip() for line in str(drawing).splitlines())


def stage_metrics(root: Path, stage: str | None, name: str | None) -> dict[str, dict[str, str]]:
    """Return the metrics of stages by the path of their file.

    Args:
        root: the project's root.
        stage: a stage or item; None takes all.
        name: a text that the names of the metrics hold; None takes all.

    Raises:
        ConfigError: if nothing is left.
    """
    wanted = None if stage is None else f"artifacts/{stage.replace('@', '/', 1)}/"
    found = {}
    for path, content in _metric_files(root):
        if wanted is None or path.startswith(wanted):
            values = {key: _written(value) for key, value in _flat(content) if name is None or name in key}
            if values:
                found[path] = values
    if not found:
        of = f" of {quoted(stage)}" if stage else ""
        named = f" whose name holds {quoted(name)}" if name else ""
        raise ConfigError(f"there are no metrics{of}{named}; `ganpress status` shows which stages have run")
    return found


def experiment_lines(root: Path) -> tuple[list[str], list[Line]]:
    """Return headings and rows of the experiments: the settings in which any of them differ, and the report's results.

    The first rows are the workspace and the commit that the experiments started from.
    """
    rows = _experiments(root)
    results = list(dict(_flat(_summary(root))))
    settings = [name for name in _settings(root) if len({_written(row.get(name)) for row in rows}) > 1]
    headings = [*settings, *results]
    lines = [
        Line(
            row["Experiment"] or row["rev"][:10],
            tuple(_written(row.get(name, row.get(f"{SUMMARY}:{name}"))) for name in headings),
        )
        for row in rows
    ]
    return headings, lines


def _repo(root: Path) -> Any:
    from dvc.repo import Repo

    return Repo(str(root))


def _family(addressing: str) -> str:
    return addressing.rpartition(":")[2].partition("@")[0]


def _metric_files(root: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    shown = _repo(root).metrics.show()
    for path, one in shown.get("", {}).get("data", {}).items():
        if isinstance(one.get("data"), dict):
            yield path, one["data"]


def _experiments(root: Path) -> list[dict[str, Any]]:
    from dvc.api import exp_show

    return [row for row in exp_show(str(root)) if isinstance(row.get("rev"), str)]


def _settings(root: Path) -> list[str]:
    from ganpress.config.base import read_yaml

    return [name for name, _ in _flat(read_yaml(root / "params.yaml"))]


def _summary(root: Path) -> Mapping[str, Any]:
    try:
        found = json.loads((root / SUMMARY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _flat(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in content.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _written(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.0f}" if value.is_integer() else f"{value:.6g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
