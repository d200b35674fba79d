"""The charts of training and teacher selection."""

import math
from collections.abc import Sequence
from typing import Any

from ganpress.report.chain_values import Curve, Selection
from ganpress.report.figures.axes import cost_axis, label_marks, logarithmic, tick_count, tick_number
from ganpress.report.figures.drawing import (
    INK,
    MARKERS,
    MUTED,
    SERIES,
    WIDE_INCHES,
    Drawing,
    Hover,
    chart,
    chart_grid,
    finish,
)
from ganpress.report.notation import write_count, write_score

COLUMNS = (3, 4)
"""Possible numbers of panels in a row; the one that leaves fewer panels empty is taken, on a tie the first."""
PANEL_INCHES = 2.2
TITLES = {
    "generator_loss": "generator loss",
    "discriminator_loss": "discriminator loss",
    "mse": "distance to the teacher (MSE)",
    "adversarial": "adversarial term",
    "recon": "reconstruction",
    "distill": "distance of features",
    "feature_matching": "discriminator's feature matching",
}
"""Titles of loss columns; other columns are shown by their own name."""
LOG_SPAN = 20
"""Smallest ratio of the largest to the smallest loss for a logarithmic axis."""
STYLES = ("-", "--", ":", "-.")


def curve_charts(curves: Sequence[Curve]) -> list[Drawing]:
    """Draw one figure for each training stage, with a panel for each loss and a line for each item."""
    stages = list(dict.fromkeys(curve.stage for curve in curves if curve.losses))
    return [_stage_chart(stage, [one for one in curves if one.stage == stage and one.losses]) for stage in stages]


def _stage_chart(stage: str, curves: Sequence[Curve]) -> Drawing:
    losses = list(dict.fromkeys(loss for curve in curves for loss in curve.losses))
    columns = min(COLUMNS, key=lambda count: -len(losses) % count)
    rows = math.ceil(len(losses) / columns)
    with chart_grid(rows, columns, WIDE_INCHES, 0.5 + PANEL_INCHES * rows) as (figure, panels, hover):
        for panel, loss in zip(panels, losses, strict=False):
            _panel(panel, hover, curves, loss)
        for empty in panels[len(losses) :]:
            empty.set_axis_off()
        for panel in panels[max(0, len(losses) - columns) : len(losses)]:
            panel.set_xlabel("images shown")
        if len(curves) > 1 or curves[0].item != stage:
            lines = [
                panels[0].plot([], [], color=_colour(place), linestyle=_style(place), label=curve.item)[0]
                for place, curve in enumerate(curves)
            ]
            figure.legend(handles=lines, loc="outside upper left", ncols=6)
        caption = "mean over each logging interval; the scale does not measure image quality"
        return finish(figure, hover, f"curves-{stage}", f"Losses of {stage}", caption, wide=True)


def _panel(axes: Any, hover: Hover, curves: Sequence[Curve], loss: str) -> None:
    values: list[float] = []
    for place, curve in enumerate(curves):
        if loss not in curve.losses:
            continue
        own = curve.losses[loss]
        values += own
        text = f"{curve.reference}: {write_score(own[-1])} at the end"
        style = {"color": _colour(place), "linestyle": _style(place), "linewidth": 1.3, "gid": hover.id_for(text)}
        alone = {"marker": "o", "markersize": 3.5} if len(own) == 1 else {}
        axes.plot(curve.images, own, **style, **alone)
    if min(values) > 0 and max(values) > LOG_SPAN * min(values):
        axes.set_yscale("log")
        logarithmic(axes.yaxis, tick_number)
    axes.margins(x=0.02)
    axes.xaxis.set_major_formatter(lambda value, _: tick_count(value))
    axes.set_title(TITLES.get(loss, loss.replace("_", " ")), loc="left")


def _colour(place: int) -> str:
    return SERIES[place % len(SERIES)]


def _style(place: int) -> str:
    return STYLES[place // len(SERIES) % len(STYLES)]


def selection_chart(selection: Selection) -> Drawing | None:
    """Draw the score of each candidate over its parameters, with the chosen one marked; None for a single candidate."""
    if len(selection.candidates) < 2:
        return None
    ordered = sorted(selection.candidates, key=lambda one: one.parameters)
    with chart() as (figure, axes, hover):
        axes.plot([one.parameters for one in ordered], [one.score for one in ordered], color=MUTED, linewidth=1.2)
        for one in ordered:
            axes.plot(
                [one.parameters],
                [one.score],
                linestyle="none",
                marker=MARKERS["teacher"] if one.selected else "o",
                markersize=13 if one.selected else 7,
                color=INK if one.selected else MUTED,
                markeredgewidth=0,
                gid=hover.id_for(f"{one.network}: {write_score(one.score)}, {write_count(one.parameters)} parameters"),
            )
        axes.margins(0.1, 0.15)
        cost_axis(axes, [one.parameters for one in ordered], tick_count)
        axes.set_xlabel("parameters")
        axes.set_ylabel(selection.metric.heading)
        names = [(one.parameters, one.score, one.item) for one in sorted(ordered, key=lambda one: not one.selected)]
        label_marks(figure, axes, names, [(one.parameters, one.score) for one in ordered])
        caption = "each candidate scored on the same inputs; the star became the teacher"
        return finish(figure, hover, "teacher-selection", "Teacher selection", caption)
