"""Which stages of this project an edit of its code runs again."""

import ast
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import yaml

from ganpress.executed_code.digests import StageCode
from ganpress.executed_code.extensions import Extension
from tasks.shared.generator_training import identity
from tasks.shared.stage import Stage

DISTILLED = {"student/d2-mse", "student/d4-mse", "student/d4-joint", "supernet", "subnet"}


def _with_other_words(source):
    """Change each docstring and each annotation of a function, and add a comment, at the places that the tree gives."""
    tree = ast.parse(source)
    lines = source.encode().splitlines(keepends=True)
    starts = [sum(map(len, lines[:number])) for number in range(len(lines) + 1)]
    edits = []
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        for one in body if isinstance(body, list) else ():
            if isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant) and isinstance(one.value.value, str):
                edits.append((one.value, b'"""Other words."""'))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            found = [argument.annotation for argument in arguments if argument.annotation] + [node.returns]
            # The words of before stay in it: an import that nothing uses any more would be one for its effect.
            edits += [(one, repr(f"Another | {ast.unparse(one)}").encode()) for one in found if one is not None]
    text = b"".join(lines)
    for node, new in sorted(edits, key=lambda edit: (edit[0].lineno, edit[0].col_offset), reverse=True):
        start = starts[node.lineno - 1] + node.col_offset
        text = text[:start] + new + text[starts[node.end_lineno - 1] + node.end_col_offset :]
    return text.decode() + "# another comment\n", len(edits)


def test_words_and_annotations_of_all_modules_run_nothing_again(copy):
    edits = 0
    for path in copy.root.rglob("*.py"):
        text, count = _with_other_words(path.read_text())
        path.write_text(text)
        edits += count
    assert edits > 5000
    assert copy.changed() == set()


def _identity(root):
    """What the checkpoint of a half-done training is named after."""
    return identity(Stage("student", "d2-mse", root, yaml.safe_load((root / "params.yaml").read_text())), [])


def test_a_half_done_training_resumes_after_an_edit_of_words_only(copy):
    before = _identity(copy.root)
    copy.edit("ganpress/errors.py", "All errors that", "Each error which")
    copy.edit("models/wdcgan.py", '"""', '"""Another word. ')
    assert _identity(copy.root) == before
    copy.edit("ganpress/training/losses.py", "functional.mse_loss(student_images", "functional.l1_loss(student_images")
    assert _identity(copy.root) != before


def test_a_constant_of_the_distillation_runs_what_distils_and_nothing_before_it(copy):
    copy.edit(
        "ganpress/training/losses.py",
        "functional.mse_loss(student_images, teacher_images)",
        "functional.mse_loss(student_images, teacher_images) * 2",
    )
    assert copy.changed() == DISTILLED


def test_a_distance_that_no_student_names_runs_nothing_again(copy):
    copy.edit("ganpress/training/distances/wavelet_distance.py", "LEVELS = 3", "LEVELS = 2")
    assert copy.changed() == set()
    params = yaml.safe_load((copy.root / "params.yaml").read_text())
    params["student"]["items"]["d2-mse"]["distances"] = {"wavelet": 1.0}
    (copy.root / "params.yaml").write_text(yaml.safe_dump(params))
    assert "student/d2-mse" in copy.changed()


ARCHITECTURE = """

from models.generator_families import UNET_32
from models.resnet import resnet_generator
from torch import nn

WIDTHS = 8
NEW = replace(UNET_32, builder="new_generator")

def new_generator(spec: str, in_channels: int, out_channels: int) -> nn.Module:
    return resnet_generator(spec, in_channels, out_channels, WIDTHS > 0)
"""


@pytest.fixture
def with_architecture(copy):
    """The project with one more architecture in it: a file and its registrations."""
    (copy.root / "models/new_family.py").write_text(ARCHITECTURE)
    copy.edit(
        "models/builders.py",
        '        "pretext_classifier": ',
        '        "new_generator": "models.new_family:new_generator",\n        "pretext_classifier": ',
    )
    copy.edit(
        "models/families.py", '        "unet_32": ', '        "new": "models.new_family:NEW",\n        "unet_32": '
    )
    return copy


def test_a_new_architecture_runs_nothing_again(with_architecture):
    assert with_architecture.changed() == set()


def test_a_new_architecture_counts_where_it_is_named(with_architecture):
    params = yaml.safe_load((with_architecture.root / "params.yaml").read_text())
    params["control"]["items"]["new"] = {"spec": "new:16"}
    (with_architecture.root / "params.yaml").write_text(yaml.safe_dump(params))
    assert with_architecture.changed() == {"control/new", "evaluate", "report"}
    before = StageCode(with_architecture.root).reached("artifacts/code/control/new").digest
    with_architecture.edit("models/new_family.py", "WIDTHS = 8", "WIDTHS = 9")
    assert StageCode(with_architecture.root).reached("artifacts/code/control/new").digest != before


