"""The report of conditional chains: the main metric, other metrics, and omitted parts."""

import dataclasses
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from ganpress.config.base import read_yaml
from ganpress.config.params import Params, merge_overlay
from ganpress.data.label_colours import palette
from ganpress.data.prepared.arrays import Conditioning
from ganpress.report.chain_values import Curve, ScoredSubnet, SearchOutcome
from ganpress.report.content import DataFacts, Gallery, Measured, ReportInputs
from ganpress.report.figures.search_figures import search_charts
from ganpress.report.figures.size_figures import size_chart
from ganpress.report.figures.training_figures import curve_charts
from ganpress.report.gains import gains
from ganpress.report.headline import headline, summary
from ganpress.report.lineage.network_names import network_names, subnet_name
from ganpress.report.lineage.origins import lineage_edges
from ganpress.report.notation import parse_metric_name
from ganpress.report.page import build_report
from ganpress.report.pictures.image_strips import ROW_PIXELS, sample_strips
from ganpress.report.pictures.label_pictures import colour_labels, label_legend

CHECKOUT = Path(__file__).resolve().parents[2]
TEXT = "1_2_1_2_2_2_2_1"
SCORES = {
    "teacher": (20.0, 40_000),
    "student/mobile2": (22.0, 9_000),
    "control/mobile2": (30.0, 9_000),
    "subnet/extracted": (27.0, 9_300),
    "subnet": (24.0, 9_300),
    "compress/subnet-int8": (25.0, 9_300),
    "export/teacher": (20.0, 40_000),
    "export/subnet-int8": (25.0, 9_300),
}


def params_of(recipe: str) -> Params:
    content = merge_overlay(read_yaml(CHECKOUT / "params.yaml"), read_yaml(CHECKOUT / "recipes" / f"{recipe}.yaml"))
    return Params.model_validate(content)


def conditioning(pairing: str, size: int = 16) -> Conditioning:
    labels = ["background", "road", "sky"] if pairing == "semantic" else []
    return Conditioning(pairing, len(labels) or 1, size, size, labels, {"train": 9, "validation": 3, "test": 6})


def row(fid: float, parameters: int, split: str, extra: Sequence[str] = ()) -> dict[str, float]:
    metrics = {f"fid_64_{split}_judge": fid, "is_64_judge": 40 / fid, "fid_retained": 20 / fid}
    metrics |= dict.fromkeys(extra, 1 / fid)
    costs = {"parameters": parameters, "macs_exact": 30 * parameters, "macs_torchprofile": 31 * parameters}
    return metrics | costs | {"size_bytes": 4 * parameters, "latency_ms_p50": parameters / 9000, "latency_ratio": 2.0}


def pictures(size: int, count: int = 5) -> np.ndarray:
    return np.random.default_rng(size).integers(0, 256, (count, 1, size, size), dtype=np.uint8)


def found_search() -> SearchOutcome:
    scored = [
        ScoredSubnet(
            f"1_{place}",
            {
                "parameters": 800 * n,
                "macs_exact": 9000 * n,
                "size_bytes": 3200 * n,
                "latency_ms_p50": 3.0 + (n * 7) % 5,
            },
            40.0 - n,
        )
        for place, n in enumerate(range(1, 13))
    ]
    return SearchOutcome(parse_metric_name("fid_64_validation_judge"), scored, scored[::2], scored[3], 4.5, 2)


def conditional(pairing: str) -> ReportInputs:
    """Inputs of a small conditional chain, as the stages leave them."""
    recipe = params_of(f"smoke_{pairing}")
    (item,) = recipe.student.items
    scores = {name.replace("mobile2", item): score for name, score in SCORES.items()}
    split = "all" if pairing == "unpaired" else "test"
    extra = [] if pairing == "unpaired" else ["psnr_64_test", "ssim_64_test"]
    extra += ["miou_64_test_judge"] if pairing == "semantic" else []
    maps = np.arange(5, dtype=np.uint8)[:, None, None, None] % 2 + np.zeros((5, 1, 16, 16), np.uint8)
    return ReportInputs(
        params=recipe,
        params_text="",
        generators=[Measured(name, row(fid, count, split, extra)) for name, (fid, count) in scores.items()],
        gallery=Gallery(
            {name: pictures(16) for name in scores},
            source=maps if pairing == "semantic" else pictures(8),
            truth=None if pairing == "unpaired" else pictures(16),
        ),
        search=found_search(),
        data=DataFacts(conditioning=conditioning(pairing)),
        networks=network_names(recipe, "resnet_9blocks:ngf=4", TEXT),
        curves=[Curve("candidate/alien", [0.0], {}), Curve("supernet", [8.0, 16.0], {"recon": [3.0, 2.0]})],
    )


