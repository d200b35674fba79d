"""Stages on a Ray cluster: two nodes of this machine, each with simulated GPUs."""

import ast
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest

from flows.cluster_choice import refuse_devices, settle_cluster
from flows.local_cluster import SECURED, TOKEN, LocalNode, head_address, head_options
from flows.node_probe import probe
from flows.placement import _check_fits, _check_same, needs_of, ray_options
from flows.preflight import _check_batches
from flows.stage_on_node import node_environment
from ganpress.basics.ray_cluster import ENVIRONMENT, INSTALL, connected
from ganpress.config.params import load_params
from ganpress.config.resources_section import StageResources
from ganpress.errors import ConfigError, ServiceUnavailable

CHECKOUT = Path(__file__).resolve().parents[2]
MARK = "GANPRESS_TEST_MARK"
SECRET = "ab" * 32
needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason=f"Ray is not installed: {INSTALL}")
FILLER = """
import sys, numpy, ray
ray.init(address=sys.argv[1], log_to_driver=False)
kept = [ray.put(numpy.ones(10 * 2**20, numpy.uint8)) for _ in range(9)]
print("full", flush=True)
sys.stdin.read()
"""


@dataclass(frozen=True)
class Nodes:
    """A head and a worker of one cluster."""

    address: str
    nodes: list[LocalNode]
    mark: str
    control: Path

    def raylets(self) -> list[psutil.Process]:
        """Of all nodes, the head's first."""
        found = (psutil.Process(node.process._process.pid).children(recursive=True) for node in self.nodes)
        return [one for below in found for one in below if one.name() == "raylet"]


def processes(mark: str, words: str = "") -> dict[int, str]:
    """Command lines of the live processes that carry the mark in their environment."""
    found = {}
    for process in psutil.process_iter():
        try:
            line = " ".join(process.cmdline())
            if process.status() != psutil.STATUS_ZOMBIE and words in line and process.environ().get(MARK) == mark:
                found[process.pid] = line
        except psutil.Error:
            continue
    return found


def wait_until(condition, seconds=90.0):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            return found
        time.sleep(0.1)
    return found


def own_address() -> str:
    """This machine's, as its nodes find each other; loopback would be one node."""
    from ray.util import get_node_ip_address

    return get_node_ip_address()


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """Two nodes with two cores and two GPUs each."""
    control = tmp_path_factory.mktemp("control")
    folder = Path(tempfile.mkdtemp(prefix="gp-"))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**SECURED, TOKEN: SECRET, "RAY_USAGE_STATS_ENABLED": "0"}.items():
            patch.setenv(name, value)
        ours = {MARK: str(folder), "TOY_CONTROL": str(control), "PYTHONPATH": str(CHECKOUT)}
        env = {**os.environ, **ours}
        started = [LocalNode(folder, env, *head_options(folder, 2), "--num-gpus", "2")]
        try:
            assert started[0].wait_until_ready(), started[0].last_words
            address = head_address(folder, own_address())
            started.append(LocalNode(folder, env, "--address", address, "--num-cpus", "2", "--num-gpus", "2"))
            assert started[1].wait_until_ready(), started[1].last_words
            yield Nodes(address, started, str(folder), control)
        finally:
            for node in started:
                node.stop()
            left = wait_until(lambda: not processes(str(folder)), 30)
            shutil.rmtree(folder, ignore_errors=True)
            assert left, processes(str(folder))


@pytest.fixture
def project(coded, nodes, monkeypatch):
    """The coded project with four items of `prepare` that must run, and the control files that the nodes know."""
    monkeypatch.setenv("TOY_CONTROL", str(nodes.control))
    coded.edit("params.yaml", "images: 1000\n\nstudent", "images: 900\n\nstudent")
    coded.edit("dvc.yaml", "b: {n: 2}}", "b: {n: 2}, c: {n: 3}, d: {n: 4}}")
    project = replace(coded, control=nodes.control)
    project.executed()
    (nodes.control / "hold").unlink(missing_ok=True)
    return project


def needing(root, text):
    path = root / "params.yaml"
    path.write_text(path.read_text() + f"\nresources:\n  prepare: {text}\n")


