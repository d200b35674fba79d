"""`ganpress ui`: ports, links, and nothing left behind."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import psutil
import pytest

from flows import mlflow_pages, mlflow_server, prefect_server

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def project(tmp_path):
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    (tmp_path / "params.yaml").write_text("evaluate: {max_bytes: 100000}\n")
    (tmp_path / "mlflow").mkdir()
    shutil.copy(ROOT / "mlflow/server.env", tmp_path / "mlflow")
    return tmp_path


def _start(project, *arguments):
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "PREFECT_"))}
    command = [sys.executable, "-m", "flows", "ui", *arguments]
    environment["PYTHONPATH"] = str(ROOT)
    return subprocess.Popen(
        command, cwd=project, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


@pytest.mark.parametrize("option", ["--port", "--prefect-port"])
def test_a_port_in_use_is_one_line_and_exit_code_2(project, option):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = _start(project, option, str(port))
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    expected = f"ganpress: port {port} cannot be used (Address already in use); choose another with {option}"
    assert output.splitlines() == [expected]


def test_an_unreadable_budget_is_said_before_anything_starts(project):
    process = _start(project, "--budget", "much")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "'much' is not a size" in output


def _free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_both_servers_answer_and_nothing_is_left_behind(project, number):
    port, prefect_port = _free_port(), _free_port()
    process = _start(project, "--port", str(port), "--prefect-port", str(prefect_port))
    below = []
    try:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "Ctrl-C" in line:
                break
        assert f"http://127.0.0.1:{prefect_port}/runs" in "".join(lines)
        for url in (f"http://127.0.0.1:{port}/health", f"http://127.0.0.1:{prefect_port}/api/health"):
            with urllib.request.urlopen(url, timeout=30) as answer:
                assert answer.status == 200
        with urllib.request.urlopen(f"http://127.0.0.1:{prefect_port}/ui-settings", timeout=30) as answer:
            assert json.load(answer)["api_url"] == f"http://127.0.0.1:{prefect_port}/api"
        below = psutil.Process(process.pid).children(recursive=True)
        assert len(below) >= 2
        assert any(one.environ().get("MLFLOW_SERVER_ENABLE_JOB_EXECUTION") == "false" for one in below)
    finally:
        process.send_signal(number)
        code = process.wait(60)
    assert code == (-signal.SIGKILL if number == signal.SIGKILL else 0)
    _gone, alive = psutil.wait_procs(below, timeout=30)
    assert not alive


def test_the_server_is_given_its_settings_where_there_are_some(project, monkeypatch):
    started = []
    monkeypatch.setattr(mlflow_server, "SupervisedProcess", lambda command: started.append(command.arguments))
    mlflow_server.MlflowServer(project, 5000, "sqlite:///tracking.db")
    (project / "mlflow/server.env").unlink()
    mlflow_server.MlflowServer(project, 5000, "sqlite:///tracking.db")
    assert started[0][4:7] == ["--env-file", str(project / "mlflow/server.env"), "server"]
    assert started[1][4] == "server"


def test_the_first_link_opens_on_a_saved_view_that_answers(monkeypatch):
    saved = {}
    runs = [
        {
            "info": {"run_name": name, "run_id": name},
            "data": {"metrics": [{"key": key, "value": 1} for key in ("is_9_judge", "size_bytes", "latency_ms_p50")]},
        }
        for name in ("teacher", "subnet", "export@subnet")
    ]

    def answer(url, body=None):
        if "get-by-name" in url:
            return {"experiment": {"experiment_id": "7"}}
        if "set-experiment-tag" in url:
            saved[body["key"]] = body["value"]
            return {}
        if "registered-models" in url:
            return {"registered_models": [{"name": "ganpress-edge-mnist"}, {"name": "ganpress-edge"}]}
        return {"runs": runs}

    monkeypatch.setattr(mlflow_pages, "_call", answer)
    first, second, plots, *others = mlflow_pages.pages("http://x", 100_000)
    sentence = "export/subnet is the best edge file of at most 100,000 bytes by is_9_judge"
    assert first.title == f"ship export/subnet: {sentence}"
    assert re.search(r"#/experiments/7/runs\?workflowType=machine_learning&viewStateShareKey=(.*)", first.link)
    view = saved["mlflow.sharedViewState.edge-files"]
    assert "attributes.run_name LIKE 'export@%'" in view
    assert "metrics.size_bytes <= 100000" in view
    assert '"orderByKey": "metrics.`is_9_judge`", "orderByAsc": false' in view
    assert "size_bytes <=" not in saved["mlflow.sharedViewState.all-generators"]
    assert "all-generators" in second.link
    assert "viewStateShareKey=quality-against-cost&compareRunsMode=CHART" in plots.link
    drawn = json.loads(saved["mlflow.sharedViewState.quality-against-cost"])
    assert {chart["metricSectionId"] for chart in drawn["compareRunCharts"]} == {drawn["compareRunSections"][0]["uuid"]}
    axes = [(chart["xaxis"]["key"], chart["yaxis"]["key"]) for chart in drawn["compareRunCharts"]]
    assert axes == [("size_bytes", "is_9_judge"), ("latency_ms_p50", "is_9_judge")]
    assert [page.link for page in others if "edge files" in page.title] == [
        f"http://x/#/models/{name}?workflowType=machine_learning" for name in ("ganpress-edge", "ganpress-edge-mnist")
    ]


@pytest.mark.parametrize(("own", "expected"), [(None, "http://127.0.0.1:4711/api"), ("http://proxy/api", None)])
def test_prefects_page_is_told_the_port_of_its_server(tmp_path, monkeypatch, own, expected):
    """By whoever starts one that stands, `ganpress ui` or `ganpress serve`; what the user says wins."""
    monkeypatch.delenv("PREFECT_SERVER_UI_API_URL", raising=False)
    if own:
        monkeypatch.setenv("PREFECT_SERVER_UI_API_URL", own)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    started = []
    monkeypatch.setattr(prefect_server, "SupervisedProcess", lambda command, *_: started.append(command.env))
    server = prefect_server.PrefectServer(4711, standing=True)
    server._starting.release()
    assert started[0]["PREFECT_SERVER_UI_API_URL"] == (expected or own)


def test_an_empty_store_has_one_page(monkeypatch):
    def refuse(url, body=None):
        raise OSError("404")

    monkeypatch.setattr(mlflow_pages, "_call", refuse)
    assert [page.title for page in mlflow_pages.pages("http://x", None)] == ["MLflow (nothing tracked yet)"]