@pytest.fixture(scope="module", params=["paired", "unpaired", "semantic"])
def inputs(request: pytest.FixtureRequest) -> ReportInputs:
    return conditional(request.param)


@pytest.fixture(scope="module")
def paired() -> ReportInputs:
    return conditional("paired")


def test_iou_decides_where_there_is_one_else_distance_never_inception_score(inputs: ReportInputs) -> None:
    expected = {"paired": "fid_64_test_judge", "unpaired": "fid_64_all_judge", "semantic": "miou_64_test_judge"}
    assert inputs.main_metric.raw == expected[inputs.data.conditioning.pairing]


def test_page_names_networks_and_shows_what_was_given(inputs: ReportInputs) -> None:
    report = build_report(inputs)
    (student,) = inputs.params.student.items.values()
    for text in (
        student.generator_name,
        subnet_name(inputs.params.supernet.family, TEXT),
        "macs_torchprofile",
        "candidate/alien was",
    ):
        assert text in report.html
    assert "samples-source.png" in report.pictures
    assert ("samples-truth.png" in report.pictures) == (inputs.gallery.truth is not None)
    assert "latents" not in report.html
    assert 'id="interpolation"' not in report.html
    assert "Latent interpolation" not in report.markdown


def test_given_pictures_stand_first_and_the_extracted_before_the_tuned(paired: ReportInputs) -> None:
    order = [strip.reference for strip in sample_strips(paired)]
    assert order[:5] == ["source", "truth", "teacher", "student/mobile2", "control/mobile2"]
    assert order[5:] == ["subnet/extracted", "subnet", "compress/subnet-int8", "export/teacher", "export/subnet-int8"]
    assert len({strip.width for strip in sample_strips(paired)}) == 1


def test_large_pictures_are_fewer_in_every_row_alike() -> None:
    inputs = conditional("paired")
    large = Gallery({"teacher": pictures(256, 16)}, source=pictures(128, 16), truth=pictures(256, 16))
    strips = sample_strips(dataclasses.replace(inputs, gallery=large))
    widths = [Image.open(io.BytesIO(strip.png)).width for strip in strips]
    assert widths[1] == widths[2] <= ROW_PIXELS + 256
    assert widths[0] == pytest.approx(widths[1] / 2, rel=0.01)


def test_headline_retains_the_deciding_metric(inputs: ReportInputs) -> None:
    values = summary(inputs)
    base = inputs.main_metric.base
    assert values["best_edge_file"] == "export/subnet-int8", "the teacher's is beyond evaluate.max_bytes"
    assert values[f"{base}_retained"] == pytest.approx(20 / 25)
    assert f"of the teacher's {inputs.main_metric.title}" in [tile.label for tile in headline(inputs).tiles]


def test_poor_segmentation_is_warned_of() -> None:
    inputs = conditional("semantic")
    data = dataclasses.replace(inputs.data, real_scores={"miou_60_test_judge": 0.5})
    sentence = headline(dataclasses.replace(inputs, data=data)).warning
    assert "its mIoU of 0.050" in sentence
    assert "10.0 % of the way from nothing right (0) to real images (0.500)" in sentence


def test_each_step_stands_beside_what_lacks_it(paired: ReportInputs) -> None:
    found = {(gain.step, gain.one.reference): (gain.beside.reference, gain.difference) for gain in gains(paired)}
    assert found == {
        ("distillation", "student/mobile2"): ("control/mobile2", -8.0),
        ("once for all", "subnet/extracted"): ("control/mobile2", -3.0),
        ("fine-tuning", "subnet"): ("subnet/extracted", -3.0),
        ("compression", "compress/subnet-int8"): ("subnet", 1.0),
    }
    assert [gain.better for gain in gains(paired)] == [True, True, True, False]


def test_controls_of_another_size_are_no_comparison(paired: ReportInputs) -> None:
    other = [
        Measured(one.reference, {**one.metrics, "parameters": 20_000}) if one.group == "control" else one
        for one in paired.generators
    ]
    steps = {gain.step for gain in gains(dataclasses.replace(paired, generators=other))}
    assert steps == {"fine-tuning", "compression"}