def test_a_new_target_runs_nothing_again(copy):
    (copy.root / "ganpress/edge/targets/new_target.py").write_text(
        "from ganpress.edge.targets.target import Target\n\n\nclass NewTarget(Target):\n    name = 'new'\n\n\n"
        "TARGET = NewTarget()\n"
    )
    place = '"new": "ganpress.edge.targets.new_target:TARGET",'
    copy.edit("ganpress/registries.py", '"openvino": ', f'{place}\n        "openvino": ')
    assert copy.changed() == set()


def test_a_new_compressor_runs_nothing_again(copy):
    (copy.root / "ganpress/compression/new.py").write_text(
        "from ganpress.compression.compressor import Compressor\n\nNEW = Compressor('new', object, print)\n"
    )
    place = '"new": "ganpress.compression.new:NEW"'
    copy.edit("ganpress/registries.py", '"prune": ', f'{place},\n        "prune": ')
    assert copy.changed() == set()


def test_a_target_counts_where_it_is_exported_to(copy):
    params = yaml.safe_load((copy.root / "params.yaml").read_text())
    params["export"]["items"]["subnet"]["target"] = "openvino"
    (copy.root / "params.yaml").write_text(yaml.safe_dump(params))
    before = {
        name: StageCode(copy.root).reached(f"artifacts/code/export/{name}").digest for name in ("subnet", "teacher")
    }
    copy.edit("ganpress/edge/targets/openvino_target.py", "TARGET = ", "MORE = 1\nTARGET = MORE and ")
    after = {name: StageCode(copy.root).reached(f"artifacts/code/export/{name}").digest for name in before}
    assert [name for name in before if before[name] != after[name]] == ["subnet"]


def test_a_new_metric_runs_what_measures_it(copy):
    """Whatever goes through all metrics; what chooses by one that is named, or measures none, runs not again."""
    (copy.root / "ganpress/metrics/definitions/new.py").write_text(
        "from ganpress.metrics.metric import Metric\n\nNEW = Metric('new', 'New', 'nothing', 'higher')\n"
    )
    copy.edit("ganpress/registries.py", '"kid": ', '"new": "ganpress.metrics.definitions.new:NEW",\n        "kid": ')
    assert {"evaluate", "report"} <= copy.changed() <= {"evaluate", "report", "search", "sweep", "teacher"}


VENDI = """
from ganpress.metrics.neighbours.distance_bounds import nearest_distances
from ganpress.metrics.metric import Metric

VENDI = Metric("vendi", "Vendi", "spread", "higher")
"""


@pytest.fixture
def with_extension(copy, tmp_path, monkeypatch):
    """An installed package that adds a metric and a target; returns the copy, the package, and its digests."""
    package = tmp_path / "strangers"
    package.mkdir()
    (package / "vendi.py").write_text(VENDI)
    monkeypatch.syspath_prepend(str(tmp_path))
    added = Extension("ganpress.metrics", "vendi", "strangers"), Extension("ganpress.targets", "toaster", "strangers")
    for module in ("extensions", "modules"):
        monkeypatch.setattr(f"ganpress.executed_code.{module}.installed", lambda: added)
    return copy.as_it_is(), package


def test_a_metric_of_another_package_counts_where_all_are_measured(copy, with_extension):
    changed, package = with_extension
    measured = copy.changed()
    assert {"evaluate", "report"} <= measured <= {"evaluate", "report", "search", "sweep", "teacher"}
    (package / "vendi.py").write_text(VENDI.replace("spread", "breadth"))
    assert changed.changed() == measured


def test_what_another_package_imports_counts_with_it(with_extension):
    changed, _ = with_extension
    changed.edit("ganpress/metrics/neighbours/distance_bounds.py", '"""', '"""Words. ')
    assert changed.changed() == set()
    with (changed.root / "ganpress/metrics/neighbours/distance_bounds.py").open("a") as file:
        file.write("\n\ndef only_the_strangers_use_it():\n    return 1\n")
    assert "evaluate" in changed.changed()


def test_a_target_of_another_package_counts_where_it_is_named(with_extension):
    changed, _ = with_extension
    params = yaml.safe_load((changed.root / "params.yaml").read_text())
    params["export"]["items"]["subnet"]["target"] = "toaster"
    (changed.root / "params.yaml").write_text(yaml.safe_dump(params))
    assert {"export/subnet"} == {name for name in changed.changed() if name.startswith("export/")}


@pytest.mark.slow
def test_threads_find_what_one_finds(copy, monkeypatch):
    """Two stages start at once; what is followed must neither be seen half done nor be parsed side by side."""
    monkeypatch.setattr("ganpress.executed_code.modules._load", lambda _: {})
    monkeypatch.setattr("ganpress.executed_code.digests._load", lambda *_: {})
    code = StageCode(copy.root)
    alone = {path: code.text(path) for path in code.paths}
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        together = StageCode(copy.root)
        with ThreadPoolExecutor(4) as pool:
            found = dict(zip(together.paths, pool.map(together.text, together.paths), strict=True))
    finally:
        sys.setswitchinterval(interval)
    assert found == alone
