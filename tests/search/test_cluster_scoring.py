"""Scoring as tasks of a Ray cluster: the same values, errors and crashes as with the process pool."""

import json
import os
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from threading import Thread

import psutil
import pytest

sys.path.append(str(Path(__file__).parent))  # workers import the scorer by its name, and are told this path

from trace_scorer import TraceScorer

from flows.local_cluster import local_cluster
from ganpress.basics.ray_cluster import ENVIRONMENT, INSTALL, TASK
from ganpress.errors import CheckpointError, DataError, TrainingDiverged, WorkerDied
from ganpress.search.cluster_scoring import ClusterScoring, open_scoring
from ganpress.search.workers import ScoringPool
from models.elastic import WidthSpace

SPACE = WidthSpace(((2, 3, 5), (2, 3, 5), (2, 3)))
SPECS = [SPACE[index] for index in range(len(SPACE))]
needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason=f"Ray is not installed: {INSTALL}")


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A cluster of two cores whose workers can import the scorer."""
    paths = [str(Path(__file__).parents[2]), str(Path(__file__).parent)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(paths))
        with local_cluster(tmp_path_factory.mktemp("root"), 2) as address:
            yield address


@pytest.fixture
def cluster(address, monkeypatch):
    """What a stage of a run on that cluster finds in its environment."""
    monkeypatch.setenv(ENVIRONMENT, address)
    monkeypatch.setenv(TASK, json.dumps({"num_cpus": 1, "num_gpus": 0}))


def scored(factory, workers=None):
    with open_scoring(factory, workers, len(SPECS)) as scoring:
        assert isinstance(scoring, ClusterScoring)
        return dict(scoring.score(SPECS)), scoring.processes, scoring.scored


def test_without_a_cluster_there_is_the_pool(monkeypatch):
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    assert isinstance(open_scoring(TraceScorer(Path("trace")), 1, 3), ScoringPool)
    monkeypatch.setenv(ENVIRONMENT, "local")  # of the run; a stage that scores is told its tasks, too
    assert isinstance(open_scoring(TraceScorer(Path("trace")), 1, 3), ScoringPool)


@pytest.mark.slow
@needs_ray
@pytest.mark.usefixtures("cluster")
def test_two_workers_score_the_same_bits_also_where_one_is_killed(tmp_path):
    with ScoringPool(TraceScorer(tmp_path / "alone"), 1, len(SPECS)) as pool:
        alone = dict(pool.score(SPECS))
    traced = TraceScorer(tmp_path / "trace", processes=2, pause_seconds=0.2)

    def kill_one():
        while len(traced.traced()) < 4:
            time.sleep(0.02)
        psutil.Process(int(traced.traced()[-1][0])).kill()

    killer = Thread(target=kill_one)
    killer.start()
    values, processes, count = scored(traced)
    killer.join()
    assert values == alone
    assert (processes, count) == (2, len(SPECS))
    assert len({process for process, *_ in traced.traced()}) == 3
    assert {threads for _, threads, _ in traced.traced()} == {"1"}
    assert len(traced.traced()) == len(SPECS) + 1


@pytest.mark.slow
@needs_ray
@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize(
    ("trouble", "error", "message"),
    [
        ("data", DataError, r"^validation\.npy is damaged; run `dvc repro --force prepare`$"),
        ("unbuildable", CheckpointError, r"^supernet\.safetensors does not exist; run `dvc repro supernet`$"),
        ("nan", TrainingDiverged, r"^the score of sub-generator 3_3_2 is nan; train the supernet again, with a lower"),
        ("killed", WorkerDied, r"^sub-generator 3_3_2 ended 3 workers of the cluster, most likely for lack of memory"),
    ],
)
def test_errors_are_those_of_one_process(tmp_path, trouble, error, message):
    with pytest.raises(error, match=message):
        scored(TraceScorer(tmp_path / "trace", trouble), 2)
