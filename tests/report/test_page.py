"""The finished page and Markdown, from files to documents."""

import dataclasses
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

from ganpress.report.content import Gallery, Measured, ReportInputs
from ganpress.report.notation import write_count, write_score
from ganpress.report.page import Report, build_report
from ganpress.report.tables.result_tables import headline_table
from ganpress.tracking import StageRun
from tasks.report import work
from tasks.shared.report_inputs import read_inputs
from tasks.shared.stage import Stage

VOID = {"br", "hr", "img", "input", "link", "meta"}
LOADING = {"src", "srcset", "poster", "data", "action", "xlink:href"}


class Page(HTMLParser):
    """Tags, ids, texts and table cells of a page; `errors` holds what does not nest."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.errors: list[str] = []
        self.rows: dict[str, list[tuple[str, str | None]]] = {}
        self._row: list[tuple[str, str | None]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self._row = []
        if tag in ("td", "th"):
            self._row.append(("", dict(attrs).get("data-value")))

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        name_of_network = "small" in self.open and len(self._row) == 1
        if self._row and ("td" in self.open or "th" in self.open) and not name_of_network:
            self._row[-1] = (self._row[-1][0] + data, self._row[-1][1])

    def handle_endtag(self, tag):
        if not self.open or self.open[-1] != tag:
            self.errors.append(f"</{tag}> closes {self.open[-1:]} at {self.getpos()}")
        else:
            self.open.pop()
        if tag == "tr" and self._row:
            self.rows.setdefault(self._row[0][0].removesuffix("best"), self._row)


def inputs_of(root: Path) -> ReportInputs:
    return read_inputs(Stage("report", None, root, yaml.safe_load((root / "params.yaml").read_text())))


@pytest.fixture(scope="module")
def report(inputs: ReportInputs) -> Report:
    return build_report(inputs)


@pytest.fixture(scope="module")
def written(whole_project: Path) -> Path:
    """The folder of the report stage after a run, into which an earlier run had put a picture that is no more."""
    params = yaml.safe_load((whole_project / "params.yaml").read_text())
    stage = Stage("report", None, whole_project, params)
    (stage.out / "pictures").mkdir(parents=True)
    (stage.out / "pictures" / "samples-student-gone.png").write_bytes(b"")
    work(stage, StageRun(whole_project, None, ""))
    return stage.out


@pytest.fixture(scope="module")
def page(report: Report) -> Page:
    return Page(report.html)


def test_page_is_well_formed(page: Page) -> None:
    assert page.errors == []
    assert page.open == []
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_page_refers_to_ids_that_exist(page: Page, report: Report) -> None:
    ids = {attributes.get("id") for _, attributes in page.tags}
    hrefs = [attributes["href"] for _, attributes in page.tags if attributes.get("href")]
    referred = [href[1:] for href in hrefs if href.startswith("#")] + re.findall(r"url\(#([^)]+)\)", report.html)
    assert len(referred) > 20
    assert set(referred) <= ids


def test_page_asks_nothing_of_the_network(page: Page, report: Report) -> None:
    for tag, attributes in page.tags:
        for name in LOADING & attributes.keys():
            assert (attributes[name] or "").startswith("data:"), (tag, name)
        if tag != "a" and attributes.get("href"):
            assert attributes["href"].startswith(("#", "data:")), (tag, attributes["href"])
        assert not any("http" in (value or "") for value in attributes.values()), (tag, attributes)
    assert "@import" not in report.html
    assert not re.search(r"url\((?!#)", report.html)
    script = report.html.split("<script>")[1]
    assert not re.search(r"fetch|XMLHttpRequest|import\b|http", script)


def test_page_shows_every_generator_with_the_numbers_measured(page: Page, inputs: ReportInputs) -> None:
    for one in inputs.generators:
        cells = dict(page.rows[one.reference])
        values = {float(value) for value in cells.values() if value is not None}
        for name in ("is_1000_judge", "fid_1000_test_judge", "parameters", "size_bytes", "latency_ms_p50"):
            assert one.metrics[name] in values
        assert write_count(one.metrics["parameters"]) in cells
        assert write_score(one.metrics["is_1000_judge"]) in cells


def test_ratios_are_the_teachers_number_over_the_own(page: Page, inputs: ReportInputs) -> None:
    subnet = inputs.generator("subnet")
    values = [float(value) for _, value in page.rows["subnet"] if value is not None]
    assert inputs.teacher.metrics["parameters"] / subnet.metrics["parameters"] in values
    assert inputs.teacher.metrics["size_bytes"] / subnet.metrics["size_bytes"] in values


def test_best_values_are_marked_as_far_as_they_are_shown(inputs: ReportInputs) -> None:
    rounding = Measured("export/teacher", dict(inputs.teacher.metrics) | {"is_1000_judge": 9.1 - 1e-7})
    table = headline_table(dataclasses.replace(inputs, generators=[inputs.teacher, rounding]))
    best = [row.cells[0].best for group in table.groups for row in group.rows]
    assert best == [True, True]
    table = headline_table(inputs)
    assert [row.reference for group in table.groups for row in group.rows if row.cells[0].best] == [
        "teacher",
        "export/teacher",
    ]


def test_headings_carry_the_protocol(report: Report) -> None:
    for protocol in ("1,000 images · test · judge", "batch 1, 1 thread, 200 rounds", "500 images · validation · judge"):
        assert protocol in report.html


def test_students_stand_above_the_control_of_their_size(report: Report) -> None:
    order = ["student/d2-mse", "control/d2", "student/d4-mse", "student/d4-joint", "control/d4"]
    places = [report.markdown.index(f"| {reference} |") for reference in order]
    assert places == sorted(places)


def test_markdown_tables_have_rows_of_one_length(report: Report) -> None:
    body = report.markdown.split("## Reproduce")[0]
    tables = [block for block in body.split("\n\n") if block.startswith("|")]
    assert len(tables) > 8
    for table in tables:
        lines = table.strip().splitlines()
        assert re.fullmatch(r"\|(?:-*-:?\|)+", lines[1]), lines[1]
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1, table


def test_markdown_shows_the_pictures_that_are_written(report: Report) -> None:
    shown = set(re.findall(r"\]\(pictures/([^)]+)\)", report.markdown))
    assert shown == set(report.pictures)
    assert all(png.startswith(b"\x89PNG") for png in report.pictures.values())


def test_both_documents_hold_every_part_that_was_measured(report: Report) -> None:
    for text in (report.html, report.markdown):
        assert "What compression changed, image by image" in text
        assert "Uncertainty of the scores" in text
        assert "Roofline: what eager torch and each edge file reach" in text
    expected = {"changed-compress-subnet-pruned-after.png", "roofline.png", "latency-prediction.png"}
    assert expected <= set(report.pictures)


def test_params_and_text_from_files_are_escaped(inputs: ReportInputs) -> None:
    nasty = '<script>alert("x")</script> | pipe'
    machine = [dataclasses.replace(inputs.machine[0], value=nasty)]
    report = build_report(bare(inputs, machine=machine, params_text=nasty))
    assert "<script>alert" not in report.html
    assert Page(report.html).errors == []
    assert "\\| pipe" in report.markdown


def test_report_of_the_evaluation_alone_says_what_is_missing(inputs: ReportInputs) -> None:
    report = build_report(bare(inputs))
    assert Page(report.html).errors == []
    missing = ("No search was found", "No sweep was found.", "kept no pictures", "kept no interpolation")
    for sentence in (*missing, "No selection and no curves"):
        assert sentence in report.html
    for section in ("What compression changed", "Roofline"):
        assert section not in report.html
        assert section not in report.markdown


def test_report_of_a_lone_teacher_has_no_headline(inputs: ReportInputs) -> None:
    report = build_report(bare(inputs, generators=[inputs.teacher]))
    assert "No edge file was measured." in report.html
    assert 'class="tile"' not in report.html


def test_unmeasured_numbers_are_left_open(inputs: ReportInputs) -> None:
    poor = Measured("subnet", {"is_1000_judge": 5.0})
    page = Page(build_report(bare(inputs, generators=[inputs.teacher, poor])).html)
    written = [text for text, _ in page.rows["subnet"]]
    assert "5.000" in written
    assert written.count("–") > 5


def bare(inputs: ReportInputs, **changes: object) -> ReportInputs:
    """The inputs with nothing but generators."""
    nothing = {"gallery": Gallery({}), "selection": None, "curves": (), "search": None, "cards": (), "digests": {}}
    nothing |= {"compressions": (), "machine": (), "peaks": None, "steps": ()}
    return dataclasses.replace(inputs, **(nothing | changes))


def test_stage_writes_what_was_built_twice_with_the_same_bytes(report: Report, written: Path) -> None:
    assert (written / "report.html").read_text(encoding="utf-8") == report.html
    assert (written / "report.md").read_text(encoding="utf-8") == report.markdown
    assert {path.name: path.read_bytes() for path in (written / "pictures").iterdir()} == report.pictures


def test_stage_writes_the_headline_numbers(written: Path) -> None:
    summary = json.loads((written / "summary.json").read_text())
    assert summary["best_edge_file"] == "export/subnet-int8"
    assert summary["generators"] == 15
