"""The faster form of a generator on a target, by measurement on this machine."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor, nn

from ganpress.edge.forms import FORMS, Form, has_transposed
from ganpress.edge.targets.target import Target
from ganpress.latency import measure_latency
from ganpress.metrics.scoring import Generate
from models.quantized_network import Quantized

ROUNDS = 30
"""Timed calls of each form."""


CLEARLY_FASTER = 0.9
"""Share of the default form's time below which another one is taken: a tie must not be decided by noise."""


@dataclass(frozen=True)
class FormChoice:
    """A form and why it was taken."""

    form: Form
    milliseconds: Mapping[str, float] = field(default_factory=dict)
    """Median time of each form for one input on one thread; empty where nothing was measured."""


def choose_form(
    target: Target,
    model: nn.Module,
    example: Tensor,
    number_type: str = "float32",
    calibration: Tensor | None = None,
    rounds: int = ROUNDS,
) -> FormChoice:
    """Write a generator in each form, time the files side by side and take the one that is clearly faster.

    Args:
        target: where it is to run.
        model: a generator; one without transposed convolutions, or in integers of its own, has a single form.
        example: one input (1, …).
        number_type: one of the target's.
        calibration: inputs (n, …) for `int8`.
        rounds: timed calls of each form.

    Raises:
        ConfigError: as `Target.write`.
    """
    if isinstance(model, Quantized) or not has_transposed(model):
        return FormChoice(target.default_form(number_type))
    with tempfile.TemporaryDirectory(prefix="ganpress-forms-") as folder:
        runners: dict[str, Generate] = {}
        for form in FORMS:
            path = Path(folder) / form / f"generator{target.suffix}"
            target.write(model, path, example, number_type, calibration, form)
            runners[form] = target.open(path, threads=1)
        latency = measure_latency(runners, example, rounds)
    milliseconds: dict[str, float] = {form: latency[form].p50_ms for form in FORMS}
    default = target.default_form(number_type)
    fastest = min(FORMS, key=lambda form: milliseconds[form])
    clear = milliseconds[fastest] < CLEARLY_FASTER * milliseconds[default]
    return FormChoice(fastest if clear else default, milliseconds)
