import json
from dataclasses import replace

import pytest

from ganpress.errors import DataError
from ganpress.report.figures.prediction_figures import prediction_chart, sentence
from ganpress.report.figures.roofline_figures import rated, roofline_chart, roofline_line, roofline_table
from tasks.shared.report_inputs import read_inputs
from tasks.shared.stage import Stage


def inputs_of(root):
    return read_inputs(Stage("report", None, root, {}))


def test_the_teacher_and_every_edge_file_have_a_roofline_line(inputs):
    references = [one.reference for one in rated(inputs)]
    assert references == ["teacher", *(f"export/{item}" for item in inputs.params.export.items)]
    table = roofline_table(inputs)
    assert [row.reference for row in table.groups[0].rows] == references
    assert {row.network for row in table.groups[0].rows} == {"multiplies in float32", "multiplies in int8"}


def test_a_share_is_that_of_the_peak_of_what_a_generator_multiplies_in(inputs):
    int8 = next(one for one in rated(inputs) if one.item == "subnet-int8")
    assert roofline_line(int8, inputs.peaks).endswith("of the int8 peak of 232")
    cells = {h.key: c.value for h, c in zip(*_row(roofline_table(inputs), int8.reference), strict=True)}
    assert cells["peak"] == 232
    assert cells["share_of_peak"] == pytest.approx(cells["gmacs_per_s"] / 232)
    assert cells["gmacs_per_s"] == pytest.approx(cells["macs_exact"] / cells["latency_ms_p50"] / 1e6)


def _row(table, reference):
    return table.headings, next(row.cells for row in table.groups[0].rows if row.reference == reference)


def test_the_chart_has_a_roof_for_each_number_type_and_a_mark_for_each_file(inputs):
    drawing = roofline_chart(inputs)
    for name, peak in inputs.peaks.gmacs_per_s.items():
        assert f"{name}: {peak:.0f}" in drawing.svg
    for one in rated(inputs):
        assert f"{one.reference}: " in drawing.svg


def test_without_peaks_there_is_no_roofline(inputs):
    bare = replace(inputs, peaks=None)
    assert roofline_chart(bare) is None
    assert roofline_table(bare) is None


def test_the_error_of_predicted_latencies_is_stated(inputs):
    prediction = inputs.search.prediction
    text = sentence(prediction)
    assert "from 31 timed layers (onnx); 5 sub-generators timed whole" in text
    assert "median error 4.0 %, 90 % within 11.0 %, rank correlation 0.97." in text
    assert "2_2_2: 0.200 ms measured, 0.210 ms predicted" in prediction_chart(prediction).svg
    assert "rank correlation" not in sentence(replace(prediction, rank_correlation=None))


def test_damaged_facts_of_predictions_are_named(project):
    path = project / "artifacts" / "search" / "best.json"
    content = json.loads(path.read_text())
    del content["latency_layers"]
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"best\.json is damaged \(KeyError: 'latency_layers'\)"):
        inputs_of(project)
