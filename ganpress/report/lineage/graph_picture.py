"""Lays out the lineage graph, from data to edge file, in layers with grandalf.

Edges that skip layers pass through waypoints, so that they run between boxes and not behind them.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from grandalf.graphs import Edge, Graph, Vertex
from grandalf.layouts import SugiyamaLayout, VertexViewer

BOX_WIDTH, BOX_HEIGHT = 132, 42
COLUMN_GAP, ROW_GAP, WAYPOINT_HEIGHT = 34, 12, 8
SWEEPS = 8
"""Rounds of crossing reduction."""
ARROW_HEAD = 5

Point = tuple[float, float]


@dataclass(frozen=True)
class Node:
    """A box: one stage or item."""

    reference: str
    digest: str | None
    x: float
    y: float
    """Position of the upper left corner."""
    proven: bool
    """Whether the best edge file was made from it."""

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
    points: Sequence[Point]
    proven: bool

    @property
    def path(self) -> str:
        """The SVG path, horizontal at every waypoint and smooth between."""
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
        """Return the references from which a file was made."""
        return sorted(arrow.source for arrow in self.arrows if arrow.target == reference)


def lay_out(
    edges: Sequence[tuple[str, str]], digests: Mapping[str, str], goal: str | None, aside: Collection[str] = ()
) -> Lineage:
    """Place the boxes and lines of an acyclic graph.

    Args:
        edges: (source, target) references.
        digests: md5 by reference, if known.
        goal: reference whose origins are emphasised.
        aside: references that are not emphasised in spite of their edges (candidates that were not chosen).
    """
    middles, routes = _place(list(dict.fromkeys(edges)))
    proven = _ancestors([edge for edge in edges if edge[0] not in aside], goal) if goal else set()
    nodes = [
        Node(name, digests.get(name), x - BOX_WIDTH / 2, y - BOX_HEIGHT / 2, name in proven)
        for name, (x, y) in middles.items()
    ]
    arrows = [Arrow(*edge, _line(route), proven.issuperset(edge)) for edge, route in routes.items()]
    arrows.sort(key=lambda arrow: arrow.proven)  # emphasised lines are drawn on top
    width = max(node.x for node in nodes) + BOX_WIDTH
    bottoms = [node.y + BOX_HEIGHT for node in nodes] + [y for arrow in arrows for _, y in arrow.points]
    return Lineage(nodes, arrows, width, max(bottoms))


def _place(edges: Sequence[tuple[str, str]]) -> tuple[dict[str, Point], dict[tuple[str, str], list[Point]]]:
    """Return the centres of the boxes, and the route of each edge: source, a waypoint for each layer between, target.

    grandalf lays layers out from top to bottom; here they go from left to right, so x and y are swapped. Unconnected
    parts of the graph are laid out separately and placed below each other.
    """
    vertices = {name: Vertex(name) for edge in edges for name in edge}
    for vertex in vertices.values():
        vertex.view = VertexViewer(w=BOX_HEIGHT, h=BOX_WIDTH)
    lines = {edge: Edge(*(vertices[name] for name in edge)) for edge in edges}
    bottom = 0.0
    waypoints: dict[Edge, dict[int, Vertex]] = {}
    """Ends and waypoints, by layer, of each edge that skips layers."""
    for part in Graph(list(vertices.values()), list(lines.values())).C:
        layout = SugiyamaLayout(part)
        layout.xspace, layout.yspace = ROW_GAP, COLUMN_GAP
        layout.init_all(inverted_edges=[])
        for vertex in (vertex for layer in layout.layers for vertex in layer if layout.grx[vertex].dummy):
            vertex.view.w = WAYPOINT_HEIGHT
        layout.draw(SWEEPS)
        views = [vertex.view for layer in layout.layers for vertex in layer]
        shift = bottom - min(view.xy[0] - view.w / 2 for view in views)
        for view in views:
            view.xy = (round(view.xy[0] + shift, 1), view.xy[1])
        bottom = max(view.xy[0] + view.w / 2 for view in views) + ROW_GAP
        waypoints |= layout.ctrls
    middles = {name: vertex.view.xy[::-1] for name, vertex in vertices.items()}
    routes = {}
    for edge, line in lines.items():
        passed = waypoints.get(line) or dict(enumerate(line.v))
        routes[edge] = [passed[layer].view.xy[::-1] for layer in sorted(passed)]
    return middles, routes


def _line(route: Sequence[Point]) -> list[Point]:
    """Return the points from the source's right side, through both sides of each waypoint's column, to the target's
    left.
    """
    half = BOX_WIDTH / 2
    sides = [(x + side, y) for x, y in route for side in (-half, half)]
    x, y = sides[-2]
    return [*sides[1:-2], (x - ARROW_HEAD, y)]


def _ancestors(edges: Sequence[tuple[str, str]], goal: str) -> set[str]:
    found, waiting = {goal}, [goal]
    while waiting:
        target = waiting.pop()
        for source, end in edges:
            if end == target and source not in found:
                found.add(source)
                waiting.append(source)
    return found
