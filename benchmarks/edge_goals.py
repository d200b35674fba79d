"""The goals of the edge benchmark, and the distance of a run to them."""

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.edge_rows import EAGER, Row, fastest
from benchmarks.edge_subjects import COMPRESSED, EDGE_FORM, MOBILE, TEACHER, TRANSLATION

Rows = list[Row]
LARGE = "wdcgan d=64"
ALIKE_SNR_DB = 20.0
"""Of images that show what those of the float generator show."""


@dataclass(frozen=True)
class Goal:
    """One number to reach."""

    text: str
    needed: float
    reached: Callable[[Rows], tuple[float, str] | None]
    """The number and which row gave it; None where a row that it needs was not measured."""

    def verdict(self, rows: Rows) -> str:
        """One line: reached or missed, and by how much."""
        found = self.reached(rows)
        if found is None:
            return f"not measured  {self.text}"
        value, where = found
        distance = value / self.needed - 1
        word = "reached" if value >= self.needed else "MISSED "
        return f"{word}  {self.text}: {value:.3g}, needed {self.needed:g} ({distance:+.0%}; {where})"


def _speed_up(subject: str, runtime: str | None = None) -> Callable[[Rows], tuple[float, str] | None]:
    """Integers over eager torch of the same generator, in one runtime or the fastest one."""

    def find(rows: Rows) -> tuple[float, str] | None:
        found = fastest(rows, subject, integers=True)
        return _largest([row for name, row in found.items() if runtime in (None, name)], "speed_up")

    return find


def _packed_ratio(subject: str) -> Callable[[Rows], tuple[float, str] | None]:
    """The file as it is kept; in words also what it decodes to, which 8 bits a weight cannot make 4 times smaller."""

    def find(rows: Rows) -> tuple[float, str] | None:
        packed, plain = (_largest(_integers(rows, subject), field) for field in ("packed_ratio", "size_ratio"))
        if packed is None or plain is None:
            return None
        return packed[0], f"{packed[1]}; decoded at most {plain[0]:.2f}, {plain[1]}"

    return find


def _signal(subject: str) -> Callable[[Rows], tuple[float, str] | None]:
    return lambda rows: _largest(_integers(rows, subject), "snr_db")


def _retained(subject: str) -> Callable[[Rows], tuple[float, str] | None]:
    return lambda rows: _largest(_integers(rows, subject), "metric_retained")


def _peak_share(rows: Rows) -> tuple[float, str] | None:
    return _largest([row for name in (MOBILE, EDGE_FORM) for row in _integers(rows, name)], "peak_share")


def _float_share_of_macs(rows: Rows) -> tuple[float, str] | None:
    """Speed-up of the compressed ResNet over its teacher, floats in the same runtime, over the ratio of their MACs."""
    large, small = (fastest(rows, name, integers=False) for name in (TEACHER, COMPRESSED))
    shares = {name: _gain(large[name], small[name]) for name in large.keys() & small.keys() - {EAGER}}
    best = max(shares, key=lambda name: shares[name], default=None)
    return None if best is None else (shares[best], best)


def _integers_over_eager_teacher(rows: Rows) -> tuple[float, str] | None:
    """Speed-up of the compressed ResNet in integers over its eager teacher, over the ratio of their MACs.

    Its weights are trained, so that a file that does not draw its pictures does not count.
    """
    eager = fastest(rows, TEACHER, integers=False).get(EAGER)
    like = [row for row in _integers(rows, COMPRESSED) if row.snr_db is not None and row.snr_db >= ALIKE_SNR_DB]
    if eager is None or not like:
        return None
    gain, best = max(((_gain(eager, row), row) for row in like), key=lambda pair: pair[0])
    return gain, f"{best.runtime} {best.number_type}, {best.snr_db:.1f} dB"


def _gain(slow: Row, quick: Row) -> float:
    assert slow.latency_ms is not None  # `fastest` gives timed rows
    assert quick.latency_ms is not None
    return slow.latency_ms / quick.latency_ms / (slow.macs / quick.macs)


def _integers(rows: Rows, subject: str) -> Rows:
    return [
        row
        for row in rows
        if row.subject == subject and row.number_type != "float32" and row.latency_ms is not None and row.batch == 1
    ]


def _largest(rows: Rows, field: str) -> tuple[float, str] | None:
    measured = [(float(getattr(row, field)), row) for row in rows if getattr(row, field) is not None]
    if not measured:
        return None
    value, row = max(measured, key=lambda pair: pair[0])
    return value, f"{row.runtime} {row.number_type}, {row.subject}"


GOALS = (
    Goal("int8 W-DCGAN d=64 over eager torch, ONNX Runtime", 5.5, _speed_up(LARGE, "onnx")),
    Goal("int8 W-DCGAN d=64 over eager torch, OpenVINO", 8.0, _speed_up(LARGE, "openvino")),
    Goal("int8 W-DCGAN d=64: file times smaller than its float32 parameters", 4.0, _packed_ratio(LARGE)),
    Goal("int8 ResNet-9 over eager torch, one runtime", 4.6, _speed_up(TEACHER)),
    Goal("mobile ResNet: share of the machine's int8 peak, one runtime", 0.5, _peak_share),
    Goal("compressed ResNet, floats in one runtime: speed-up over MAC ratio", 0.6, _float_share_of_macs),
    Goal("compressed ResNet, int8 over the eager teacher: speed-up over MAC ratio", 1.3, _integers_over_eager_teacher),
    Goal("int8 of a trained InstanceNorm generator, pairs of 32x32: SNR in dB", 30.0, _signal(TRANSLATION)),
    Goal("int8 of a trained InstanceNorm generator, published, photographs: SNR in dB", 30.0, _signal(COMPRESSED)),
    Goal("int8 ResNet-9 of pairs: share of the metric kept", 0.99, _retained(TRANSLATION)),
    Goal("int8 W-DCGAN on digits: share of the metric kept", 0.99, _retained("wdcgan digits")),
    Goal("int8 SRGAN: share of the metric kept", 0.99, _retained("srgan x4")),
)
