"""The figure of a scan over layers and bits."""

import pytest

from ganpress.report.figures.sensitivity_figures import decibels, sensitivity_charts
from ganpress.report.layer_sensitivity import Sensitivity

SCAN = {
    f"block.{place}": {
        "macs": 10,
        "weights": {str(bits): 4.0**-bits * (place + 1) for bits in range(2, 9)},
        "activations": {str(bits): 4.0**-bits for bits in range(2, 9)},
        "bytes": {},
    }
    for place in range(6)
}


def test_worst_layers_are_named_and_every_mark_says_what_it_is():
    (drawing,) = sensitivity_charts([Sensitivity.of("subnet-int8", SCAN)])
    assert drawing.name == "sensitivity-subnet-int8"
    assert "block.5: 8 bits of weights, 40.4 dB" in drawing.svg
    assert drawing.svg.count("8 bits of activations") >= 6
    assert drawing.png.startswith(b"\x89PNG")


def test_power_ratios_are_decibels():
    assert decibels(0.001) == pytest.approx(30)
    assert decibels(0.0) == pytest.approx(120)


def test_without_a_scan_nothing_is_drawn():
    assert sensitivity_charts([Sensitivity("w4", {}, {})]) == []


def test_incomplete_scans_are_refused():
    with pytest.raises(KeyError, match="activations"):
        Sensitivity.of("w4", {"head": {"weights": {"2": 0.1}}})
