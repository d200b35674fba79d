import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import torch

from ganpress.config.search_section import SearchConfig
from ganpress.errors import CheckpointError, DataError, TrainingDiverged, WorkerDied
from ganpress.search.budgeted_search import search_specs
from ganpress.search.score_book import ScoreBook
from ganpress.search.workers import QUEUED_EACH, ScoringPool, one_thread
from models.elastic import Spec, WidthSpace

sys.path.append(str(Path(__file__).parent))  # workers import the scorer by its name, and are told this path

from trace_scorer import SumScorer, TraceScorer

SPACE = WidthSpace(((2, 3, 5), (2, 3, 5), (2, 3)))
SECONDS_TO_DIE = 20


@dataclass(frozen=True)
class Count:
    parameters: int
    macs_exact: int
    size_bytes: int


def count_cost(spec):
    return Count(sum(spec.numbers), 10 * spec.numbers[-1] + spec.numbers[0], 4)


def run(scorer, workers, book=None, **changes):
    settings = {"metric": "fid", "images": 2, "calibration_images": 2, "workers": workers, "max_parameters": 12}
    settings |= {"exhaustive_limit": 100, "population": 6, "generations": 2, "objectives": ("macs", "parameters")}
    return search_specs(
        SPACE, count_cost, scorer, SearchConfig.model_validate(settings | changes), seed=1, book=ScoreBook(book)
    )


def assert_all_end(processes):
    _, alive = psutil.wait_procs(processes, timeout=SECONDS_TO_DIE)
    assert not alive


def workers_below(process):
    return [one for one in process.children(recursive=True) if "spawn_main" in " ".join(one.cmdline())]


@pytest.mark.slow
def test_two_workers_find_what_one_finds(tmp_path):
    one, two = TraceScorer(tmp_path / "one"), TraceScorer(tmp_path / "two", processes=2)
    alone, together = run(one, 1, exhaustive_limit=1), run(two, 2, exhaustive_limit=1)
    assert together == alone
    assert 6 < len(together.scored) <= 12, "more than one generation"
    assert {process for process, *_ in one.traced()} == {str(os.getpid())}
    processes = {process for process, *_ in two.traced()}
    assert (len(processes), str(os.getpid()) in processes) == (2, False)
    assert {threads for _, threads, _ in one.traced() + two.traced()} == {"1"}
    assert (alone.speed.processes, together.speed.processes) == (1, 2)
    assert together.speed.per_second == pytest.approx(together.speed.scored / together.speed.seconds)
    assert not workers_below(psutil.Process())


def test_an_error_in_one_worker_ends_the_other_in_the_middle_of_a_score(tmp_path):
    scorer = TraceScorer(tmp_path / "trace", "data", at=SPACE[1].text, pause_seconds=600.0)
    with pytest.raises(DataError, match=r"^validation\.npy is damaged; run `dvc repro --force prepare`$"):
        run(scorer, 2)
    assert len(scorer.traced()) >= 2
    assert not workers_below(psutil.Process())


@pytest.mark.slow
def test_a_killed_worker_is_one_line(tmp_path):
    with pytest.raises(WorkerDied, match=r"killed for lack of memory; set search\.workers below 2 and run again"):
        run(TraceScorer(tmp_path / "trace", "killed"), 2)
    assert not workers_below(psutil.Process())


@pytest.mark.parametrize(
    ("trouble", "error", "message"),
    [
        ("data", DataError, r"^validation\.npy is damaged; run `dvc repro --force prepare`$"),
        ("unbuildable", CheckpointError, r"^supernet\.safetensors does not exist; run `dvc repro supernet`$"),
        ("nan", TrainingDiverged, r"^the score of sub-generator 3_3_2 is nan; train the supernet again, with a lower"),
    ],
)
def test_errors_without_workers_are_the_same(tmp_path, trouble, error, message):
    with pytest.raises(error, match=message):
        run(TraceScorer(tmp_path / "trace", trouble), 1)


class Started(Exception):
    pass


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_workers_start_by_themselves_only_where_the_work_is_long(tmp_path, monkeypatch):
    def start(pool):
        raise Started

    monkeypatch.setattr(ScoringPool, "_started", start)
    specs = [SPACE[index] for index in range(6)]
    with ScoringPool(TraceScorer(tmp_path / "short"), None, 10) as pool:
        assert [spec for spec, _ in pool.score(specs)] == specs
        assert pool.processes == 1
    long = TraceScorer(tmp_path / "long")
    with pytest.raises(Started), ScoringPool(long, None, 10**9) as pool:
        list(pool.score(specs))
    assert len(long.traced()) == 1, "the first score tells how long the others take"
    asked = TraceScorer(tmp_path / "asked")
    with pytest.raises(Started), ScoringPool(asked, 2, 10) as pool:
        list(pool.score(specs))
    assert not asked.traced()


@pytest.mark.slow
def test_only_a_few_of_many_specs_are_queued(tmp_path):
    space = WidthSpace((tuple(range(1, 11)),) * 3)
    specs = [space[index] for index in range(1000)]
    with ScoringPool(SumScorer(), 2, len(specs)) as pool:
        found = {}
        for spec, score in pool.score(specs):
            found[spec] = score
            assert len(pool._executor._pending_work_items) <= 2 * QUEUED_EACH
    assert found == {spec: float(sum(spec.numbers)) for spec in specs}


def test_no_more_workers_than_specs(tmp_path):
    with ScoringPool(TraceScorer(tmp_path / "trace"), 8, 1) as pool:
        assert list(pool.score([Spec((2, 2, 2))])) == list(pool.score([Spec((2, 2, 2))]))
        assert pool.processes == 1


def test_one_thread_gives_the_threads_back_after_an_error():
    def fail():
        with one_thread():
            assert torch.get_num_threads() == 1
            raise DataError("inside")

    before = torch.get_num_threads()
    with pytest.raises(DataError, match="inside"):
        fail()
    assert torch.get_num_threads() == before


PROGRAM = """
import sys
from pathlib import Path
from test_workers import TraceScorer, run

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    run(TraceScorer(folder / "trace", pause_seconds=0.4), 2, folder / "book.jsonl")
"""


def test_killed_search_leaves_no_process_and_goes_on_where_it_was(tmp_path):
    program, book = tmp_path / "program.py", tmp_path / "book.jsonl"
    program.write_text(PROGRAM)
    command = [sys.executable, str(program), str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": f"{Path(__file__).parents[2]}{os.pathsep}{Path(__file__).parent}"}
    with subprocess.Popen(command, env=environment) as search:
        parent = psutil.Process(search.pid)
        while not book.exists() or len(book.read_text().splitlines()) < 4:
            assert search.poll() is None
            time.sleep(0.02)
        family = parent.children(recursive=True)
        search.kill()
    assert len(family) >= 2
    assert_all_end(family)
    known = {json.loads(line)["spec"] for line in book.read_text().splitlines() if line.endswith("}")}
    resumed = TraceScorer(tmp_path / "resumed")
    result = run(resumed, 1, book)
    assert known.isdisjoint(text for *_, text in resumed.traced())
    assert len(known) + len(resumed.traced()) == len(result.scored)
    assert result == run(TraceScorer(tmp_path / "whole"), 1)
