"""Previous outputs of a stage are restored if the stage fails, and replaced otherwise."""

import pytest

from ganpress.errors import DataError
from ganpress.tracking import StageRun
from tasks.shared.previous_outputs import keeps_former
from tasks.shared.stage import Stage


@pytest.fixture
def stage(tmp_path):
    """A stage that has run before."""
    stage = Stage("report", None, tmp_path, {"seed": 0})
    (stage.out / "pictures").mkdir(parents=True)
    (stage.out / "pictures" / "old.png").write_text("former")
    (stage.out / "report.md").write_text("former")
    return stage


def contents(folder):
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


FORMER = {"pictures/old.png": "former", "report.md": "former"}


@pytest.mark.parametrize("error", [DataError, OSError, KeyboardInterrupt])
def test_failed_stage_leaves_what_it_made_before(stage, error):
    @keeps_former
    def work(stage, _):
        assert contents(stage.out) == {}
        (stage.out / "pictures").mkdir()
        (stage.out / "pictures" / "new.png").write_text("half")
        (stage.out / "report.md").write_text("half")
        raise error("halfway")

    with pytest.raises(error, match="halfway"):
        work(stage, StageRun(stage.root, None, ""))
    assert contents(stage.out) == FORMER
    assert list((stage.root / ".ganpress").iterdir()) == []


def test_finished_stage_leaves_nothing_of_the_former_run(stage):
    @keeps_former
    def work(stage, _):
        (stage.out / "report.html").write_text("new")

    work(stage, StageRun(stage.root, None, ""))
    assert contents(stage.out) == {"report.html": "new"}
    assert list((stage.root / ".ganpress").iterdir()) == []
