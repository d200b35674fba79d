"""Measures the CPU seconds of DVC and of the code check for a sweep of many levels, and for `status`.

    python -m benchmarks.stage_cost --levels 25 100 500

Two forms of the same project are compared: `stages`, in which each level is a stage of a DVC matrix, as in earlier
versions, and `one`, a single stage that measures all levels. All levels are in dvc.lock. For `stages` the cost is that
of one executed level. Both forms write their outputs and check their code, and compute nothing else.
"""

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from ganpress.executed_code.digests import StageCode
from ganpress.executed_code.modules import PACKAGES

CHECKOUT = Path(__file__).resolve().parents[1]
CLIPPING = "none"
STAGE = {"stages": f"sweep@{CLIPPING}-1", "one": "sweep"}
DIGEST = "artifacts/code/sweep"
FORMS = ("stages", "one")
WORK = """
import os, pathlib
from ganpress.executed_code.guard import CodeGuard
guard = CodeGuard(pathlib.Path.cwd(), "sweep", None)
for name in {outputs}:
    path = pathlib.Path(name.replace("KEY", os.environ["DVC_STAGE"].partition("@")[2]))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{{}}")
guard.check()
"""
OUTPUTS = {
    "stages": ("artifacts/versions/sweep/KEY.json", "artifacts/sweep/KEY/metrics.json"),
    "one": ("artifacts/versions/sweep.json", "artifacts/sweep/metrics.json"),
}
STATUS = "import pathlib; from flows.dvc_graph import read_graph; read_graph(pathlib.Path.cwd())"


def make_project(root: Path, form: str, levels: int) -> None:
    """Write a project whose sweep has so many levels, each of which has run."""
    for package in PACKAGES:
        shutil.copytree(CHECKOUT / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("params.yaml", ".dvcignore"):
        shutil.copy(CHECKOUT / name, root)
    (root / "tasks" / "sweep.py").write_text(WORK.format(outputs=OUTPUTS[form]))
    content = yaml.safe_load((CHECKOUT / "dvc.yaml").read_text(encoding="utf-8"))
    sweep = content["stages"]["sweep"]
    if form == "stages":
        sweep["matrix"] = {"clipping": [CLIPPING], "bits": list(range(1, levels + 1))}
        versions, metrics = (name.replace("KEY", "${key}") for name in OUTPUTS[form])
        sweep["outs"], sweep["metrics"] = [versions], [metrics]
    (root / "dvc.yaml").write_text(yaml.safe_dump(content, sort_keys=False, width=4096), encoding="utf-8")
    for name in (
        "judge/judge.safetensors",
        "prepare/train.npy",
        "subnet/generator.safetensors",
        "teacher/generator.safetensors",
    ):
        (root / "artifacts" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "artifacts" / name).write_text(name)
    code = StageCode(root)
    code.write(DIGEST)
    code.save()
    _dvc(root, "init", "--no-scm", "--quiet")
    _dvc(root, "repro", "--single-item", "--quiet", STAGE[form])
    if form == "one":
        return
    lock = yaml.safe_load((root / "dvc.lock").read_text(encoding="utf-8"))
    lock["stages"] = {
        f"sweep@{CLIPPING}-{level}": _of_level(lock["stages"][STAGE[form]], level) for level in sweep["matrix"]["bits"]
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
        executed = min(_dvc(root, "repro", "--single-item", "--force", STAGE[form]) for _ in range(repeats))
        return executed, min(_cpu_seconds(root, "-c", STATUS) for _ in range(repeats))


def main() -> None:
    """Print the table; exit code 1 where the one stage costs more for 100 levels or more than a single level did."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--levels", type=int, nargs="+", default=[25, 100, 500])
    parser.add_argument("--repeats", type=int, default=2)
    arguments = parser.parse_args()
    print(f"{'levels':>6} | {'a level as a stage':>18} {'all in one':>10} | {'status: stages':>14} {'one':>7}")
    missed = False
    for levels in arguments.levels:
        (old, old_status), (new, new_status) = (measure(form, levels, arguments.repeats) for form in FORMS)
        print(f"{levels:>6} | {old:>18.2f} {new:>10.2f} | {old_status:>14.2f} {new_status:>7.2f}", flush=True)
        missed |= levels >= 100 and new > old
    raise SystemExit(missed)


if __name__ == "__main__":
    main()
