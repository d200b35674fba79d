"""Journals after a kill or a full disk: they are recorded again, ended, or moved aside, and never block a run."""

import pytest

from ganpress.tracking.events import EVENTS_FILE, journals_folder
from ganpress.tracking.player import STATE_FILE
from ganpress.tracking.recorder import record_all
from ganpress.tracking.recorders import DAMAGED, has_pending


@pytest.fixture
def scratch(project, monkeypatch):
    """A project whose stages leave their journals for a later recorder."""
    monkeypatch.setenv("GANPRESS_TRACKING", "deferred")
    return project


def journals(project):
    return sorted(journals_folder(project.root).iterdir())


@pytest.mark.parametrize("content", [b"", b'{"offset": 12', b"\x81\x88\x8f", b"[]", b'{"unknown": 1}'])
def test_a_lost_note_of_how_far_it_was_played_makes_no_second_run(scratch, content):
    with scratch.stage("teacher") as run:
        run.log_metrics({"loss": 1.0}, step=1)
        record_all(scratch.root)
        (folder,) = journals(scratch)
        (folder / STATE_FILE).write_bytes(content)
        run.log_metrics({"loss": 0.5}, step=2)
    record_all(scratch.root)
    (run,) = scratch.search("attributes.run_name = 'teacher'")
    assert run.info.status == "FINISHED"
    assert [one.value for one in scratch.store.client.get_metric_history(run.info.run_id, "loss")] == [1.0, 0.5]
    assert not has_pending(scratch.root)


@pytest.mark.parametrize("damage", [b"\x81\x88\x8f\n", b'{"kind": "ended"}\n', b'{"kind": "other"}\n', b"[]\n"])
def test_a_journal_that_nobody_can_read_is_put_aside_and_the_next_one_recorded(scratch, damage):
    for name in ("judge", "teacher"):
        with scratch.stage(name):
            pass
    first, _ = journals(scratch)
    (first / EVENTS_FILE).write_bytes(damage)
    record_all(scratch.root)
    assert [run.info.run_name for run in scratch.search()] == ["teacher"]
    assert not has_pending(scratch.root)
    assert [entry.name for entry in (scratch.root / ".ganpress" / DAMAGED).iterdir()] == [first.name]


@pytest.mark.parametrize("content", [b"", b'{"kind": "star'])
def test_a_journal_whose_stage_died_in_its_first_line_goes(scratch, content):
    folder = journals_folder(scratch.root) / "1-teacher-999999999"
    folder.mkdir(parents=True)
    (folder / EVENTS_FILE).write_bytes(content)
    record_all(scratch.root)
    assert not has_pending(scratch.root)
    assert list(scratch.search()) == []
