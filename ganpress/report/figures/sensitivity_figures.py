"""The charts of layer sensitivity by bits, with a panel for weights and one for activations."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from ganpress.report.figures.drawing import INK, MUTED, SERIES, WIDE_INCHES, Drawing, Hover, chart_grid, finish
from ganpress.report.layer_sensitivity import Noise, Sensitivity

LABELLED = 4
"""Number of layers that are named, the most sensitive ones; the others are drawn in grey."""
FLOOR = 1e-12
"""Noise, 120 dB below the images, that stands for none: e.g. 8 bits hold the pixels of a picture exactly."""


def sensitivity_charts(sensitivities: Sequence[Sensitivity]) -> list[Drawing]:
    """Draw the SNR of the images over bits, one line for each layer."""
    return [_chart(one) for one in sensitivities if one.weights]


def _chart(one: Sensitivity) -> Drawing:
    with chart_grid(1, 2, WIDE_INCHES, 3.6) as (figure, axes, hover):
        _panel(axes[0], hover, one.weights, "weights")
        _panel(axes[1], hover, one.activations, "activations")
        axes[0].set_ylabel("SNR of the images, dB")
        caption = "Only one layer is quantized, all others are floats; the most sensitive are named; dotted: 30 dB"
        return finish(
            figure, hover, f"sensitivity-{one.item}", f"Sensitivity of layers: {one.item}", caption, wide=True
        )


def _panel(axes: Any, hover: Hover, layers: Mapping[str, Noise], kind: Literal["weights", "activations"]) -> None:
    worst = sorted(layers, key=lambda name: sum(map(decibels, layers[name].values())))[:LABELLED]
    for name in sorted(layers, key=lambda name: name in worst):
        named = name in worst
        colour = SERIES[worst.index(name)] if named else MUTED
        points = sorted(layers[name].items())
        style = {"color": colour, "linewidth": 1.6 if named else 0.7, "alpha": 1.0 if named else 0.5}
        levels = [decibels(noise) for _, noise in points]
        axes.plot([bits for bits, _ in points], levels, **style, label=name if named else None)
        for (bits, _), level in zip(points, levels, strict=True):
            text = f"{name}: {bits} bits of {kind}, {level:.1f} dB"
            mark = {"marker": "o", "markersize": 3, "linestyle": "none", "color": colour}
            axes.plot([bits], [level], gid=hover.id_for(text), **mark)
    axes.set_xlabel(f"bits of {kind}")
    axes.axhline(30, color=INK, linewidth=0.8, linestyle=(0, (1, 1.5)))
    axes.legend(loc="upper left")


def decibels(noise: float) -> float:
    """Convert noise, as a share of the images' power, to the SNR in decibels."""
    return -10 * math.log10(max(noise, FLOOR))