def test_size_chart_needs_two_sizes(paired: ReportInputs) -> None:
    assert size_chart(paired, paired.main_metric) is None
    grown = [
        Measured(one.reference, {**one.metrics, "parameters": 18_000}) if one.group == "control" else one
        for one in paired.generators
    ]
    chart = size_chart(dataclasses.replace(paired, generators=grown), paired.main_metric)
    assert ">parameters</text>" in chart.svg
    assert "student, GAN Compression" in chart.svg


def test_search_is_drawn_over_each_cost_that_counts(paired: ReportInputs) -> None:
    charts = {drawing.name: drawing for drawing in search_charts(paired.search, paired)}
    assert list(charts) == ["search-over-macs-exact", "search-over-latency-ms-p50", "search-over-parameters"]
    assert "dotted: the budget" in charts["search-over-parameters"].svg
    assert "dotted: the budget" not in charts["search-over-macs-exact"].svg
    assert "latency p50" in charts["search-over-macs-exact"].svg, "its colours"


def test_search_of_one_cost_needs_no_second(paired: ReportInputs) -> None:
    scored = [dataclasses.replace(one, costs={"macs_exact": 5000.0}) for one in paired.search.scored]
    search = dataclasses.replace(paired.search, scored=scored, front=scored[:1], best=scored[0])
    (chart,) = search_charts(search, paired)
    assert chart.name == "search-over-macs-exact"


def test_whole_front_is_in_the_table(paired: ReportInputs) -> None:
    table = build_report(paired).markdown.split("## Search")[1].split("## Lineage")[0]
    for one in paired.search.front:
        assert f"| {one.spec} |" in table


def test_curves_are_grouped_by_stage_with_whatever_losses_they_have() -> None:
    curves = [
        Curve("candidate/a", [1.0, 2.0], {"cycle": [3.0, 2.0], "odd_loss": [1.0, 0.01]}),
        Curve("candidate/b", [1.0, 2.0], {"cycle": [4.0, 2.5]}),
        Curve("candidate/imported", [0.0], {}),
        Curve("supernet", [8.0], {"recon": [3.0]}),
    ]
    charts = curve_charts(curves)
    assert [one.name for one in charts] == ["curves-candidate", "curves-supernet"]
    assert ">odd loss</text>" in charts[0].svg
    assert "candidate/b: 2.500 at the end" in charts[0].svg
    assert "imported" not in charts[0].svg


def test_labels_have_colours_of_their_own() -> None:
    colours = palette(36)
    assert len(np.unique(colours[:36], axis=0)) == 36
    ids = np.array([0, 1, 2, 255], np.uint8).reshape(1, 1, 2, 2)
    drawn = colour_labels(ids, 3)
    assert drawn.shape == (1, 3, 2, 2)
    assert (drawn[0, :, 0, 1] == colours[1]).all()
    assert (drawn[0, :, 1, 1] == 255).all(), "ignored"


def test_legend_names_the_labels_that_are_shown() -> None:
    ids = np.zeros((2, 1, 4, 4), np.uint8)
    ids[1] = 2
    assert [one.name for one in label_legend(conditioning("semantic"), ids)] == ["background", "sky"]
    assert label_legend(conditioning("paired"), ids) == []


def test_networks_follow_compression_and_options() -> None:
    names = network_names(params_of("smoke_semantic"), "spade:ngf=2", "1_2_1")
    expected = "mobile_spade:1_2_1 upsampling=normal"
    assert names["subnet"] == names["subnet/extracted"] == names["export/subnet-int8"] == expected
    assert names["export/teacher"] == "spade:ngf=2"
    assert "teacher" not in network_names(params_of("smoke"), None, None)


def test_lineage_of_conditional_chains_starts_students_from_data_and_imports_elsewhere() -> None:
    edges = lineage_edges(params_of("smoke_paired"))
    assert {("prepare", "student/mobile2"), ("prepare", "supernet"), ("teacher", "subnet")} <= set(edges)
    assert ("prepare", "supernet") not in lineage_edges(params_of("smoke"))
    content = yaml.safe_load(params_of("smoke_paired").model_dump_json(by_alias=True))
    content["candidate"] |= {"imported": "imported/srgan", "items": {"alien": {"imported": True}}}
    assert ("imported/srgan", "candidate/alien") in lineage_edges(Params.model_validate(content))
