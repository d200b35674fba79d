"""The lineage graph from data to edge file: which stage each file came from, laid out in layers.

Layers by longest path, crossings reduced by barycentre sweeps (Sugiyama et al. 1981). Edges that skip layers pass
through points of their own, so that they run between boxes and not under them.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

BOX_WIDTH, BOX_HEIGHT = 132, 42
COLUMN_GAP, ROW_GAP, WAYPOINT_HEIGHT = 34, 12, 8
SWEEPS = 8


@dataclass(frozen=True)
class Node:
    """A box: one stage or item."""

    reference: str
    digest: str | None
    x: float
    y: float
    """Left upper corner."""
    proven: bool
    """Whether it lies on the way to the best edge file."""

    @property
    def stage(self) -> str:
        return self.reference.partition("/")[0]

    @property
    def item(self) -> str | None:
        return self.reference.partition("/")[2] or None


@dataclass(frozen=True)
class Arrow:
    """A line from one box to another."""

    source: str
    target: str
    points: Sequence[tuple[float, float]]
    proven: bool

    @property
    def path(self) -> str:
        """SVG path: level at every waypoint, smooth between."""
        x, y = self.points[0]
        parts = [f"M{x:g},{y:g}"]
        for (x0, y0), (x1, y1) in pairwise(self.points):
            middle = (x0 + x1) / 2
            parts.append(f"C{middle:g},{y0:g} {middle:g},{y1:g} {x1:g},{y1:g}")
        return " ".join(parts)


@dataclass(frozen=True)
class Lineage:
    """The whole graph."""

    nodes: Sequence[Node]
    arrows: Sequence[Arrow]
    width: float
    height: float

    def sources(self, reference: str) -> list[str]:
        """What a file was made from."""
        return sorted(arrow.source for arrow in self.arrows if arrow.target == reference)


@dataclass
class _Graph:
    """Layers of vertex names; names with `>` are waypoints."""

    layers: list[list[str]]
    links: list[tuple[str, str]]
    routes: dict[tuple[str, str], list[str]] = field(default_factory=dict)


def lay_out(
    edges: Sequence[tuple[str, str]], digests: Mapping[str, str], goal: str | None, aside: Collection[str] = ()
) -> Lineage:
    """Place the boxes and lines of an acyclic graph.

    Args:
        edges: (source, target) references.
        digests: md5 by reference, where known.
        goal: the way to it is emphasised.
        aside: references that are not on that way, although an edge says so (candidates that were not chosen).
    """
    graph = _layered(edges)
    _reduce_crossings(graph)
    heights = {name: WAYPOINT_HEIGHT if ">" in name else BOX_HEIGHT for layer in graph.layers for name in layer}
    tops = _tops(graph, heights)
    columns = {name: index * (BOX_WIDTH + COLUMN_GAP) for index, layer in enumerate(graph.layers) for name in layer}
    proven = _ancestors([edge for edge in edges if edge[0] not in aside], goal) if goal else set()
    nodes = [
        Node(name, digests.get(name), columns[name], tops[name], name in proven)
        for layer in graph.layers
        for name in layer
        if ">" not in name
    ]
    middles = {name: top + heights[name] / 2 for name, top in tops.items()}
    arrows = [_arrow(edge, graph.routes[edge], columns, middles, proven) for edge in graph.routes]
    arrows.sort(key=lambda arrow: arrow.proven)  # emphasised lines on top
    width = len(graph.layers) * (BOX_WIDTH + COLUMN_GAP) - COLUMN_GAP
    return Lineage(nodes, arrows, width, max(top + heights[name] for name, top in tops.items()))


def _layered(edges: Sequence[tuple[str, str]]) -> _Graph:
    """Put each vertex one layer behind its last source, and waypoints into the layers that an edge skips."""
    names = list(dict.fromkeys(name for edge in edges for name in edge))
    depth = dict.fromkeys(names, 0)
    for _ in names:  # relaxation: at most as many rounds as vertices, because there is no cycle
        for source, target in edges:
            depth[target] = max(depth[target], depth[source] + 1)
    layers: list[list[str]] = [[] for _ in range(max(depth.values()) + 1)]
    for name in names:
        layers[depth[name]].append(name)
    graph = _Graph(layers, [])
    for source, target in dict.fromkeys(edges):
        between = range(depth[source] + 1, depth[target])
        waypoints = [f"{source}>{target}>{layer}" for layer in between]
        for layer, waypoint in zip(between, waypoints, strict=True):
            layers[layer].append(waypoint)
        graph.routes[source, target] = [source, *waypoints, target]
        graph.links += pairwise(graph.routes[source, target])
    return graph


def _reduce_crossings(graph: _Graph) -> None:
    """Order each layer by the mean place of its neighbours, forwards and backwards in turn."""
    sources: dict[str, list[str]] = {}
    targets: dict[str, list[str]] = {}
    for source, target in graph.links:
        sources.setdefault(target, []).append(source)
        targets.setdefault(source, []).append(target)
    for sweep in range(SWEEPS):
        neighbours, layers = (sources, graph.layers) if sweep % 2 == 0 else (targets, graph.layers[::-1])
        for fixed, moving in pairwise(layers):
            place = {name: (index + 0.5) / len(fixed) for index, name in enumerate(fixed)}
            own = {name: (index + 0.5) / len(moving) for index, name in enumerate(moving)}
            moving.sort(key=lambda name: _mean((place[one] for one in neighbours.get(name, ())), own[name]))


def _mean(values: Iterable[float], default: float) -> float:
    found = list(values)
    return sum(found) / len(found) if found else default


def _tops(graph: _Graph, heights: Mapping[str, float]) -> dict[str, float]:
    """Pull every vertex towards its neighbours' height, keeping order and gaps."""
    tops: dict[str, float] = {}
    for layer in graph.layers:
        top = 0.0
        for name in layer:
            tops[name] = top
            top += heights[name] + ROW_GAP
    near: dict[str, list[str]] = {name: [] for name in tops}
    for source, target in graph.links:
        near[source].append(target)
        near[target].append(source)
    for _ in range(4 * SWEEPS):
        for layer in graph.layers:
            wanted = {
                name: _mean((tops[one] + heights[one] / 2 for one in near[name]), tops[name]) - heights[name] / 2
                for name in layer
            }
            tops |= _without_overlap(layer, wanted, heights)
    highest = min(tops.values())
    return {name: round(top - highest, 1) for name, top in tops.items()}