def start(project, nodes, *options):
    command = project.command("run", "--cluster", nodes.address, *options)
    return subprocess.Popen(
        command, cwd=project.root, env=project.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def stages(nodes):
    """Processes of stages at work on the nodes."""
    return [psutil.Process(number) for number in processes(nodes.mark, "tasks.prepare") if has_name(number, "python")]


def has_name(number, name):
    try:
        process = psutil.Process(number)
        return process.name().startswith(name) and process.cmdline()[1:3] == ["-m", "tasks.prepare"]
    except psutil.Error:
        return False


def raylet_of(process):
    return next(one.pid for one in process.parents() if one.name() == "raylet")


def at_work(nodes, count):
    return wait_until(lambda: len(stages(nodes)) == count and stages(nodes))


def tree(nodes):
    """Each live process of the nodes with its ancestors, for messages."""
    return {
        line: [(one.pid, one.name()) for one in psutil.Process(number).parents()]
        for number, line in processes(nodes.mark, "").items()
        if "prepare" in line
    }


def begun(nodes):
    """Names of the stages that have begun, each as often as it has."""
    log = nodes.control / "log.txt"
    return log.read_text().split() if log.exists() else []


def outputs(project):
    return {path.parent.name: path.read_bytes() for path in (project.root / "artifacts/prepare").rglob("out.txt")}


def ended(flow):
    out, err = flow.communicate(timeout=180)
    assert flow.returncode == 0, out + err
    return out


# The tests of this cluster stand in an order: the last one takes a node away.
@pytest.mark.slow
@needs_ray
def test_four_stages_on_four_gpus_of_two_nodes_while_the_object_store_is_full(project, nodes):
    command = [sys.executable, "-c", FILLER, nodes.address]
    env = {**os.environ, **SECURED, TOKEN: SECRET}
    with subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as filler:
        assert filler.stdout.readline() == "full\n"
        needing(project.root, "{gpus: 1}")
        (nodes.control / "hold").touch()
        with start(project, nodes) as flow:
            working = at_work(nodes, 4)
            assert working, flow.stderr
            places = [(raylet_of(one), one.environ()["CUDA_VISIBLE_DEVICES"]) for one in working]
            assert {place for place, _ in places} == {one.pid for one in nodes.raylets()}
            assert len(set(places)) == 4
            assert {device for _, device in places} == {"0", "1"}
            assert {one.environ()["GANPRESS_DEVICE"] for one in working} == {"cuda"}
            (nodes.control / "hold").unlink()
            assert "4 ran" in ended(flow)
        filler.stdin.close()
    made = outputs(project)
    assert set(made) == {"a", "b", "c", "d"}
    project.executed()
    assert project.call("run", "--stage", "prepare", "--force").returncode == 0
    assert project.executed() == [f"prepare@{item}" for item in "abcd"]
    assert outputs(project) == made


@pytest.mark.slow
@needs_ray
def test_a_killed_worker_is_replaced_and_a_killed_run_resumes(project, nodes):
    (nodes.control / "hold").touch()
    with start(project, nodes) as flow:
        working = at_work(nodes, 4)
        assert working
        assert {one.environ()["CUDA_VISIBLE_DEVICES"] for one in working} == {""}
        victim = next(one for one in working[0].parents() if one.name().startswith("ray::"))
        stage = working[0].environ()["DVC_STAGE"].rpartition(":")[2]
        assert wait_until(lambda: len(begun(nodes)) == 4)
        victim.kill()
        assert wait_until(lambda: begun(nodes).count(stage) == 2)
        # The run itself is killed: nothing of it stays on the nodes.
        flow.kill()
        assert wait_until(lambda: not processes(nodes.mark, "tasks.prepare"), 30), tree(nodes)
        assert wait_until(lambda: not processes(nodes.mark, "prepare"), 30), tree(nodes)
        flow.communicate()
    (nodes.control / "hold").unlink()
    project.executed()
    with start(project, nodes) as again:
        assert "4 ran" in ended(again)
    assert project.executed() == [f"prepare@{item}" for item in "abcd"]
    assert set(outputs(project).values()) == {b"made by prepare900"}


@pytest.mark.slow
@needs_ray
@pytest.mark.parametrize(
    ("needs", "words"),
    [
        ("{gpus: 3}", "resources.prepare.gpus is 3, and no node of the cluster has more than 2; lower it"),
        ("{cpus: 100}", "resources.prepare.cpus is 100, and no node of the cluster has more than 2; lower it"),
    ],
)
def test_more_than_any_node_has_is_refused_at_once(project, nodes, needs, words):
    needing(project.root, needs)
    done = project.call("run", "--cluster", nodes.address)
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith(f"ganpress: {words}")
    assert project.executed() == []


@pytest.mark.slow
@needs_ray
def test_a_lost_node_is_replaced_by_the_other(project, nodes):
    needing(project.root, "{cpus: 2}")
    (nodes.control / "hold").touch()
    with start(project, nodes, "--stage", "prepare@a", "--stage", "prepare@b") as flow:
        working = at_work(nodes, 2)
        assert working
        head, other = nodes.raylets()
        assert {raylet_of(one) for one in working} == {head.pid, other.pid}
        other.kill()
        assert wait_until(lambda: len(stages(nodes)) == 1)
        (nodes.control / "hold").unlink()
        assert "2 ran" in ended(flow)
    assert sorted(set(project.executed())) == ["prepare@a", "prepare@b"]
    assert set(outputs(project).values()) == {b"made by prepare900"}
    assert not processes(nodes.mark, "tasks.prepare")


@pytest.mark.slow
@needs_ray
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, None], ids=str)
def test_a_cluster_of_one_run_leaves_nothing(coded, number):
    coded.edit("params.yaml", "images: 1000\n\nstudent", "images: 900\n\nstudent")
    env = {**coded.environment(), MARK: str(coded.root)}
    if number:
        (coded.control / "hold").touch()
    command = coded.command("run", "--cluster", "local")
    with subprocess.Popen(command, cwd=coded.root, env=env, stdout=subprocess.DEVNULL) as flow:
        if number:
            assert wait_until(lambda: (coded.control / "log.txt").exists())
            assert processes(str(coded.root), "raylet")
            flow.send_signal(number)
        assert flow.wait(180) == (-number if number else 0)
    assert wait_until(lambda: not processes(str(coded.root)), 30), processes(str(coded.root))
    if number is None:
        assert coded.executed() == ["prepare@a", "prepare@b"]


