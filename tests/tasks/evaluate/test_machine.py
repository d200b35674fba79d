"""The machine that measured: its facts, and the peaks that rates are compared with."""

import os

import pytest
import torch

from ganpress.errors import DataError
from ganpress.report.content import Fact
from tasks.shared.machine import read_machine, read_peaks
from tasks.shared.report_facts import machine_facts


def test_the_machine_that_measured_is_written_beside_the_measurements(evaluated):
    machine = read_machine(evaluated)
    assert machine["torch"] == torch.__version__
    assert machine["cores"] == str(os.cpu_count())
    assert machine["threads"] == f"{torch.get_num_threads()} for scores, 1 for latency"
    assert {"processor", "system", "python", "onnxruntime"} <= set(machine)


def test_rates_are_stated_against_the_peak_of_what_a_generator_multiplies_in(evaluated, metrics):
    peaks = read_peaks(evaluated)
    assert peaks is not None
    assert peaks.threads == 1
    for reference, number_type in (
        ("teacher", "float32"),
        ("compress/subnet-int8", "float32"),
        ("export/int8", "int8"),
    ):
        row = metrics[reference]
        assert row["gmacs_per_s"] == pytest.approx(row["macs_exact"] / row["latency_ms_p50"] / 1e6)
        assert row["share_of_peak"] == pytest.approx(row["gmacs_per_s"] / peaks.gmacs_per_s[number_type])


def test_the_report_states_the_machine_that_measured_and_not_its_own(tmp_path):
    assert machine_facts(tmp_path) == []
    (tmp_path / "evaluate").mkdir()
    (tmp_path / "evaluate" / "machine.json").write_text('{"processor": "abacus", "cores": "10"}')
    assert machine_facts(tmp_path) == [Fact("processor", "abacus"), Fact("cores", "10")]


@pytest.mark.parametrize(
    ("content", "reason"), [('{"cores": ', "it is not JSON"), ('{"cores": 2}', "a mapping of names")]
)
def test_a_damaged_file_of_machine_facts_is_named(tmp_path, content, reason):
    (tmp_path / "machine.json").write_text(content)
    with pytest.raises(DataError, match=rf"machine\.json is damaged \({reason}.*dvc repro evaluate"):
        read_machine(tmp_path)


def test_damaged_peaks_are_named_and_absent_ones_are_none(tmp_path):
    assert read_peaks(tmp_path) is None
    (tmp_path / "machine.json").write_text('{"peaks": {"threads": 1}}')
    with pytest.raises(DataError, match=r"machine\.json is damaged \(peaks: KeyError: 'gmacs_per_s'"):
        read_peaks(tmp_path)
