"""Stages on a Ray cluster: two nodes of this machine, each with GPUs that are only claimed."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from flows.local_cluster import SECURED, TOKEN, LocalNode, head_address, head_options

pytest.importorskip("ray", reason="a cluster needs ray: uv pip install 'ray>=2.60,<3'")
MARK = "GANPRESS_TEST_MARK"
SECRET = "ab" * 32
LOST = "is started again"


@dataclass(frozen=True)
class Nodes:
    """A head and a worker of one cluster."""

    address: str
    nodes: list[LocalNode]
    mark: str

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


@pytest.fixture
def nodes(tmp_path_factory: pytest.TempPathFactory, coded, monkeypatch) -> Iterator[Nodes]:
    """Two nodes with one core and two GPUs each."""
    folder = Path("/tmp") / f"gp-{os.getpid()}-{time.monotonic_ns() % 10**6}"
    folder.mkdir()
    for name, value in {**SECURED, TOKEN: SECRET}.items():
        monkeypatch.setenv(name, value)
    env = {**os.environ, MARK: str(folder), "RAY_USAGE_STATS_ENABLED": "0"}
    claimed = ["--num-gpus", "2"]
    started = [LocalNode(folder, env, *head_options(folder, 1), *claimed)]
    try:
        assert started[0].wait_until_ready(), started[0].last_words
        address = head_address(folder, own_address())
        started.append(LocalNode(folder, env, "--address", address, "--num-cpus", "1", *claimed))
        assert started[1].wait_until_ready(), started[1].last_words
        yield Nodes(address, started, str(folder))
    finally:
        for node in started:
            node.stop()
        assert wait_until(lambda: not processes(str(folder)), 30), processes(str(folder))


@pytest.mark.slow
def test_first(coded, nodes):
    coded.edit("params.yaml", "images: 1000\n\nstudent", "images: 900\n\nstudent")
    done = coded.call("run", "--cluster", nodes.address)
    print(done.stdout, done.stderr)
    assert done.returncode == 0
    assert coded.executed() == ["prepare@a", "prepare@b"]