@pytest.mark.slow
@needs_ray
def test_what_answers_and_is_no_cluster_is_one_line(tmp_path, monkeypatch):
    command = [sys.executable, "-m", "http.server", "0", "--bind", "127.0.0.1"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    ) as server:
        port = server.stdout.readline().split(b"port ")[1].split()[0].decode()
        monkeypatch.setattr("ganpress.basics.ray_cluster.HEALTH_S", 8.0)
        with pytest.raises(ServiceUnavailable, match="does not answer as a cluster"), connected(f"127.0.0.1:{port}"):
            pass
        server.kill()


@needs_ray
def test_an_address_that_does_not_answer_is_refused_at_once():
    with pytest.raises(ServiceUnavailable, match=r"^GANPRESS_CLUSTER 127\.0\.0\.1:1 does not answer \(.*refused"):
        connected("127.0.0.1:1").__enter__()


@pytest.mark.parametrize("address", ["x", "a:0", "a:99999", "ray://a:1", "a b:1", "-", "a:1/x"])
def test_addresses_that_are_none(address, monkeypatch):
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    with pytest.raises(ConfigError, match="^--cluster is '.*'; it must be HOST:PORT of the cluster's head"):
        settle_cluster(address)


def test_without_the_package_it_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)  # Python's own mark of a module that is not there
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    with pytest.raises(ConfigError, match=r"needs the package ray, which is not installed; run `uv pip install 'ray"):
        settle_cluster("local")
    assert ENVIRONMENT not in os.environ


def test_ray_is_imported_inside_functions_alone():
    paths = [
        path for package in ("flows", "ganpress", "models", "tasks") for path in (CHECKOUT / package).rglob("*.py")
    ]
    with_ray = [path for path in paths if "import ray" in (text := path.read_text()) or "from ray" in text]
    assert len(with_ray) >= 3
    for path in with_ray:
        for statement in ast.parse(path.read_text()).body:
            names = [one.name for one in statement.names] if isinstance(statement, ast.Import) else []
            names += [statement.module or ""] if isinstance(statement, ast.ImportFrom) else []
            assert not [name for name in names if name.partition(".")[0] == "ray"], path


@pytest.mark.slow
def test_nothing_imports_ray_without_a_cluster():
    program = "import sys, flows.pipeline, flows.commands.run, tasks.search; sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=CHECKOUT).returncode == 0


def test_options_about_this_machine_are_refused():
    with pytest.raises(ConfigError, match="^--gpus applies to this machine, but a cluster runs the stages"):
        refuse_devices(None, 2)
    refuse_devices(None, None)


def test_nodes_must_have_the_folder_the_code_and_the_packages(tmp_path):
    mark = tmp_path / "mark"
    mark.write_text("seen")
    ours = probe(str(CHECKOUT), str(mark))
    assert len(ours["code"]) == 64
    _check_same(ours, ours, tmp_path)
    for changes, words in (
        (probe(str(CHECKOUT), str(tmp_path / "elsewhere")), "does not see .*; share the project's folder"),
        ({"code": ""}, "has no ganpress for .*; install it there"),
        ({"code": "0" * 64}, "has another version of ganpress's code than this machine"),
        ({"torch": ""}, "has torch not at all, this machine"),
        ({"dvc": "1.0"}, "has dvc 1.0, this machine"),
    ):
        with pytest.raises(ServiceUnavailable, match=words):
            _check_same(ours, ours | changes, tmp_path)


