"""Another package adds an object of each kind, which works everywhere; errors are reported in one line."""

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from typer.testing import CliRunner

from flows.__main__ import app
from ganpress import registries
from ganpress.compression.compressor import CompressionData
from ganpress.config.edge_section import CompressItem, EvaluateConfig, ExportItem
from ganpress.config.params import load_params
from ganpress.config.search_section import SearchConfig
from ganpress.data.prepared.generator_inputs import LatentInputs
from ganpress.errors import ConfigError, DataError
from ganpress.evaluation.measurement import reference_features, score_generator
from ganpress.files.edge_files import edge_name, find_edge_file
from ganpress.metrics.judges.feature_networks import ClassifierJudge
from ganpress.metrics.samples.sample import Sample
from ganpress.metrics.scoring import quick_score, real_side
from ganpress.training.loop import TrainingRun
from models import families
from models.builders import Blueprint, elastic_blueprint, generator_blueprint
from models.family import Canvas
from models.judge_networks import classifier
from models.registry import Registry

CHECKOUT = Path(__file__).resolve().parents[1]
PACKAGE = CHECKOUT / "tests" / "strangers"
TABLES = [one for one in (*vars(registries).values(), families.FAMILIES) if isinstance(one, Registry)]
ADDED = {
    "metric": "vendi",
    "target": "torchscript",
    "family": "mlp",
    "compressor": "weight_sharing",
    "data source": "rings",
    "distance": "slopes",
}
SEARCH = {"images": 40, "calibration_images": 40, "exhaustive_limit": 10, "generations": 2, "max_macs": 10_000_000}


def install(folder: Path, name: str = "strangers", entries: dict | None = None) -> Path:
    """Lay a package out as an installer does: its modules, and beside them its name and its entry points."""
    if entries is None:
        entries = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]["entry-points"]
    shutil.copytree(PACKAGE / "strangers", folder / "strangers", dirs_exist_ok=True)
    facts = folder / f"{name}-1.0.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = []
    for group, one in entries.items():
        lines += [f"[{group}]", *(f"{key} = {place}" for key, place in one.items())]
    (facts / "entry_points.txt").write_text("\n".join(lines))
    return folder


def forget():
    for table in TABLES:
        vars(table).pop("_added", None)
        for name in set(table._loaded) - set(table.built_in):
            del table._loaded[name]


@pytest.fixture
def site(tmp_path_factory, monkeypatch):
    """A folder of packages that this process sees."""
    folder = tmp_path_factory.mktemp("site")
    monkeypatch.syspath_prepend(str(folder))
    forget()
    yield folder
    forget()


@pytest.fixture
def installed(site):
    return install(site)


def test_one_of_each_kind_is_found_by_name_and_listed_last(installed):
    assert {table.kind for table in TABLES} == set(ADDED)
    for table in TABLES:
        name = ADDED[table.kind]
        assert list(table) == [*table.built_in, name]
        assert table.find(name) is table[name]


def test_nothing_is_imported_before_it_is_asked_for(installed):
    ask = (
        "import sys; from pathlib import Path; from ganpress.config.params import load_params; "
        "from ganpress.registries import METRICS; import ganpress.metrics.ranking as ranking; "
        "load_params(Path('params.yaml')); ranking.direction('fid_9_test_judge'); "
        "print([name for name in sys.modules if name.startswith('strangers')], '_added' in vars(METRICS)); "
        "METRICS.find('vendi'); print('strangers.vendi' in sys.modules, 'strangers.mlp' in sys.modules)"
    )
    done = python(installed, "-c", ask)
    assert done.stdout.split("\n")[:2] == ["[] False", "True False"], done.stderr


def python(site: Path, *arguments: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(site), str(CHECKOUT)])}
    return subprocess.run(
        [sys.executable, *arguments], cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("file", "chosen", "least"),
    [
        pytest.param("tests/metrics/test_metrics.py", "vendi", 3, marks=pytest.mark.slow),
        pytest.param("tests/edge/test_targets.py", "torchscript", 4, marks=pytest.mark.slow),
        pytest.param("tests/models/test_families.py", "mlp", 2, marks=pytest.mark.slow),
    ],
)
def test_the_tests_of_all_take_it_up(installed, file, chosen, least):
    done = python(installed, "-m", "pytest", "-n", "0", "-q", "-p", "no:cacheprovider", file, "-k", chosen)
    assert done.returncode == 0, done.stdout[-3000:]
    assert int(done.stdout.rsplit(" passed", 1)[0].split()[-1]) >= least


