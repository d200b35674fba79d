"""`ganpress show`: nothing is cut at any width, the graph is grouped, plots draw without the network."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from flows.plots_page import write_plots
from flows.readable import Line, print_lines
from ganpress.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
PROJECT = {
    "stages": {
        "code": {"cmd": "true", "outs": [{"artifacts/code": {"cache": False}}]},
        "prepare": {"cmd": "true", "deps": ["artifacts/code/prepare"], "outs": ["artifacts/prepare"]},
        "student": {
            "foreach": ["d2", "d4"],
            "do": {
                "cmd": "true",
                "deps": ["artifacts/prepare"],
                "outs": ["artifacts/student/${item}/generator"],
                "metrics": ["artifacts/student/${item}/metrics.json"],
                "plots": [{"artifacts/student/${item}/curves.csv": {"x": "images", "y": "loss"}}],
            },
        },
        "report": {
            "cmd": "true",
            "deps": ["artifacts/prepare", "artifacts/student"],
            "metrics": ["artifacts/report/summary.json"],
        },
    }
}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A DVC project whose results lie there; nothing was run."""
    root = tmp_path_factory.mktemp("show")
    (root / "dvc.yaml").write_text(yaml.safe_dump(PROJECT))
    (root / "params.yaml").write_text("seed: 1\n")
    for number, item in enumerate(("d2", "d4"), 1):
        folder = root / "artifacts/student" / item
        folder.mkdir(parents=True)
        (folder / "metrics.json").write_text(json.dumps({"fid": 10.123456789 * number, "parameters": 1234567}))
        (folder / "curves.csv").write_text("images,loss\n1,0.5\n2,0.25\n")
    (root / "artifacts/report").mkdir()
    (root / "artifacts/report/summary.json").write_text(json.dumps({"best_edge_file": "export/a", "ratio": 4.0}))
    shutil.copytree(ROOT / ".dvc", root / ".dvc", ignore=shutil.ignore_patterns("tmp", "cache", "config.local"))
    for command in (("init", "-q"), ("add", "dvc.yaml", "params.yaml"), ("commit", "-qm", "one")):
        subprocess.run(["git", "-c", "user.name=T", "-c", "user.email=t@e.org", *command], cwd=root, check=True)
    return root


def _show(project, *arguments, width=120):
    command = [sys.executable, "-m", "flows", "show", *arguments]
    environment = {"PYTHONPATH": str(ROOT), "COLUMNS": str(width), "PATH": "/usr/bin:/bin", "HOME": str(project)}
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)


def test_the_graph_has_a_box_for_each_family_and_no_arrow_that_follows_from_others(project):
    drawing = _show(project, "graph").stdout
    assert drawing.count("student (2)") == 1
    assert "code" not in drawing
    assert drawing.index("prepare") < drawing.index("student") < drawing.index("report")
    lines = _show(project, "graph", "--mermaid").stdout.splitlines()
    assert lines[0] == "flowchart TD"
    assert len([line for line in lines if "-->" in line]) == 2


def test_metrics_are_one_below_the_other_and_can_be_chosen(project):
    printed = _show(project, "metrics").stdout.splitlines()
    start = printed.index("artifacts/student/d2/metrics.json")
    assert printed[start + 1].split() == ["fid", "10.1235"]
    assert printed[start + 2].split() == ["parameters", "1,234,567"]
    one = _show(project, "metrics", "student@d4", "--name", "fid").stdout.splitlines()
    assert [line.split() for line in one] == [["artifacts/student/d4/metrics.json"], ["fid", "20.2469"]]
    refused = _show(project, "metrics", "teacher")
    assert refused.returncode == 2
    assert refused.stderr == (
        "ganpress: there are no metrics of 'teacher'; `ganpress status` shows which stages have run\n"
    )


def test_experiments_show_what_the_report_begins_with(project):
    printed = _show(project, "experiments", width=80).stdout
    assert "workspace" in printed
    assert "export/a" in printed
    assert max(map(len, printed.splitlines())) <= 80


@pytest.mark.parametrize("width", [80, 120, 160])
def test_no_cell_is_ever_cut(width, capsys):
    from rich.console import Console

    numbers = tuple(f"{10**place + 0.125:,.3f}" for place in range(12))
    headings = [f"metric number {place}" for place in range(12)]
    lines = [Line(f"* export/generator-{one}", numbers) for one in range(3)]
    print_lines(Console(width=width, highlight=False, soft_wrap=True), "generator", headings, lines)
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= width
    assert all(printed.count(number) >= 3 for number in numbers)
    assert "…" not in printed


def test_plots_without_vega_say_how_to_get_it(project, monkeypatch):
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    with pytest.raises(ConfigError, match="uv pip install vl-convert-python"):
        write_plots(project, [])


@pytest.mark.slow
def test_plots_draw_without_the_network(project, chromium):
    pytest.importorskip("vl_convert")
    page = chromium.new_page()
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(write_plots(project, []).as_uri())
    page.wait_for_selector(".vega-embed svg.marks")
    assert page.locator(".vega-embed svg.marks").count() == 2
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    page.close()
    # From now on DVC's own command writes it so.
    subprocess.run([sys.executable, "-m", "dvc", "plots", "diff", "-o", "plain"], cwd=project, check=True)
    assert "cdn.jsdelivr" not in (project / "plain/index.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_revision_that_dvc_does_not_know_is_one_line(project):
    pytest.importorskip("vl_convert")
    refused = _show(project, "plots", "nowhere")
    assert refused.returncode == 2
    assert len(refused.stderr.splitlines()) == 1
    assert "nowhere" in refused.stderr