def test_a_changed_module_is_another_version(tmp_path):
    def code_of(text):
        for package in ("flows", "ganpress", "models", "tasks"):
            (tmp_path / package).mkdir(exist_ok=True)
            (tmp_path / package / "__init__.py").write_text(text)
        program = f"import sys; sys.path.insert(0, {str(CHECKOUT)!r}); from runpy import run_path\n"
        program += f"probe = run_path({str(CHECKOUT / 'flows/node_probe.py')!r})['probe']\n"
        program += f"print(probe({str(tmp_path)!r}, 'absent')['code'])"
        done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    assert len({code_of("one = 1"), code_of("one = 2"), probe(str(CHECKOUT), "absent")["code"]}) == 3


def test_resources_of_a_stage(tmp_path):
    shutil.copy(CHECKOUT / "params.yaml", tmp_path)
    needing(tmp_path, "{gpus: 2, cpus: 4, memory_gib: 1.5}")
    params = load_params(tmp_path / "params.yaml")
    assert ray_options(needs_of(params.resources, "prepare")) == {"num_cpus": 4, "num_gpus": 2, "memory": 3 * 2**29}
    assert ray_options(needs_of(params.resources, "judge")) == {"num_cpus": 1, "num_gpus": 0}
    nodes = [{"Resources": {"CPU": 8, "memory": 2**30}}, {"Resources": {"CPU": 1, "GPU": 2, "memory": 2**40}}]
    _check_fits("judge", StageResources(), nodes)
    with pytest.raises(ConfigError, match=r"resources.prepare.memory_gib is 1025.0, .* has more than 1024\.0;"):
        _check_fits("prepare", StageResources(memory_gib=1025.0), nodes)
    with pytest.raises(ConfigError, match="asks for 2 cores, 1 GPUs and 0 GiB, and no node of the cluster has all"):
        _check_fits("prepare", StageResources(cpus=2, gpus=1), nodes)


def test_gpus_that_cannot_share_a_batch_are_refused_before_the_first_stage(monkeypatch):
    monkeypatch.setattr("flows.preflight.settle_cluster", lambda: "127.0.0.1:6379")
    params = load_params(CHECKOUT / "params.yaml")
    odd = params.model_copy(update={"resources": {"student": StageResources(gpus=3)}})
    with pytest.raises(ConfigError, match="student.training.batch_size is 64, which 3 ranks cannot share equally"):
        _check_batches(odd, {"student", "judge"})
    _check_batches(odd, {"search", "candidate"})


def test_a_stage_sees_its_gpus_or_none():
    own = {"CUDA_VISIBLE_DEVICES": "1", "GANPRESS_GPUS": "8", "RAY_JOB_ID": "1", "HOME": "/home/me"}
    without = node_environment(own, {"GANPRESS_THREADS": "2"}, 0)
    assert {name: without.get(name) for name in ("CUDA_VISIBLE_DEVICES", "GANPRESS_DEVICE", "GANPRESS_GPUS")} == {
        "CUDA_VISIBLE_DEVICES": "", "GANPRESS_DEVICE": "cpu", "GANPRESS_GPUS": None,
    }  # fmt: skip
    assert without["HOME"] == "/home/me"
    assert without["GANPRESS_THREADS"] == "2"
    assert "RAY_JOB_ID" not in without
    two = node_environment(own | {"CUDA_VISIBLE_DEVICES": "1,3"}, {}, 2)
    assert (two["CUDA_VISIBLE_DEVICES"], two["GANPRESS_DEVICE"], two["GANPRESS_GPUS"]) == ("1,3", "cuda", "2")


@pytest.mark.slow
@needs_ray
def test_a_run_whose_own_node_dies_ends_and_the_next_one_goes_on(coded):
    coded.edit("params.yaml", "images: 1000\n\nstudent", "images: 900\n\nstudent")
    (coded.control / "hold").touch()
    env = {**coded.environment(), MARK: str(coded.root)}
    command = coded.command("run", "--cluster", "local")
    with subprocess.Popen(command, cwd=coded.root, env=env, stderr=subprocess.PIPE, text=True) as flow:
        assert wait_until(lambda: (coded.control / "log.txt").exists())
        (raylet,) = (number for number in processes(str(coded.root)) if psutil.Process(number).name() == "raylet")
        os.kill(raylet, signal.SIGKILL)
        _, err = flow.communicate(timeout=120)
    assert flow.returncode == 2
    (line,) = err.strip().splitlines()
    assert re.match(r"ganpress: stage prepare@a failed: the cluster at \S+ has ended; start it again and run", line)
    assert wait_until(lambda: not processes(str(coded.root)), 30), processes(str(coded.root))
    (coded.control / "hold").unlink()
    coded.executed()
    assert coded.call("run").returncode == 0
    assert coded.executed() == ["prepare@a", "prepare@b"]