@pytest.fixture
def judge():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ClassifierJudge(classifier(1, 3, 4, 8), "0" * 12)


@pytest.fixture
def split(tmp_path, tiny_images):
    np.save(tmp_path / "test.npy", tiny_images.pixels)
    return tmp_path / "test.npy"


def test_the_evaluation_measures_it_and_the_search_chooses_by_it(installed, judge, split, trained_like):
    generator, inputs = trained_like("2", 16, 1), LatentInputs()
    config = EvaluateConfig(images=40, neighbours=3, kid_subsets=2, kid_subset_size=20, is_splits=2, latency_repeats=3)
    scores = score_generator(generator, judge, reference_features(split, judge, 3), config, 5, inputs)
    found = scores.metrics(scores)["vendi_40_judge"]
    assert 1 < found <= 8
    alike = Sample(np.ones((40, 8), np.float32), np.ones((40, 8), np.float32), None, 0)
    assert registries.METRICS["vendi"].measure(alike) == pytest.approx(1, abs=1e-3)
    assert SearchConfig(metric="vendi", **SEARCH).higher_is_better
    assert real_side("vendi", split, judge) is None
    assert 1 < quick_score(generator, judge, "vendi", 40, 5, inputs) <= 8


def test_compare_ranks_by_it_and_says_which_way(installed, tmp_path, monkeypatch):
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    (tmp_path / "artifacts/evaluate").mkdir(parents=True)
    rows = {"teacher": (2.0, 9.0), "student/a": (3.0, 1.0)}
    table = {name: {"vendi_9_judge": vendi, "is_9_judge": score} for name, (vendi, score) in rows.items()}
    (tmp_path / "artifacts/evaluate/metrics.json").write_text(json.dumps(table))
    monkeypatch.chdir(tmp_path)
    shown = CliRunner().invoke(app, ["compare", "--sort", "vendi"]).stdout
    assert "best of 2 by vendi_9_judge (higher is better)" in shown
    ranked = json.loads(CliRunner().invoke(app, ["compare", "--sort", "vendi", "--json"]).stdout)
    assert ranked["best"] == "student/a"


@pytest.mark.slow  # builds a whole report
def test_the_report_shows_it_with_title_arrow_and_meaning(installed, tmp_path):
    from ganpress.report.page import build_report
    from tasks.shared.report_inputs import read_inputs
    from tasks.shared.stage import Stage
    from tests.report.conftest import write_artifacts

    write_artifacts(tmp_path / "project")
    params = yaml.safe_load((tmp_path / "project" / "params.yaml").read_text())
    inputs = read_inputs(Stage("report", None, tmp_path / "project", params))
    rows = [
        dataclasses.replace(one, metrics={**one.metrics, "vendi_1000_judge": 2.0 + place})
        for place, one in enumerate(inputs.generators)
    ]
    report = build_report(dataclasses.replace(inputs, generators=rows))
    assert "Vendi ↑" in report.markdown
    assert "number of images that differ, by the entropy of their likeness" in report.html


def test_an_export_and_a_search_may_name_the_target(installed, tmp_path):
    item = ExportItem(generator="teacher", target="torchscript", number_type="float32")
    (tmp_path / edge_name(item.target)).touch()
    assert find_edge_file(tmp_path) == tmp_path / "generator.ts"
    assert SearchConfig(metric="fid", latency_runtime="torchscript", **SEARCH).latency_runtime == "torchscript"
    with pytest.raises(ConfigError, match="no number type"):
        registries.TARGETS["torchscript"].write(torch.nn.Identity(), tmp_path / "x.ts", torch.zeros(1, 1), "int8")
    listed = CliRunner().invoke(app, ["targets"]).stdout
    assert re.search(r"^torchscript +\.ts +float32 ", listed, re.MULTILINE)


def test_the_family_is_counted_rebuilt_and_made_elastic(installed, tmp_path):
    canvas = Canvas(1, 16, 16)
    blueprint = generator_blueprint("mlp:8", canvas)
    assert Blueprint(blueprint.builder, blueprint.arguments).build()(torch.zeros(2, 100)).shape == (2, 1, 16, 16)
    elastic = elastic_blueprint("mlp", canvas, ((4, 8),)).build()
    assert sum(one.numel() for one in elastic.parameters()) == 8 * 101 + 256 * 9
    params = yaml.safe_load((CHECKOUT / "params.yaml").read_text())
    params["supernet"] |= {"family": "mlp", "widths": [4, 8]}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    assert load_params(tmp_path / "params.yaml").supernet.family == "mlp"


