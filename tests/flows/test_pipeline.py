"""The flow compared with DVC: what runs, what is cached, and that neither makes work for the other."""

import os
import subprocess
from pathlib import Path

import pytest

from flows.environment import cores
from flows.pipeline import StageFailed, ganpress_pipeline
from ganpress.errors import ConfigError

ALL = ["aside", "first", "last", "many/a", "many/b"]
pytestmark = pytest.mark.usefixtures("prefect_api")


def task_states(state) -> dict[str, tuple[str, str]]:
    """Name and message of every task run's state, as Prefect's own API tells them."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

    only = FlowRunFilter(id=FlowRunFilterId(any_=[state.state_details.flow_run_id]))
    with get_client(sync_client=True) as client:
        runs = client.read_task_runs(flow_run_filter=only)
    return {run.name: (run.state.name, run.state.message or "") for run in runs}


def test_second_run_executes_nothing_and_dvc_has_nothing_to_do_either(toy):
    first = toy.run()
    assert set(first.values()) == {"ran"}
    assert list(first) == ["first", "many@a", "many@b", "aside", "last"]
    assert toy.executed() == ALL
    assert set(toy.run().values()) == {"Cached"}
    toy.dvc("repro")
    assert toy.executed() == []


def test_flow_after_dvc_repro_executes_nothing_and_prefect_says_cached(done):
    for message in ("DVC reports it as unchanged", ""):  # our message the first time, then Prefect's cached result
        state = ganpress_pipeline(return_state=True)
        assert {result.outcome for result in state.result()} == {"Cached"}
        states = wait_for_states(state, 5)
        assert {name for name, _ in states.values()} == {"Cached"}
        assert {words for _, words in states.values()} == {message}
    assert done.executed() == []


def wait_for_states(state, count: int) -> dict[str, tuple[str, str]]:
    """Read the task runs until all have ended: their states travel as events and come a moment later."""
    import time

    for _ in range(100):
        states = task_states(state)
        if len(states) == count and not {"Pending", "Running"} & {name for name, _ in states.values()}:
            break
        time.sleep(0.1)
    return states


def test_touched_file_changes_nothing(done):
    for name in ("raw.txt", "step.py", "params.yaml", "artifacts/first/out.txt"):
        os.utime(done.root / name)
    assert set(done.run().values()) == {"Cached"}
    assert done.executed() == []


@pytest.mark.parametrize(
    ("name", "old", "new", "expected"),
    [
        ("params.yaml", "images: 1000\n\nstudent", "images: 900\n\nstudent", ["last", "many/a", "many/b"]),
        ("params.yaml", 'title: "ganpress: digits"', "title: other", ["last"]),
        ("params.yaml", "batch_size: 64", "batch_size: 32", []),
        ("raw.txt", "raw", "row", ALL),
        ("many.py", "2", "3", ["many/a", "many/b"]),
    ],
    ids=["param", "last param", "foreign param", "data byte", "source file"],
)
def test_change_runs_exactly_what_reads_it(done, name, old, new, expected):
    done.edit(name, old, new)
    outcomes = done.run()
    assert done.executed() == expected
    ran = sorted(stage.replace("@", "/") for stage, outcome in outcomes.items() if outcome == "ran")
    assert ran == expected
    assert set(outcomes.values()) <= {"ran", "Cached"}


def test_param_changed_back_is_restored(done):
    done.edit("params.yaml", 'title: "ganpress: digits"', "title: other")
    assert done.run(stages=["last"]) == {"last": "ran"}
    done.edit("params.yaml", "title: other", 'title: "ganpress: digits"')
    assert done.run()["last"] == "restored"
    assert done.executed() == ["last"]


def test_deleted_output_is_restored_without_work(done):
    out = done.root / "artifacts" / "many" / "a" / "out.txt"
    content = out.read_text()
    out.unlink()
    (done.root / "artifacts" / "last" / "metrics.json").unlink()
    outcomes = done.run()
    assert out.read_text() == content
    assert (done.root / "artifacts" / "last" / "metrics.json").exists()
    assert outcomes["many@a"] == outcomes["last"] == "restored"
    assert done.executed() == []


def test_output_changed_by_hand_is_put_right(done):
    out = done.root / "artifacts" / "first" / "out.txt"
    content = out.read_text()
    out.unlink()
    out.write_text("tampered")
    assert done.run()["first"] == "restored"
    assert out.read_text() == content
    assert done.executed() == []


def test_forced_dvc_run_is_seen(done):
    done.run()
    done.dvc("repro", "--force", "--single-item", "many@a")
    assert done.executed() == ["many/a"]
    assert set(done.run().values()) == {"Cached"}
    assert done.executed() == []


def test_one_stage_alone(done):
    done.edit("raw.txt", "raw", "row")
    assert done.run(stages=["first"]) == {"first": "ran"}
    assert done.executed() == ["first"]
    assert done.run(stages=["many"]) == {"many@a": "ran", "many@b": "ran"}
    assert done.run(stages=["last"], force=True) == {"last": "ran"}
    assert done.executed() == ["last", "many/a", "many/b"]


def test_from_stage_runs_downstream_only_and_force_runs_clean_ones(done):
    assert done.run(from_stage="many@a") == {"many@a": "Cached", "last": "Cached"}
    assert done.run(from_stage="many@a", force=True) == {"many@a": "ran", "last": "ran"}
    assert done.executed() == ["last", "many/a"]


def test_chosen_stages_keep_the_order_of_unchosen_ones_between(done):
    assert list(done.run(stages=["last", "first"], force=True)) == ["first", "last"]
    assert (done.control / "log.txt").read_text().split() == ["first", "last"]


def test_failed_stage_keeps_earlier_outputs_and_resumes_there(toy):
    (toy.control / "fail-many-b").touch()
    with pytest.raises(StageFailed, match="stage many@b failed: many/b: the disk is made of cheese") as caught:
        toy.run()
    assert "\n" not in str(caught.value)
    outcomes = {result.stage: result.outcome for result in caught.value.results}
    assert outcomes == {"first": "ran", "many@a": "ran", "many@b": "failed", "aside": "ran", "last": "not run"}
    assert toy.executed() == ["aside", "first", "many/a", "many/b"]
    assert (toy.root / "artifacts" / "many" / "a" / "out.txt").exists()
    (toy.control / "fail-many-b").unlink()
    assert toy.run() == {"first": "Cached", "many@a": "Cached", "many@b": "ran", "aside": "Cached", "last": "ran"}
    assert toy.executed() == ["last", "many/b"]


def test_nothing_more_starts_once_a_stage_without_variants_failed(toy):
    (toy.control / "fail-aside").touch()
    with pytest.raises(StageFailed, match="stage aside failed") as caught:
        toy.run(jobs=1)
    outcomes = {result.stage: result.outcome for result in caught.value.results}
    started = toy.executed()
    assert outcomes["aside"] == "failed"
    assert outcomes["last"] == "not run"
    assert {name for name, one in outcomes.items() if one == "not run"} == set(outcomes) - {
        one.replace("many/", "many@") for one in started
    }
    (toy.control / "fail-aside").unlink()
    assert toy.run()["last"] == "ran"


def test_missing_input_is_said_in_one_line(toy):
    with pytest.raises(StageFailed, match=r"stage aside failed: .*artifacts/first/out.txt"):
        toy.run(stages=["aside"])


def test_stage_past_its_limit_is_stopped(toy):
    (toy.control / "hold").touch()
    with pytest.raises(StageFailed, match=r"first failed: it took longer than its limit of 4 s and was stopped"):
        toy.run(stages=["first"], stage_timeout_s=4)
    (toy.control / "hold").unlink()
    assert toy.executed() == ["first"]


@pytest.mark.usefixtures("prefect_variable")
def test_two_flows_at_once_execute_each_stage_once(toy):
    both = [
        subprocess.Popen(toy.command("run"), cwd=toy.root, env=toy.environment(), stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=180)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert toy.executed() == ALL
    assert all("5 stages: " in output for output in outputs)


def test_threads_are_shared_out(toy, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    toy.edit("step.py", 'print("working on", name)', 'open(control / "env", "a").write(os.environ["GANPRESS_THREADS"])')
    toy.run(stages=["first"], jobs=1)
    assert (toy.control / "env").read_text() == str(cores())


def test_unknown_stage_is_named(toy):
    with pytest.raises(ConfigError, match=r"no stage 'lost' in dvc.yaml; stages: first, many, aside, last"):
        toy.run(stages=["lost"])
    with pytest.raises(ConfigError, match=r"no stage 'many@c' in dvc.yaml; stages: many@a, many@b"):
        toy.run(from_stage="many@c")


def test_other_parameters_run_beside_and_share_the_cache(done):
    before = (done.root / "params.yaml").read_bytes()
    outcomes = done.run(settings=["teacher.images=900"])
    assert outcomes == {"first": "restored", "aside": "restored", "many@a": "ran", "many@b": "ran", "last": "ran"}
    assert done.executed() == ["last", "many/a", "many/b"]
    assert (done.root / "params.yaml").read_bytes() == before
    assert "1000" in (done.root / "artifacts" / "many" / "a" / "out.txt").read_text()
    assert set(done.run(settings=["teacher.images=900"]).values()) == {"Cached"}
    done.edit("params.yaml", "images: 1000\n\nstudent", "images: 900\n\nstudent")
    assert done.run()["many@a"] == "restored"
    assert done.executed() == []
    assert len(list(Path(done.root, ".ganpress", "worktrees").glob("*/params.yaml"))) == 1


def test_the_recorder_is_told_the_recipe(done, monkeypatch):
    """It registers the edge files under a name of the recipe's own."""
    from contextlib import contextmanager

    told = []

    @contextmanager
    def recording(root, flow_run_id=None, recipe=None):
        told.append((root, flow_run_id is not None, recipe))
        yield

    monkeypatch.setattr("ganpress.tracking.recording", recording)
    assert set(done.run(stages=["first"], recipe="small")) == {"first"}
    assert set(done.run(stages=["first"])) == {"first"}
    (isolated, *one), (main, *other) = told
    assert one == [True, "small"]
    assert other == [True, None]
    assert main == done.root != isolated
