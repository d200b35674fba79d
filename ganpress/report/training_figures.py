"""The charts of training, teacher selection and search."""

from collections.abc import Callable, Sequence

from ganpress.report.axes import label_marks, logarithmic, tick_count, tick_number
from ganpress.report.content import Curve, ReportInputs, ScoredSubnet, SearchOutcome, Selection
from ganpress.report.drawing import COLOURS, INK, MARKERS, MUTED, SERIES, Drawing, chart, finish
from ganpress.report.notation import write_count, write_score

CURVES = (
    ("generator_loss", "Generator loss", False),
    ("discriminator_loss", "Discriminator loss", False),
    ("mse", "Distance to the teacher (MSE)", True),
    ("adversarial", "Adversarial term of the joint loss", False),
)
"""Loss column, title, whether the axis is logarithmic."""


def curve_charts(curves: Sequence[Curve]) -> list[Drawing]:
    """One chart for each kind of loss, with all trainings that have it."""
    drawings = []
    for loss, title, log in CURVES:
        having = [curve for curve in curves if loss in curve.losses]
        if having:
            drawings.append(_curve_chart(having, loss, title, log))
    return drawings


def _curve_chart(curves: Sequence[Curve], loss: str, title: str, log: bool) -> Drawing:
    with chart() as (figure, axes, hover):
        for index, curve in enumerate(curves):
            axes.plot(
                curve.images,
                curve.losses[loss],
                color=SERIES[index % len(SERIES)],
                linestyle=("-", "--", ":")[index // len(SERIES) % 3],
                linewidth=1.3,
                label=curve.reference,
                gid=hover.id_for(f"{curve.reference}: {write_score(curve.losses[loss][-1])} at the end"),
            )
        if log:
            axes.set_yscale("log")
            logarithmic(axes.yaxis, tick_number)
        axes.margins(x=0.01)
        axes.xaxis.set_major_formatter(lambda value, _: tick_count(value))
        axes.set_xlabel("images shown")
        axes.set_ylabel(title)
        figure.legend(loc="outside upper left", ncols=2 if len(curves) <= 6 else 3)
        caption = "mean over each logged stretch of training; the scale says nothing about image quality"
        return finish(figure, hover, f"curve-{loss.replace('_', '-')}", title, caption)


def selection_chart(selection: Selection) -> Drawing:
    """Score of each candidate over its depth, with the chosen one marked."""
    with chart() as (figure, axes, hover):
        ordered = sorted(selection.candidates, key=lambda one: one.depth)
        axes.plot([one.depth for one in ordered], [one.score for one in ordered], color=MUTED, linewidth=1.2)
        for one in ordered:
            axes.plot(
                [one.depth],
                [one.score],
                linestyle="none",
                marker=MARKERS["teacher"] if one.selected else "o",
                markersize=13 if one.selected else 7,
                color=INK if one.selected else MUTED,
                markeredgewidth=0,
                gid=hover.id_for(f"{one.item}: {write_score(one.score)}, {write_count(one.parameters)} parameters"),
            )
        axes.set_xscale("log", base=2)
        axes.set_xticks(
            sorted({one.depth for one in ordered}), [str(d) for d in sorted({one.depth for one in ordered})]
        )
        axes.set_xticks([], minor=True)
        axes.margins(0.1, 0.15)
        axes.set_xlabel("depth scale factor d")
        axes.set_ylabel(selection.metric.heading)
        names = [(one.depth, one.score, one.item) for one in sorted(ordered, key=lambda one: not one.selected)]
        label_marks(figure, axes, names, [(one.depth, one.score) for one in ordered])
        caption = "each candidate scored on the same latents; the star became the teacher"
        return finish(figure, hover, "teacher-selection", "Teacher selection", caption)


def search_charts(search: SearchOutcome, inputs: ReportInputs) -> list[Drawing]:
    """All scored sub-generators over MACs (with the front) and over parameters."""
    budget = inputs.params.search
    return [
        _search_chart(search, "macs", "MACs for one image", lambda one: one.macs_exact, budget.max_macs, True),
        _search_chart(search, "parameters", "parameters", lambda one: one.parameters, budget.max_parameters, False),
    ]


def _search_chart(
    search: SearchOutcome,
    name: str,
    title: str,
    cost: Callable[[ScoredSubnet], int],
    budget: int | None,
    with_front: bool,
) -> Drawing:
    with chart() as (figure, axes, hover):
        on_front = {one.spec for one in search.front}
        for one in search.scored:
            axes.plot(
                [cost(one)],
                [one.score],
                linestyle="none",
                marker="o",
                markersize=5.5 if one.spec in on_front else 4,
                color=COLOURS["subnet"] if one.spec in on_front else MUTED,
                alpha=1 if one.spec in on_front else 0.45,
                markeredgewidth=0,
                zorder=3 if one.spec in on_front else 2,
                gid=hover.id_for(f"{one.spec}: {write_score(one.score)}, {write_count(cost(one))} {name}"),
            )
        if with_front:
            axes.step(
                [cost(one) for one in search.front],
                [one.score for one in search.front],
                where="post",
                color=COLOURS["subnet"],
                linewidth=1.2,
                linestyle=(0, (4, 2)),
                zorder=1,
            )
        best = search.best
        axes.plot(
            [cost(best)],
            [best.score],
            linestyle="none",
            marker="D",
            markersize=9,
            color=COLOURS["export"],
            markeredgewidth=0,
            zorder=5,
            gid=hover.id_for(f"chosen: {best.spec}, {write_score(best.score)}, {write_count(cost(best))} {name}"),
        )
        if budget is not None:
            axes.axvline(budget, color=INK, linewidth=1, linestyle=(0, (1, 1.5)))
        axes.set_xscale("log")
        axes.margins(0.08, 0.1)
        logarithmic(axes.xaxis, tick_count)
        axes.set_xlabel(title + (f" (dotted: the budget, {tick_count(budget)})" if budget is not None else ""))
        axes.set_ylabel(search.metric.heading)
        label_marks(figure, axes, [(cost(best), best.score, best.spec)], [(cost(best), best.score)])
        caption = "each dot a sub-generator inside the budget, scored without retraining; diamond: the chosen one"
        caption += "; green: the front" if with_front else ""
        return finish(figure, hover, f"search-over-{name}", f"Sub-generators over {title}", caption)
