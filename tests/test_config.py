import copy
from pathlib import Path

import pytest

from ganpress.config.base import parse, read_yaml
from ganpress.config.params import Params, load_params, merge_overlay
from ganpress.errors import ConfigError

ROOT = Path(__file__).resolve().parents[1]
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))


@pytest.fixture
def content():
    return read_yaml(ROOT / "params.yaml")


def with_value(content, dotted, value):
    changed = copy.deepcopy(content)
    *path, last = dotted.split(".")
    section = changed
    for key in path:
        section = section[key]
    section[last] = value
    return changed


def test_default_params_parse():
    assert load_params(ROOT / "params.yaml").data.source == "digits"


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_parses(recipe, content):
    parsed = parse(merge_overlay(content, read_yaml(recipe)), Params, recipe.name)
    assert parsed.report.title != content["report"]["title"]  # the recipe's own, laid over the default


def test_recipe_replaces_items_and_merges_the_rest(content):
    merged = merge_overlay(content, {"candidate": {"items": {"d3": {"depth": 3}}, "training": {"batch_size": 8}}})
    assert list(merged["candidate"]["items"]) == ["d3"]
    assert merged["candidate"]["training"]["batch_size"] == 8
    assert merged["candidate"]["training"]["objective"] == content["candidate"]["training"]["objective"]
    assert len(content["candidate"]["items"]) > 1


@pytest.mark.parametrize(
    ("dotted", "value", "message"),
    [
        ("judge.wdith", 3, r"unknown key 'judge\.wdith' \(allowed here: batch_size, features, kind"),
        (
            "student.items.d2-mse.aplha",
            0.1,
            r"unknown key 'student\.items\.d2-mse\.aplha' \(allowed here: alpha, depth",
        ),
        ("candidate.items.d8.depth", 0, r"'candidate\.items\.d8\.depth' is 0: .*greater than or equal to 1"),
        ("prepare.image_size", 28, r"'prepare\.image_size' is 28: .*16, 32, 64, 128 or 256"),
        ("supernet.widths", [4, 2], r"widths must be ascending and at least 1, found \[4, 2\]"),
        ("search.max_parameters", None, "a budget is needed: max_macs, max_parameters, max_bytes or max_latency_ms"),
        ("candidate.training.weight_clip", 0.01, "objective 'gan' takes neither weight_clip nor gradient_penalty"),
        ("candidate.training.objective", "wgan", "needs exactly one of weight_clip and gradient_penalty"),
        ("candidate.training.objective", "r3gan", "'r3gan' needs gradient_penalty, the gamma of its penalties"),
        ("compress.items.subnet-int8", {"generator": "subnet"}, "needs weight_bits, activation_bits or sparsity"),
        (
            "student.items.d2-mse.distances",
            {"vgg": 1.0},
            "unknown distance 'vgg'; known: absolute, activations, dime, squared, wavelet",
        ),
        ("student.items.d2-mse.distances", {}, r"distances' is \{\}: .*at least 1 item"),
        ("student.items.d2-mse.distances", {"wavelet": 0.0}, r"distances\.wavelet' is 0\.0: .*greater than"),
        ("seed", -1, "'seed' is -1"),
        ("teacher.metric", "miou", "teacher.metric is 'miou', which needs judge.kind 'segmenter'"),
        ("search.metric", "psnr", "search.metric is 'psnr', which needs data with a target"),
        ("control.items.d2", {"spec": "wdcgan:2_4"}, "it is one number or 3, joined by '_'"),
        ("control.items.d2", {"spec": "wdcgan:x"}, "control.items.d2 has the spec 'x'"),
        ("prepare.width", 64, "makes square images; leave prepare.width out"),
        ("control.items", {}, r"'control\.items' is \{\}: .*at least 1 item"),
        (
            "export.items.subnet",
            {"generator": "candidate/d8"},
            r"export\.items\.subnet\.generator is 'candidate/d8'; generators: compress/subnet-int8, .*teacher",
        ),
        (
            "compress.items.x",
            {"generator": "compress/x", "sparsity": 0.1},
            r"compress\.items\.x\.generator is 'compress/x'",
        ),
        ("evaluate.kid_subset_size", 1000, r"kid_subset_size is 1000; it must be below evaluate\.images = 1000"),
        ("sweep.images", 150, r"evaluate\.kid_subset_size is 200; it must be below sweep\.images = 150"),
        ("sweep.bits", [4, 9], r"'sweep\.bits\.1' is 9: .*less than or equal to 8"),
        ("sweep.bits", [1], r"'sweep\.bits\.0' is 1: .*greater than or equal to 2"),
        ("sweep.bits", [4, 4], r"sweep: bits must differ from each other, found \[4, 4\]"),
        ("sweep.clipping", ["mean"], r"'sweep\.clipping\.0' is 'mean': .*'none', 'mse', 'aciq', 'kl' or 'percentile'"),
        ("sweep.clipping", [], r"'sweep\.clipping' is \[\]: .*at least 1 item"),
        (
            "sweep.generator",
            "compress/subnet-int8",
            r"sweep\.generator is 'compress/subnet-int8'; generators: control/d2, .*subnet, teacher",
        ),
        (
            "student.adversarial",
            {"objective": "wgan", "weight_clip": 0.01, "discriminator_learning_rate": 0.001, "beta1": 0.5},
            "inherits was trained for 'gan'",
        ),
    ],
)
def test_wrong_values_are_named(dotted, value, message, content):
    with pytest.raises(ConfigError, match=message) as caught:
        parse(with_value(content, dotted, value), Params, "params.yaml")
    assert "\n" not in str(caught.value)


def test_missing_section_and_all_errors_at_once(content):
    del content["teacher"]
    with pytest.raises(ConfigError, match="'seed' is 'one': .*; key 'teacher' is missing"):
        parse(with_value(content, "seed", "one"), Params, "params.yaml")


def test_files_that_are_no_params(tmp_path):
    with pytest.raises(ConfigError, match="does not exist; run from the project's root"):
        read_yaml(tmp_path / "params.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [1,\nb: 2")
    with pytest.raises(ConfigError, match=r"broken\.yaml is not valid YAML"):
        read_yaml(broken)
    broken.write_text("- 1")
    with pytest.raises(ConfigError, match="must contain a mapping of sections, found list"):
        read_yaml(broken)


@pytest.mark.parametrize("where", ["params.yaml", "params.yaml + recipe old", "params.yaml + --set prepare.size=64"])
def test_the_old_name_of_the_image_size_is_told(where, content):
    content["prepare"] = {"size": 32, **content["prepare"]}
    with pytest.raises(ConfigError, match=r"'prepare\.size' is called 'prepare\.image_size' now; rename the key$"):
        parse(content, Params, where)
    del content["prepare"]["image_size"]
    with pytest.raises(ConfigError, match=r"'prepare\.size' is called 'prepare\.image_size' now; rename the key$"):
        parse(content, Params, where)
