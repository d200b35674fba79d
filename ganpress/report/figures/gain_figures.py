"""The chart of each step's gain."""

from collections.abc import Sequence

from ganpress.report.content import ReportInputs
from ganpress.report.figures.drawing import COLOURS, MARKERS, MUTED, WIDE_INCHES, Drawing, chart_grid, finish
from ganpress.report.gains import BESIDE, Gain
from ganpress.report.notation import write_score

ROW_INCHES = 0.34


def gain_chart(gains: Sequence[Gain], inputs: ReportInputs) -> Drawing | None:
    """Draw a line from each generator without the step (hollow) to the one with it (filled); None without
    comparisons.
    """
    if not gains:
        return None
    metric = inputs.main_metric
    with chart_grid(1, 1, WIDE_INCHES, 0.9 + ROW_INCHES * len(gains)) as (figure, (axes,), hover):
        for row, gain in enumerate(gains):
            axes.plot([gain.value_beside, gain.value], [row, row], color=MUTED, linewidth=1.4, zorder=1)
            text = f"{gain.one.reference}: {write_score(gain.value)}; {gain.beside.reference}: "
            text += f"{write_score(gain.value_beside)}, {BESIDE[gain.step]}"
            for one, value, filled in ((gain.beside, gain.value_beside, False), (gain.one, gain.value, True)):
                colour = COLOURS[one.group]
                axes.plot(
                    [value],
                    [row],
                    linestyle="none",
                    marker=MARKERS[one.group],
                    markersize=7,
                    color=colour,
                    markerfacecolor=colour if filled else "none",
                    markeredgewidth=0 if filled else 1.5,
                    zorder=3 if filled else 2,
                    gid=hover.id_for(text),
                )
        axes.set_yticks(range(len(gains)), [f"{gain.step}: {gain.one.reference}" for gain in gains])
        axes.invert_yaxis()
        axes.grid(False, axis="y")
        axes.margins(0.05, 0.6 / len(gains) if len(gains) > 1 else 0.5)
        axes.set_xlabel(f"{metric.heading}, {'left' if metric.direction == 'lower' else 'right'} is better")
        caption = "hollow: the generator without the step, of the same size; filled: the one with it"
        return finish(figure, hover, "gains", f"What each step gains in {metric.title}", caption, wide=True)
