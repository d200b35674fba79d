"""No library sends telemetry: not in a flow, and not in a stage that `dvc repro` runs by itself."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flows.environment import environment
from ganpress.basics.telemetry import SWITCHED_OFF

ROOT = Path(__file__).resolve().parents[1]

# Python runs a module of this name at its start. It notes and refuses every attempt to reach another machine.
WATCH = """
import os, sys

def watch(event, arguments):
    if event == "socket.getaddrinfo":
        place = arguments[0]
    elif event == "socket.connect" and isinstance(arguments[1], tuple):
        place = arguments[1][0]
    else:
        return
    place = place.decode() if isinstance(place, bytes) else str(place)
    if place.startswith("127.") or place in ("localhost", "::1", "None"):
        return
    with open(os.environ["WATCH_NOTES"], "a") as notes:
        notes.write(place + "\\n")
    raise OSError("no other machine is reached in this test")

sys.addaudithook(watch)
"""

QUANTIZE = """
import numpy, openvino, openvino.opset13 as ops
import nncf
source = ops.parameter([1, 3, 8, 8], numpy.float32)
weights = ops.constant(numpy.ones((4, 3, 3, 3), numpy.float32))
layer = ops.convolution(source, weights, [1, 1], [0, 0], [0, 0], [1, 1])
nncf.quantize(openvino.Model([layer], [source]), nncf.Dataset([numpy.ones((1, 3, 8, 8), numpy.float32)]))
import time; time.sleep(3)
"""


def reached(tmp_path, *command, **variables):
    """Run Python as in an environment of which nobody thought, and return which machines it tried to reach."""
    (tmp_path / "watch").mkdir(exist_ok=True)
    (tmp_path / "watch" / "sitecustomize.py").write_text(WATCH)
    notes = tmp_path / "notes.txt"
    notes.write_text("")
    env = {name: value for name, value in os.environ.items() if name not in SWITCHED_OFF and name != "CI"}
    env |= {"PYTHONPATH": f"{tmp_path / 'watch'}:{ROOT}", "HOME": str(tmp_path), "WATCH_NOTES": str(notes), **variables}
    ended = subprocess.run([sys.executable, *command], cwd=tmp_path, env=env, capture_output=True, text=True)
    return ended, sorted(set(notes.read_text().split()))


def test_every_process_of_a_run_is_told():
    assert SWITCHED_OFF.items() <= environment(ROOT).items()


def test_stage_by_itself_is_told_and_the_users_own_words_stay(tmp_path):
    code = (
        "import os; from tasks.shared.stage import stage_main; stage_main('none', print); "
        "print(*map(os.environ.get, ['DO_NOT_TRACK', 'GX_ANALYTICS_ENABLED', 'HF_HUB_DISABLE_TELEMETRY']))\n"
        "try: import openvino_telemetry\nexcept ImportError: print('absent')"
    )
    ended, _ = reached(tmp_path, "-c", code, GX_ANALYTICS_ENABLED="mine")
    assert ended.stdout.splitlines()[-2:] == ["true mine 1", "absent"], ended.stderr


def test_dvc_is_told_by_the_project(tmp_path):
    text = (ROOT / ".dvc" / "config").read_text()
    assert "analytics = false" in text
    assert "check_update = false" in text


SESSION = """
import numpy, onnxruntime
from onnx import TensorProto, helper
ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3]) for name in "xy"]
graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "graph", ends[:1], ends[1:])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": numpy.ones((1, 3), numpy.float32)})
"""


def test_onnx_runtime_keeps_no_reports(tmp_path):
    """It sends unseen by Python, from a database below the home folder: without that there is nothing to send."""
    ended, places = reached(
        tmp_path, "-c", f"from ganpress.basics.telemetry import switch_off; switch_off()\n{SESSION}"
    )
    assert ended.returncode == 0, ended.stderr
    assert places == []
    assert not list(tmp_path.rglob("onnxruntime*"))


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("nncf") is None, reason="needs the extra openvino")
def test_quantization_by_nncf_reports_to_nobody(tmp_path):
    """It would: the first half of this test is what it does when nobody switches it off."""
    ended, places = reached(tmp_path, "-c", QUANTIZE)
    assert ended.returncode == 0, ended.stderr
    assert places == ["www.google-analytics.com"]
    ended, places = reached(
        tmp_path, "-c", f"from ganpress.basics.telemetry import switch_off; switch_off()\n{QUANTIZE}"
    )
    assert ended.returncode == 0, ended.stderr
    assert places == []


@pytest.mark.slow
def test_first_stages_of_plain_dvc_report_to_nobody(tmp_path):
    project = tmp_path / "project"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(project)], check=True)
    inside = f"import os, sys; os.chdir({str(project)!r}); "
    add = "from flows.__main__ import main; sys.argv = ['ganpress', 'data', 'add', 'digits']; main()"
    ended, places = reached(tmp_path, "-P", "-c", inside + add)
    assert ended.returncode == 0, ended.stderr
    assert places == []
    repro = "from dvc.cli import main; raise SystemExit(main(['repro', 'prepare']))"
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    ended, places = reached(tmp_path, "-P", "-c", inside + repro, PATH=path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert places == []
