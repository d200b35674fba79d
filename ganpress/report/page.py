"""The report as an HTML page and as Markdown, from typed content through two templates."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganpress.report.caveats import caveats
from ganpress.report.content import Measured, ReportInputs, record_columns
from ganpress.report.drawing import MARKER_PATHS, Drawing
from ganpress.report.figures import GROUP_NAMES, depth_chart, pareto_charts
from ganpress.report.headline import Headline, headline
from ganpress.report.lineage import BOX_HEIGHT, BOX_WIDTH, Lineage, lay_out, lineage_edges
from ganpress.report.notation import write_count, write_score
from ganpress.report.strips import strip_png
from ganpress.report.tables import Table, headline_table, quality_table, remaining_table
from ganpress.report.training_figures import curve_charts, search_charts, selection_chart

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Strip:
    """The pictures of one generator as one row."""

    name: str
    """File name without suffix."""
    reference: str
    group: str
    note: str
    png: bytes
    width: int
    """In pixels."""


@dataclass(frozen=True)
class Content:
    """Everything drawn and written, ready for either template."""

    inputs: ReportInputs
    headline: Headline
    tables: Sequence[Table]
    pareto: Sequence[Drawing]
    pareto_more: Sequence[Drawing]
    depth: Sequence[Drawing]
    samples: Sequence[Strip]
    interpolation: Sequence[Strip]
    training: Sequence[Drawing]
    search: Sequence[Drawing]
    lineage: Lineage
    caveats: Sequence[str]

    @property
    def drawings(self) -> list[Drawing]:
        """All charts."""
        return [*self.pareto, *self.pareto_more, *self.depth, *self.training, *self.search]

    @property
    def strips(self) -> list[Strip]:
        """All rows of pictures."""
        return [*self.samples, *self.interpolation]


@dataclass(frozen=True)
class Report:
    """The finished documents."""

    html: str
    markdown: str
    pictures: Mapping[str, bytes]
    """PNG bytes by file name; the Markdown shows them, the page holds its own."""


def build_report(inputs: ReportInputs) -> Report:
    """Draw and write the whole report. Equal inputs give equal bytes.

    Raises:
        DataError: if the teacher, or any of IS, FID and KID, was not measured.
    """
    content = _content(inputs)
    pictures = {f"{drawing.name}.png": drawing.png for drawing in content.drawings}
    pictures |= {f"{strip.name}.png": strip.png for strip in content.strips}
    return Report(_render("report.html.j2", content), _render("report.md.j2", content), pictures)


def _content(inputs: ReportInputs) -> Content:
    main = inputs.main_metric
    others = [metric for base in ("is", "fid") if (metric := inputs.metric(base)) is not None and metric != main]
    depth = [depth_chart(inputs, metric) for metric in (main, *others)]
    return Content(
        inputs=inputs,
        headline=headline(inputs),
        tables=[headline_table(inputs), quality_table(inputs), remaining_table(inputs)],
        pareto=pareto_charts(inputs, main),
        pareto_more=[drawing for metric in others for drawing in pareto_charts(inputs, metric)],
        depth=[drawing for drawing in depth if drawing is not None],
        samples=_strips(inputs, inputs.gallery.samples, "samples"),
        interpolation=_strips(inputs, inputs.gallery.interpolation, "interpolation"),
        training=[*([selection_chart(inputs.selection)] if inputs.selection else []), *curve_charts(inputs.curves)],
        search=search_charts(inputs.search, inputs) if inputs.search else [],
        lineage=_lineage(inputs),
        caveats=caveats(inputs),
    )


def _strips(inputs: ReportInputs, pictures: Mapping[str, NDArray[np.uint8]], kind: str) -> list[Strip]:
    """Rows in the order of the tables: teacher, each student above its control, subnet, compressed, edge."""
    table = headline_table(inputs)
    order = [row.reference for group in table.groups for row in group.rows]
    strips = []
    for reference in order:
        if reference in pictures:
            one = inputs.generator(reference)
            assert one is not None  # the table lists the generators themselves
            images = pictures[reference]
            name = f"{kind}-{reference.replace('/', '-')}"
            png = strip_png(images)
            strips.append(
                Strip(name, reference, one.group, _score_note(inputs, one), png, images.shape[-1] * len(images))
            )
    return strips


def _score_note(inputs: ReportInputs, one: Measured) -> str:
    metric = inputs.main_metric
    value = one.metrics.get(metric.raw)
    return "" if value is None else f"{metric.title} {write_score(value)}"


def _lineage(inputs: ReportInputs) -> Lineage:
    best = inputs.best_edge_file()
    chosen = {one.item for one in inputs.selection.candidates if one.selected} if inputs.selection else set()
    aside = {f"candidate/{item}" for item in inputs.params.candidate.items if chosen and item not in chosen}
    return lay_out(lineage_edges(inputs.params), inputs.digests, best.reference if best else None, aside)


def _render(template: str, content: Content) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=template.endswith(".html.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["data_uri"] = lambda png: f"data:image/png;base64,{base64.b64encode(png).decode()}"
    environment.filters["count"] = write_count
    environment.filters["exact"] = repr
    environment.filters["cell"] = lambda text: str(text).replace("|", "\\|").replace("\n", " ")
    values: dict[str, Any] = {
        "content": content,
        "inputs": content.inputs,
        "groups": GROUP_NAMES,
        "main": content.inputs.main_metric,
        "css": Markup((TEMPLATES / "report.css").read_text(encoding="utf-8")),
        "script": Markup((TEMPLATES / "report.js").read_text(encoding="utf-8")),
        "safe_svg": Markup,
        "record_columns": record_columns,
        "marker_paths": MARKER_PATHS,
        "box_width": BOX_WIDTH,
        "box_height": BOX_HEIGHT,
    }
    return environment.get_template(template).render(values)
