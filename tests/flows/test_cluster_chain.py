"""The real chain on two nodes of a Ray cluster: every stage, the search's scores too, with the bytes of a plain run."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from flows.local_cluster import SECURED, TOKEN, LocalNode, head_address, head_options
from ganpress.basics.ray_cluster import INSTALL

TIMED = ("code", "export", "evaluate", "report", "gates")
"""Stages whose outputs hold latencies, or nothing."""
SECRET = "cd" * 32


@pytest.fixture
def nodes():
    """Address of two nodes with one core each."""
    from ray.util import get_node_ip_address

    folder = Path(tempfile.mkdtemp(prefix="gp-"))
    env = {**os.environ, **SECURED, TOKEN: SECRET, "RAY_USAGE_STATS_ENABLED": "0"}
    started = [LocalNode(folder, env, *head_options(folder, 1))]
    try:
        assert started[0].wait_until_ready(), started[0].last_words
        address = head_address(folder, get_node_ip_address())
        started.append(LocalNode(folder, env, "--address", address, "--num-cpus", "1"))
        assert started[1].wait_until_ready(), started[1].last_words
        yield address
    finally:
        for node in started:
            node.stop()
        shutil.rmtree(folder, ignore_errors=True)


def outputs(root):
    """Digest of each output that holds no measured time, as dvc.lock has it."""
    (folder,) = (path for path in (root / ".ganpress/worktrees").iterdir() if path.is_dir())
    stages = yaml.safe_load((folder / "dvc.lock").read_text())["stages"]
    return {
        out["path"]: out["md5"]
        for name, stage in stages.items()
        if name.partition("@")[0] not in TIMED
        for out in stage.get("outs", ())
        if not out["path"].startswith("artifacts/versions/")  # who made it, and when
    }


@pytest.mark.slow
@pytest.mark.timeout(2400)
@pytest.mark.skipif(find_spec("ray") is None, reason=f"Ray is not installed: {INSTALL}")
def test_the_chain_on_two_nodes_has_the_bytes_of_a_plain_one(nodes, clone_checkout, clone_environment, tmp_path):
    made = {}
    for name, options in (("cluster", ("--cluster", nodes)), ("plain", ())):
        root = clone_checkout(tmp_path / name / "ganpress")
        env = clone_environment(root) | {**SECURED, TOKEN: SECRET}
        command = [sys.executable, "-m", "flows", "run", "--recipe", "smoke", *options]
        done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        print(done.stdout[-2500:])
        made[name] = outputs(root)
    assert len(made["plain"]) > 20
    different = {path for path, digest in made["plain"].items() if made["cluster"].get(path) != digest}
    assert not different, json.dumps(sorted(different))
