"""Chooses the faster form of a generator on a target by measuring on this machine."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor, nn

from ganpress.edge.forms.float_forms import FORMS, Form, has_transposed
from ganpress.edge.targets.target import Target, UnsupportedGenerator
from ganpress.metrics.scoring import Generate
from ganpress.performance.latency import measure_latency
from models.quantized_network import QuantizedNetwork

ROUNDS = 30
"""Timed calls of each form."""


CLEARLY_FASTER = 0.9
"""Another form is chosen below this share of the default form's time, so that noise does not decide a tie."""


@dataclass(frozen=True)
class WrittenForm:
    """The files of a generator in one form, and the measurements that chose it."""

    files: tuple[Path, ...]
    """The files, as `Target.write` returns them."""
    form: Form
    milliseconds: Mapping[str, float] = field(default_factory=dict)
    """Median time of each form for one input on one thread; empty if nothing was measured."""


def write_faster_form(
    target: Target,
    model: nn.Module,
    path: Path,
    example: Tensor,
    number_type: str = "float32",
    calibration: Tensor | None = None,
    rounds: int = ROUNDS,
) -> WrittenForm:
    """Write a generator in each form, time the files in turn, and keep the form that is clearly faster.

    Each form is written once, and calibrated once if the target quantizes.

    Args:
        target: the target; if its runtime does not run here, nothing is timed and its default form is taken.
        model: a generator; one without transposed convolutions, or quantized by ganpress, has a single form.
        path: the file that `target.open` takes; its folder is created.
        example: inputs (N, …), as for `Target.write`; the first one is timed.
        number_type: one of the target's.
        calibration: inputs (n, …) for the target's own quantization.
        rounds: timed calls of each form.

    Raises:
        ConfigError: as `Target.write`.
        CheckpointError: if the target's runtime cannot load what was written.
    """
    default = target.default_form(number_type)
    if isinstance(model, QuantizedNetwork) or not has_transposed(model) or target.stand_in:
        return WrittenForm(target.write(model, path, example, number_type, calibration, default), default)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".forms-", dir=path.parent) as folder:
        written: dict[Form, tuple[Path, ...]] = {}
        for form in FORMS:
            place = Path(folder) / form / path.name
            try:
                written[form] = target.write(model, place, example, number_type, calibration, form)
            except UnsupportedGenerator:  # a target that cannot run the other form may still run this one
                if form == default:
                    raise
        runners: dict[str, Generate] = {form: target.open(files[0], threads=1) for form, files in written.items()}
        latency = measure_latency(runners, example[:1], rounds)
        milliseconds: dict[str, float] = {form: latency[form].p50_ms for form in written}
        fastest = min(written, key=lambda form: milliseconds[form])
        form = fastest if milliseconds[fastest] < CLEARLY_FASTER * milliseconds[default] else default
        for one in reversed(written[form]):  # the file that is opened is moved last
            one.replace(path.with_name(one.name))
    return WrittenForm(tuple(path.with_name(one.name) for one in written[form]), form, milliseconds)
