"""Samples before and after compression, and the uncertainty of scores."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from ganpress.errors import DataError
from ganpress.report.content import ReportInputs
from ganpress.report.pictures.sample_strips import changed_strips, step_records
from ganpress.report.tables.certainty_tables import certainty_table
from ganpress.report.tables.result_tables import quality_table, remaining_table
from tasks.shared.report_inputs import read_inputs
from tasks.shared.report_samples import step_samples
from tasks.shared.stage import Stage


def test_a_lost_class_is_named_and_unchanged_ones_are_not(inputs: ReportInputs) -> None:
    pruned, exported = inputs.steps
    assert [share.name for share in pruned.changed_classes] == ["8", "3"]
    assert (pruned.classes[0].before, pruned.classes[0].after) == (0.1, 0.0)
    assert exported.changed_classes == []
    facts = {record.item: record for record in step_records(inputs)}
    listed = facts["compress/subnet-pruned"].fact("classes beyond chance")
    assert listed is not None
    assert listed.value == "8: 10.0 % → 0.0 %, 3: 10.0 % → 20.0 %"
    untouched = facts["export/teacher"].fact("classes beyond chance")
    assert untouched is not None
    assert untouched.value == "none"
    lost = facts["compress/subnet-pruned"].fact("lost neighbourhoods")
    assert lost is not None
    assert lost.value == "10.0 %"


def test_pictures_are_of_the_steps_that_changed_something(inputs: ReportInputs) -> None:
    strips = changed_strips(inputs)
    assert [strip.reference for strip in strips] == ["subnet", "compress/subnet-pruned"]
    assert [strip.group for strip in strips] == ["subnet", "compress"]
    assert strips[0].note == "before compress/subnet-pruned"
    assert strips[1].note == "after; change 1.200 … 1.200"
    assert strips[0].png != strips[1].png


def test_a_difference_is_bold_where_its_interval_excludes_zero(inputs: ReportInputs) -> None:
    table = certainty_table(inputs)
    assert table is not None
    assert "real images score 0.810 of precision and 0.810 of recall" in table.caption
    titles = [heading.title for heading in table.headings]
    assert titles[:3] == ["KID ↓", "Precision LSH ↑", "own − teacher"]  # of KID no differences were measured
    assert titles.count("own − teacher") == 3
    rows = {row.reference: row for group in table.groups for row in group.rows}
    assert rows["control/d2"].cells[2].best
    assert rows["control/d2"].cells[2].text == "−0.441 [−0.461, −0.421]"
    assert not rows["export/teacher"].cells[2].best
    assert rows["teacher"].cells[2].value is None
    assert rows["teacher"].cells[1].text == "0.819 [0.799, 0.839]"


def test_ends_of_intervals_are_no_columns_of_their_own(inputs: ReportInputs) -> None:
    for table in (quality_table(inputs), remaining_table(inputs)):
        keys = [heading.key for heading in table.headings]
        assert not [key for key in keys if key.endswith(("_low", "_high")) or "difference" in key or "ceiling" in key]
    assert "recall_lshknn_1000_test_judge" in [heading.key for heading in quality_table(inputs).headings]


def test_an_evaluation_without_samples_has_none(project: Path) -> None:
    (project / "artifacts" / "evaluate" / "samples.csv").unlink()
    stage = Stage("report", None, project, yaml.safe_load((project / "params.yaml").read_text()))
    assert read_inputs(stage).steps == []


@pytest.mark.parametrize("name", ["samples.csv", "samples.npz"])
def test_a_damaged_file_of_samples_is_named(whole_project: Path, tmp_path: Path, name: str) -> None:
    for each in ("samples.csv", "samples.npz"):
        shutil.copyfile(whole_project / "artifacts" / "evaluate" / each, tmp_path / each)
    damaged = (tmp_path / name).read_bytes().replace(b"1.2", b"1.x") if name.endswith("csv") else b"PK half"
    (tmp_path / name).write_bytes(damaged)
    with pytest.raises(DataError, match=r"samples\.csv or samples\.npz is damaged .*dvc repro --force evaluate"):
        step_samples(tmp_path, 0)


def test_a_judge_without_classes_lists_none(whole_project: Path, tmp_path: Path) -> None:
    evaluated = whole_project / "artifacts" / "evaluate"
    shutil.copyfile(evaluated / "samples.npz", tmp_path / "samples.npz")
    lines = (evaluated / "samples.csv").read_text().splitlines()
    bare = [line.rsplit(",", 2)[0] + ",," for line in lines[1:]]
    (tmp_path / "samples.csv").write_text("\n".join([lines[0], *bare]) + "\n")
    steps = step_samples(tmp_path, 0)
    assert [list(step.classes) for step in steps] == [[], []]
    assert np.isclose(steps[0].feature_distance.mean(), 0.12)
