"""The comment of a pull request, and the files by which a user's project makes one: they are linted."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from flows.project_files import project_files
from flows.report_comment import comment_of

REPORT = """# title

**A gate failed.**

The file: [../export/a/generator.onnx](../export/a/generator.onnx)

## Generators

| generator | IS |
|---|--:|
| teacher | 9 |

## All quality metrics

| long |

## What each step gains

![gains](pictures/gains.png)

## The same latents through every generator

| teacher | ![teacher](pictures/samples-teacher.png) |

## Reproduce

```sh
ganpress run
```
"""
# The workflow names versions of actions; whoever wants digests has them set by a bot for all workflows.
RULES = {"rules": {"unpinned-uses": {"config": {"policies": {"*": "ref-pin"}}}}}
WORKFLOW = ".github/workflows/ganpress.yml"


def _program(name):
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        pytest.skip(f"no {name}: uv sync --group dev")
    return found


def test_a_comment_holds_verdict_table_and_pictures_and_no_more(tmp_path):
    (tmp_path / "report.md").write_text(REPORT)
    text = comment_of(tmp_path / "report.md")
    assert text.startswith("# title\n\n**A gate failed.**")
    assert "](artifacts/export/a/generator.onnx)" in text
    assert "| teacher | 9 |" in text
    assert re.findall(r"\((artifacts/report/pictures/[a-z-]+\.png)\)", text) == [
        "artifacts/report/pictures/gains.png",
        "artifacts/report/pictures/samples-teacher.png",
    ]
    assert "Reproduce" not in text
    assert "long" not in text


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    for path in (WORKFLOW, ".ci/run"):
        (folder / path).parent.mkdir(parents=True)
        (folder / path).write_text(project_files()[path])
    return folder


def test_the_workflow_fits_githubs_schema(written):
    checked = subprocess.run(
        [_program("check-jsonschema"), "--builtin-schema", "vendor.github-workflows", written / WORKFLOW],
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, checked.stdout


def test_zizmor_finds_nothing_in_the_workflow(written):
    (written / "zizmor.yml").write_text(yaml.safe_dump(RULES))
    zizmor = [_program("zizmor"), "--offline", "--no-progress", "--config", written / "zizmor.yml"]
    checked = subprocess.run([*zizmor, written / WORKFLOW], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout
    broken = written / "broken.yml"
    broken.write_text(project_files()[WORKFLOW].replace("./.ci/run", "echo ${{ github.event.issue.title }}"))
    found = subprocess.run([*zizmor, broken], capture_output=True, text=True)
    assert "template-injection" in found.stdout


def test_the_script_is_bash_and_the_workflow_calls_it(written):
    assert subprocess.run(["bash", "-n", written / ".ci/run"]).returncode == 0
    steps = yaml.safe_load((written / WORKFLOW).read_text())["jobs"]["check"]["steps"]
    runs = [step["run"] for step in steps if "run" in step]
    assert runs[1:] == ["./.ci/run", "cml comment create comment.md"]
