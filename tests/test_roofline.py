import pytest
import torch

from ganpress.edge import roofline
from ganpress.edge.roofline import Peaks, computed_in, measure_peaks, roofline_metrics
from ganpress.errors import ConfigError

PEAKS = Peaks(1, {"float32": 50.0, "int8": 200.0})


@pytest.mark.parametrize(
    ("on_the_card", "computed"),
    [
        ("float32", "float32"),
        ("float16", "float32"),
        ("bfloat16", "bfloat16"),
        ("int8", "int8"),
        ("w8a8", "int8"),
        ("w4a4", "int8"),
        ("w8", "float32"),
        ("a8", "float32"),
    ],
)
def test_what_a_file_multiplies_in(on_the_card, computed):
    assert computed_in(on_the_card) == computed


def test_rate_and_share_follow_from_macs_and_time():
    # 10^9 multiply-accumulates in 50 ms are 20 a nanosecond: 0.4 of 50, 0.1 of 200
    assert roofline_metrics(1e9, 50.0, "float32", PEAKS) == {"gmacs_per_s": 20.0, "share_of_peak": 0.4}
    assert roofline_metrics(1e9, 50.0, "w8a8", PEAKS)["share_of_peak"] == pytest.approx(0.1)


def test_a_number_type_without_a_peak_is_refused():
    with pytest.raises(ConfigError, match="no peak was measured for 'bfloat16'; measured: float32, int8"):
        PEAKS.gmacs("bfloat16")


def test_no_threads_are_refused():
    with pytest.raises(ConfigError, match="threads must be at least 1, found 0"):
        measure_peaks(0)


def test_peaks_of_this_machine_are_above_what_any_product_reaches(monkeypatch):
    monkeypatch.setattr(roofline, "SECONDS", 0.02)
    threads = torch.get_num_threads()
    peaks = measure_peaks()
    assert torch.get_num_threads() == threads
    assert set(peaks.gmacs_per_s) == {"float32", "bfloat16", "int8"}
    assert all(0.1 < rate < 1e5 for rate in peaks.gmacs_per_s.values())
