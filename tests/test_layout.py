"""The shape of the project: the core needs no orchestration, imports go in one direction, file names are unique."""

import subprocess
import sys
from collections import Counter
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("flows", "tasks", "models", "ganpress")
BLOCKED = ("prefect", "dvc", "mlflow", "great_expectations", "pymoo", "matplotlib")
UNTOUCHED = ("onnx", "onnxruntime", "pandas")
"""Torch itself asks whether some of these exist, so they cannot be blocked; they must not be loaded."""

BLOCKER = f"""
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {BLOCKED!r}:
            raise ModuleNotFoundError(f"blocked: {{name}}", name=name)
sys.meta_path.insert(0, Blocker())
"""

IMPORT_EVERYTHING = """
import importlib, pkgutil, ganpress, models
for package in (ganpress, models):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
"""

TRAIN_AND_DISTIL = """
import numpy as np
from ganpress.config.training_section import DistillationTraining, GanTraining
from ganpress.data.prepared.arrays import ImageArray
from ganpress.training.distillation import train_student
from ganpress.training.gan import train_gan
from ganpress.training.loop import TrainingRun
from models.builders import Blueprint

images = ImageArray(np.zeros((8, 1, 16, 16), np.uint8), np.zeros(8, np.int64), "black")
shape = {"size": 16, "channels": 1}
teacher, student = (Blueprint("wdcgan_generator", {"spec": spec, **shape}).build() for spec in ("2", "1"))
critic = Blueprint("wdcgan_discriminator", {"depth": 1, "normalise": True, **shape}).build()
gan = GanTraining(objective="gan", train_images=8, batch_size=4, generator_learning_rate=1e-3,
    discriminator_learning_rate=1e-3, beta1=0.5, discriminator_steps=1, ema_half_life_images=0)
trained = train_gan(teacher, critic, images, gan, TrainingRun(1, "gan"))
distillation = DistillationTraining(train_images=8, batch_size=4, learning_rate=1e-3, beta1=0.5, ema_half_life_images=0)
distilled = train_student(student, trained.generator, distillation, TrainingRun(1, "student"))
print(distilled.curve[-1].images)
"""

CLI_HELP = """
import sys
import flows.__main__
heavy = {"torch", "mlflow", "prefect", "great_expectations", "pandas", "dvc", "torchvision"} & set(sys.modules)
assert not heavy, heavy
"""

NOTHING_LOADED = f"""
import sys
loaded = set({UNTOUCHED!r}) & set(sys.modules)
assert not loaded, loaded
"""


def _python(program):
    return subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)


def test_library_imports_without_orchestration_and_edge_packages():
    done = _python(BLOCKER + IMPORT_EVERYTHING + NOTHING_LOADED)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.slow
def test_library_trains_and_distils_without_them():
    done = _python(BLOCKER + TRAIN_AND_DISTIL + NOTHING_LOADED)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout.split()[-1]) >= 8


def test_command_line_starts_without_heavy_packages():
    done = _python(CLI_HELP)
    assert done.returncode == 0, done.stderr[-2000:]


def test_imports_go_one_way():
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]


def test_no_python_in_mlflow_and_the_library_is_the_real_one():
    assert list((ROOT / "mlflow").rglob("*.py")) == []
    done = _python("import importlib.util; print(importlib.util.find_spec('mlflow').origin)")
    assert "site-packages" in done.stdout


def test_no_packages_below_tests():
    assert list((ROOT / "tests").rglob("__init__.py")) == []


def test_only_tracking_imports_mlflow():
    sources = [path for folder in ("ganpress", "models", "tasks", "flows") for path in (ROOT / folder).rglob("*.py")]
    guilty = [
        str(path.relative_to(ROOT))
        for path in sources
        if path.parent != ROOT / "ganpress" / "tracking"
        and any(
            line.split()[:2] in (["import", "mlflow"], ["from", "mlflow"]) for line in path.read_text().splitlines()
        )
    ]
    assert guilty == []


def modules_of(*folders: str) -> list[Path]:
    return [path for folder in folders for path in (ROOT / folder).rglob("*.py") if not path.stem.startswith("__")]


def test_every_file_has_a_name_of_its_own():
    names = Counter(path.name for path in modules_of(*PACKAGES))
    assert [name for name, times in names.items() if times > 1] == []


def test_every_module_of_ganpress_has_a_package():
    """Errors and registries are what other packages import by name; they stand at the top, as they do elsewhere."""
    assert {path.stem for path in (ROOT / "ganpress").glob("*.py")} == {"__init__", "errors", "registries"}


def test_every_module_of_tasks_is_a_stage():
    stages = {name.partition("@")[0] for name in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]}
    assert {path.stem for path in (ROOT / "tasks").glob("*.py")} - {"__init__"} == stages


def test_no_import_comes_back_not_even_inside_a_function():
    graph = grimp.build_graph(*PACKAGES, exclude_type_checking_imports=True)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))
