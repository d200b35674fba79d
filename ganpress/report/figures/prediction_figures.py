"""The chart and the sentence about how well layer latencies predict the latency of whole sub-generators."""

from ganpress.report.chain_values import LatencyPrediction
from ganpress.report.figures.axes import tick_number
from ganpress.report.figures.drawing import COLOURS, INK, MUTED, Drawing, chart, finish
from ganpress.report.notation import write_milliseconds, write_share

DOTTED = (0, (1, 1.5))


def prediction_chart(prediction: LatencyPrediction) -> Drawing:
    """Draw predicted over measured milliseconds; on the dotted line both are equal."""
    with chart() as (figure, axes, hover):
        values = [ms for one in prediction.samples for ms in (one.measured_ms, one.predicted_ms)]
        ends = [min(values), max(values)]
        axes.plot(ends, ends, color=INK, linestyle=DOTTED, linewidth=1)
        for one in prediction.samples:
            text = f"{one.spec}: {write_milliseconds(one.measured_ms)} ms measured, "
            axes.plot(
                [one.measured_ms],
                [one.predicted_ms],
                linestyle="none",
                marker="D",
                markersize=5.5,
                color=COLOURS["subnet"],
                markeredgecolor=MUTED,
                markeredgewidth=0.3,
                gid=hover.id_for(text + f"{write_milliseconds(one.predicted_ms)} ms predicted"),
            )
        axes.margins(0.08, 0.1)
        axes.xaxis.set_major_formatter(lambda value, _: tick_number(value))
        axes.yaxis.set_major_formatter(lambda value, _: tick_number(value))
        axes.set_xlabel(f"measured ms, one image, {prediction.runtime}, one thread")
        axes.set_ylabel("predicted ms")
        return finish(figure, hover, "latency-prediction", "Latency predicted from layers", sentence(prediction))


def sentence(prediction: LatencyPrediction) -> str:
    """Return the error of the predictions in a sentence."""
    rank = "" if prediction.rank_correlation is None else f", rank correlation {prediction.rank_correlation:.2f}"
    return (
        f"Latency of sub-generators was predicted from {prediction.layers} timed layers ({prediction.runtime}); "
        f"{len(prediction.samples)} sub-generators timed whole, each left out of the fit that predicts it: "
        f"median error {write_share(prediction.median_error)}, 90 % within {write_share(prediction.p90_error)}{rank}."
    )
