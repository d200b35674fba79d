"""Restores a stage's previous outputs if it fails."""

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
    """Start a stage with an empty folder, and restore its previous content if the stage fails.

    DVC caches the outputs that it removes before a stage. A stage that is run by hand has no other copy, and one that
    writes several files would leave a mixture of two runs.
    """

    @functools.wraps(work)
    def keeping(stage: Stage, run: StageRun) -> None:
        with _empty(stage.out, stage.root / ".ganpress"):
            work(stage, run)

    return keeping


@contextmanager
def _empty(folder: Path, aside: Path) -> Iterator[None]:
    """Move the content of a folder to a new one below `aside`, and back if the block raises."""
    aside.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="former-", dir=aside) as former:
        _move(folder, Path(former))
        try:
            yield
        except BaseException:  # The content is also restored after an interruption.
            _give_back(Path(former), folder)
            raise


def _give_back(former: Path, folder: Path) -> None:
    """Replace the content of a folder by the previous one, except for the files of a refused export.

    The failed stage leaves these files, and they replace those of an earlier refusal.
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
