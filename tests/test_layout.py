"""How the house is laid out: one name for one file, one module for one stage, no import that comes back."""

from collections import Counter
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest
import yaml

ROOT = Path(__file__).parents[1]
PACKAGES = ("flows", "tasks", "models", "ganpress")


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