def _without_overlap(
    layer: Sequence[str], wanted: Mapping[str, float], heights: Mapping[str, float]
) -> dict[str, float]:
    """The places nearest to the wanted ones (least squares) that keep order and gaps: pool adjacent violators."""
    offsets, total = {}, 0.0
    for name in layer:
        offsets[name] = total
        total += heights[name] + ROW_GAP
    pools: list[tuple[float, list[str]]] = []
    for name in layer:
        mean, members = wanted[name] - offsets[name], [name]
        while pools and pools[-1][0] > mean:
            earlier_mean, earlier = pools.pop()
            mean = (earlier_mean * len(earlier) + mean * len(members)) / (len(earlier) + len(members))
            members = earlier + members
        pools.append((mean, members))
    return {name: mean + offsets[name] for mean, members in pools for name in members}


def _arrow(
    edge: tuple[str, str],
    route: Sequence[str],
    columns: Mapping[str, float],
    middles: Mapping[str, float],
    proven: set[str],
) -> Arrow:
    points = [(columns[route[0]] + BOX_WIDTH, middles[route[0]])]
    for waypoint in route[1:-1]:
        points += [(columns[waypoint], middles[waypoint]), (columns[waypoint] + BOX_WIDTH, middles[waypoint])]
    points.append((columns[route[-1]] - 5, middles[route[-1]]))  # 5: the arrow's head
    return Arrow(*edge, points, edge[0] in proven and edge[1] in proven)


def _ancestors(edges: Sequence[tuple[str, str]], goal: str) -> set[str]:
    found, waiting = {goal}, [goal]
    while waiting:
        target = waiting.pop()
        for source, end in edges:
            if end == target and source not in found:
                found.add(source)
                waiting.append(source)
    return found
