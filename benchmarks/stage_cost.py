"""CPU seconds that DVC and the check of code cost for one executed stage and for `status`, over levels of the sweep.

    python -m benchmarks.stage_cost --levels 25 100 400

Two forms of the same project stand beside each other: `files`, where each stage lists the source files that it imports,
as dvc.yaml did, and `digest`, where it depends on one file of digests. All levels are in dvc.lock. The stage writes its
outputs and, in the second form, holds itself to its code; imports of torch would be the same in both.
"""

import argparse
import ast
import json
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from ganpress.executed_code.digests import StageCode
from ganpress.executed_code.modules import PACKAGES

CHECKOUT = Path(__file__).resolve().parents[1]
CLIPPING = "none"
STAGE = f"sweep@{CLIPPING}-1"
DIGEST = "artifacts/code/sweep"
FORMS = ("files", "digest")
WORK = """
import os, pathlib
{start}
key = os.environ["DVC_STAGE"].partition("@")[2]
for name in ("artifacts/versions/sweep/%s.json", "artifacts/sweep/%s/metrics.json"):
    path = pathlib.Path(name % key)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{{}}")
{end}
"""
GUARD = (
    'from ganpress.executed_code.guard import CodeGuard\nguard = CodeGuard(pathlib.Path.cwd(), "sweep", None)',
    "guard.check()",
)
STATUS = "import pathlib; from flows.dvc_graph import read_graph; read_graph(pathlib.Path.cwd())"


def imported_files(module: str) -> list[str]:
    """All first-party files that a module imports, and those that they import."""
    closure: dict[str, None] = {}
    waiting = [module]
    while waiting:
        path = CHECKOUT.joinpath(*waiting.pop().split(".")).with_suffix(".py")
        name = path.relative_to(CHECKOUT).as_posix()
        if not path.is_file() or name in closure:
            continue
        closure[name] = None
        waiting += _imported_modules(ast.parse(path.read_text(encoding="utf-8")))
    return sorted(closure)


def _imported_modules(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in PACKAGES:
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def make_project(root: Path, form: str, levels: int) -> None:
    """Write a project whose sweep has so many levels, each of which has run."""
    for package in PACKAGES:
        shutil.copytree(CHECKOUT / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("params.yaml", ".dvcignore"):
        shutil.copy(CHECKOUT / name, root)
    start, end = GUARD if form == "digest" else ("", "")
    (root / "tasks" / "sweep.py").write_text(WORK.format(start=start, end=end))
    content = yaml.safe_load((CHECKOUT / "dvc.yaml").read_text(encoding="utf-8"))
    if form == "files":
        del content["stages"]["code"]
        for name, entry in content["stages"].items():
            deps = entry.get("do", entry)["deps"]
            deps[:] = [*imported_files(f"tasks.{name}"), *(dep for dep in deps if "artifacts/code" not in dep)]
    sweep = content["stages"]["sweep"]
    sweep["matrix"] = {"clipping": [CLIPPING], "bits": list(range(1, levels + 1))}
    (root / "dvc.yaml").write_text(yaml.safe_dump(content, sort_keys=False, width=4096), encoding="utf-8")
    for name in (
        "judge/judge.safetensors",
        "prepare/train.npy",
        "subnet/generator.safetensors",
        "teacher/generator.safetensors",
    ):
        (root / "artifacts" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "artifacts" / name).write_text(name)
    if form == "digest":
        code = StageCode(root)
        code.write(DIGEST)
        code.save()
    _dvc(root, "init", "--no-scm", "--quiet")
    _dvc(root, "repro", "--single-item", "--quiet", STAGE)
    lock = yaml.safe_load((root / "dvc.lock").read_text(encoding="utf-8"))
    lock["stages"] = {
        f"sweep@{CLIPPING}-{level}": _of_level(lock["stages"][STAGE], level) for level in sweep["matrix"]["bits"]
    }
    (root / "dvc.lock").write_text(yaml.safe_dump(lock, sort_keys=False), encoding="utf-8")


def _of_level(entry: dict[str, Any], level: int) -> dict[str, Any]:
    text = json.dumps(entry).replace(f"{CLIPPING}-1", f"{CLIPPING}-{level}")
    content: dict[str, Any] = json.loads(text)
    return content


def _dvc(root: Path, *arguments: str) -> float:
    return _cpu_seconds(root, "-m", "dvc", *arguments)


def _cpu_seconds(root: Path, *arguments: str) -> float:
    """CPU seconds of a Python process and of those that it waits for."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "PYTHONPATH": str(CHECKOUT),
        "HOME": str(root),
    }
    subprocess.run([sys.executable, *arguments], cwd=root, env=environment, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(form: str, levels: int, repeats: int) -> tuple[float, float]:
    """CPU seconds of one executed stage and of a status, the least of some."""
    with tempfile.TemporaryDirectory(prefix="ganpress-cost-") as folder:
        root = Path(folder).resolve()
        make_project(root, form, levels)
        executed = min(_dvc(root, "repro", "--single-item", "--force", STAGE) for _ in range(repeats))
        return executed, min(_cpu_seconds(root, "-c", STATUS) for _ in range(repeats))


def main() -> None:
    """Print the table; exit code 1 where a digest costs more than a fifth of the files at 100 levels or more."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--levels", type=int, nargs="+", default=[25, 100, 400])
    parser.add_argument("--repeats", type=int, default=2)
    arguments = parser.parse_args()
    print(f"{'levels':>6} | {'executed: files':>15} {'digest':>7} {'share':>6} | {'status: files':>13} {'digest':>7}")
    missed = False
    for levels in arguments.levels:
        (old, old_status), (new, new_status) = (measure(form, levels, arguments.repeats) for form in FORMS)
        print(
            f"{levels:>6} | {old:>15.2f} {new:>7.2f} {new / old:>6.2f} | {old_status:>13.2f} {new_status:>7.2f}",
            flush=True,
        )
        missed |= levels >= 100 and new > old / 5
    raise SystemExit(missed)


if __name__ == "__main__":
    main()
