"""What a stage made before stays where it is until the stage has made it anew, whole."""

import functools
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ganpress.files.refused_names import is_refused
from ganpress.tracking import StageRun
from tasks.shared.stage import Stage

Work = Callable[[Stage, StageRun], None]


def keeps_former(work: Work) -> Work:
    """Let a stage begin with an empty folder, and give it its former content back where the stage fails.

    DVC keeps what it removes before a stage in its cache; a stage that is run by hand has no other copy, and one that
    writes several files would leave some of each run.
    """

    @functools.wraps(work)
    def keeping(stage: Stage, run: StageRun) -> None:
        with _empty(stage.out, stage.root / ".ganpress"):
            work(stage, run)

    return keeping


@contextmanager
def _empty(folder: Path, aside: Path) -> Iterator[None]:
    """Move what is in a folder to a new one below `aside`, and back where the block raises."""
    aside.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="former-", dir=aside) as former:
        _move(folder, Path(former))
        try:
            yield
        except BaseException:  # an interruption loses nothing either
            _give_back(Path(former), folder)
            raise


def _give_back(former: Path, folder: Path) -> None:
    """Move the former content into a folder in place of what is there, but for the files of a refused export.

    Those are what the failed stage leaves behind, and they take the place of those of an earlier refusal.
    """
    refused = [path for path in folder.iterdir() if is_refused(path)]
    for path in folder.iterdir():
        if path not in refused:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for path in former.iterdir():
        if not (refused and is_refused(path)):
            shutil.move(path, folder / path.name)


def _move(source: Path, target: Path) -> None:
    for path in source.iterdir():
        shutil.move(path, target / path.name)