def test_a_compression_may_name_the_algorithm_and_its_options(installed, trained_like):
    from ganpress.compression.applying import apply_item
    from tasks.compress import _options

    model = trained_like("2", 16, 1)
    blueprint = Blueprint("wdcgan_generator", {"spec": "2", "size": 16, "channels": 1})
    item = CompressItem(generator="teacher", method={"name": "weight_sharing", "clusters": 4})
    data = CompressionData(torch.zeros(2, 100), 0, LatentInputs(), TrainingRun(0, "compress"), torch.device("cpu"))
    shared, _ = apply_item(model, blueprint, item, data)
    assert all(len(weight.unique()) <= 4 for weight in shared.parameters() if weight.dim() > 1)
    assert _options(item) == {"weight_sharing.clusters": 4}
    wrong = {"name": "weight_sharing", "clusters": 1}, {"name": "weight_sharing", "colours": 3}, {"name": "magic"}
    words = (
        "method weight_sharing: .*clusters.*",
        "unknown key 'colours'",
        "unknown compressor 'magic'; known: .*weight_sharing",
    )
    for method, message in zip(wrong, words, strict=True):
        with pytest.raises(ValueError, match=message):
            CompressItem(generator="teacher", method=method)


def test_a_student_may_be_compared_by_the_distance(installed, tmp_path):
    from ganpress.training.distances.mixed_distance import MixedDistance

    params = yaml.safe_load((CHECKOUT / "params.yaml").read_text())
    params["student"]["items"]["d2-mse"]["distances"] = {"slopes": 2.0}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    item = load_params(tmp_path / "params.yaml").student.items["d2-mse"]
    upright = torch.tensor([1.0, -1.0]).repeat(8).expand(1, 1, 16, 16)
    total, _ = MixedDistance(item.distances)(upright, torch.zeros(1, 1, 16, 16))
    assert float(total) == 4.0


def test_the_data_source_is_imported(installed, tmp_path):
    from ganpress.data.sources.acquisition import import_data

    card = import_data("rings", None, tmp_path / "data")
    assert (card.source, card.counts) == ("rings", {"train": 40, "test": 10})


def test_an_unknown_name_is_refused_with_the_known_ones(installed):
    for table in TABLES:
        message = rf"unknown {table.kind} 'nothing'; known: .*{ADDED[table.kind]}"
        with pytest.raises((ConfigError, ValueError), match=message):
            table.find("nothing")


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"fid": "strangers.vendi:VENDI"}, "adds the metric 'fid': ganpress has a metric of that name"),
        ({"FID 2": "strangers.vendi:VENDI"}, "adds the metric 'FID 2': a name is at most 40 small letters"),
        ({"gone": "strangers.gone:GONE"}, "strangers.gone:GONE cannot be imported .ModuleNotFoundError"),
        ({"vendi": "strangers.mlp:MLP"}, "strangers.mlp:MLP is no Metric of that name"),
        ({"other": "strangers.vendi:VENDI"}, "strangers.vendi:VENDI is no Metric of that name"),
    ],
)
def test_what_is_wrong_with_a_package_is_said_in_one_line(site, entries, message):
    install(site, "broken", {"ganpress.metrics": entries})
    with pytest.raises(ConfigError, match=f"the package 'broken'.*{message}") as error:
        dict(registries.METRICS)
    assert "\n" not in str(error.value)
    assert registries.METRICS["fid"].name == "fid"


def test_two_packages_of_one_name_are_refused(site):
    install(site)
    install(site, "twin", {"ganpress.metrics": {"vendi": "strangers.mlp:MLP"}})
    with pytest.raises(ConfigError, match="adds the metric 'vendi': so does the package '.*'; uninstall one of them"):
        registries.METRICS.find("vendi")


def test_a_download_that_a_source_has_not_is_said(installed, tmp_path):
    from ganpress.data.sources.acquisition import import_data

    with pytest.raises(DataError, match="does not exist"):
        import_data("rings", tmp_path / "gone", tmp_path / "data")
