"""Builds the report as an HTML page and as Markdown, from typed content and two templates."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganpress.report.caveats import caveats
from ganpress.report.chain_values import SearchOutcome
from ganpress.report.content import ItemRecord, ReportInputs, record_columns
from ganpress.report.figures.drawing import MARKER_PATHS, Drawing
from ganpress.report.figures.gain_figures import gain_chart
from ganpress.report.figures.prediction_figures import prediction_chart
from ganpress.report.figures.quality_figures import GROUP_NAMES, pareto_charts
from ganpress.report.figures.roofline_figures import roofline_chart, roofline_table
from ganpress.report.figures.search_figures import search_charts
from ganpress.report.figures.sensitivity_figures import sensitivity_charts
from ganpress.report.figures.size_figures import size_chart
from ganpress.report.figures.tradeoff_figures import size_charts, tradeoff_charts
from ganpress.report.figures.training_figures import curve_charts, selection_chart
from ganpress.report.gains import gains
from ganpress.report.headline import Headline, headline
from ganpress.report.lineage.graph_picture import BOX_HEIGHT, BOX_WIDTH, Lineage, lay_out
from ganpress.report.lineage.origins import lineage_edges
from ganpress.report.notation import MetricName, write_count, write_score
from ganpress.report.pictures.image_strips import Strip, interpolation_strips, sample_strips
from ganpress.report.pictures.label_pictures import LabelColour, label_legend
from ganpress.report.pictures.sample_strips import changed_strips, step_records
from ganpress.report.tables.certainty_tables import certainty_table
from ganpress.report.tables.chain_tables import front_table, gain_table
from ganpress.report.tables.grid import Table
from ganpress.report.tables.result_tables import headline_table, quality_table, remaining_table
from ganpress.report.tables.tradeoff_tables import tradeoff_table
from ganpress.report.tradeoff import answer

TEMPLATES = Path(__file__).parent / "templates"
MORE = ("is", "fid", "psnr")
"""The first of these that is not the main metric gets charts as well, in a folded section."""


@dataclass(frozen=True)
class Content:
    """All drawings, tables and texts for the templates."""

    inputs: ReportInputs
    headline: Headline
    tables: Sequence[Table]
    pareto: Sequence[Drawing]
    pareto_more: Sequence[Drawing]
    size: Sequence[Drawing]
    gains: Sequence[Drawing]
    gain_table: Table | None
    samples: Sequence[Strip]
    legend: Sequence[LabelColour]
    """Legend of label maps; empty if none are shown."""
    interpolation: Sequence[Strip]
    selection: Sequence[Drawing]
    curves: Sequence[Drawing]
    search: Sequence[Drawing]
    front: Table | None
    certainty: Table | None
    steps: Sequence[ItemRecord]
    changed: Sequence[Strip]
    tradeoff: Sequence[Drawing]
    tradeoff_bytes: Sequence[Drawing]
    tradeoff_table: Table | None
    tradeoff_answers: Sequence[str]
    sensitivity: Sequence[Drawing]
    roofline: Sequence[Drawing]
    roofline_table: Table | None
    lineage: Lineage
    caveats: Sequence[str]

    @property
    def metrics(self) -> list[MetricName]:
        """Return the quality metrics of the page, each once."""
        found = {name.title: name for name in self.inputs.metric_names() if name.is_measurement}
        return list(found.values())

    @property
    def drawings(self) -> list[Drawing]:
        """Return all charts."""
        quality = [*self.pareto, *self.pareto_more, *self.gains, *self.size]
        return [
            *quality,
            *self.selection,
            *self.curves,
            *self.search,
            *self.tradeoff,
            *self.sensitivity,
            *self.tradeoff_bytes,
            *self.roofline,
        ]

    @property
    def strips(self) -> list[Strip]:
        """Return all rows of pictures."""
        return [*self.samples, *self.interpolation, *self.changed]


@dataclass(frozen=True)
class Report:
    """The finished documents."""

    html: str
    markdown: str
    pictures: Mapping[str, bytes]
    """PNG bytes by file name, for the Markdown; the page embeds its pictures."""


def build_report(inputs: ReportInputs) -> Report:
    """Build the whole report. Equal inputs give equal bytes.

    Raises:
        DataError: if the teacher was not measured, or no metric that can be the main one.
    """
    content = _content(inputs)
    pictures = {f"{drawing.name}.png": drawing.png for drawing in content.drawings}
    pictures |= {f"{strip.name}.png": strip.png for strip in content.strips}
    return Report(_render("report.html.j2", content), _render("report.md.j2", content), pictures)


def _content(inputs: ReportInputs) -> Content:
    main = inputs.main_metric
    others = [metric for base in MORE if (metric := inputs.metric(base)) is not None and metric != main][:1]
    steps, search, sweep = gains(inputs), inputs.search, inputs.sweep
    return Content(
        inputs=inputs,
        headline=headline(inputs),
        tables=[headline_table(inputs), quality_table(inputs), remaining_table(inputs)],
        pareto=pareto_charts(inputs, main),
        pareto_more=[drawing for metric in others for drawing in pareto_charts(inputs, metric)],
        size=_present(size_chart(inputs, metric) for metric in (main, *others)),
        gains=_present([gain_chart(steps, inputs)]),
        gain_table=gain_table(steps, inputs) if steps else None,
        samples=sample_strips(inputs),
        legend=label_legend(inputs.data.conditioning, inputs.gallery.source),
        interpolation=interpolation_strips(inputs),
        selection=_present([selection_chart(inputs.selection)] if inputs.selection else []),
        curves=curve_charts(inputs.curves),
        search=_search_drawings(search, inputs) if search else [],
        front=front_table(search) if search else None,
        certainty=certainty_table(inputs),
        steps=step_records(inputs),
        changed=changed_strips(inputs),
        tradeoff=tradeoff_charts(sweep) if sweep else [],
        sensitivity=sensitivity_charts(inputs.sensitivities),
        tradeoff_bytes=size_charts(sweep) if sweep else [],
        tradeoff_table=tradeoff_table(sweep) if sweep else None,
        tradeoff_answers=[answer(sweep, test) for test in sweep.tests()] if sweep else [],
        roofline=_present([roofline_chart(inputs)]),
        roofline_table=roofline_table(inputs),
        lineage=_lineage(inputs),
        caveats=caveats(inputs),
    )


def _search_drawings(search: SearchOutcome, inputs: ReportInputs) -> list[Drawing]:
    predicted = [prediction_chart(search.prediction)] if search.prediction else []
    return [*search_charts(search, inputs), *predicted]


def _present(drawings: Iterable[Drawing | None]) -> list[Drawing]:
    return [drawing for drawing in drawings if drawing is not None]


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
    environment.filters["score"] = write_score
    environment.filters["exact"] = repr
    environment.filters["cell"] = lambda text: str(text).replace("|", "\\|").replace("\n", " ")
    values: dict[str, Any] = {
        "content": content,
        "inputs": content.inputs,
        "groups": GROUP_NAMES,
        "latents": content.inputs.inputs_noun == "latents",
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
