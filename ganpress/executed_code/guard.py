"""Checks that a stage's code did not change while it ran, so that DVC never records a result under other code.

DVC reads a stage's dependencies after its command. Therefore the stage writes the digest of its own code when it
starts, and fails at its end if the code has changed.
"""

import os
import time
from pathlib import Path

import psutil

from ganpress.errors import CodeChanged
from ganpress.executed_code.digests import StageCode, changed_files
from ganpress.executed_code.reach import EXTENSION

CLOCK_SECONDS = 0.1
"""Largest difference in seconds between the kernel's clocks of processes and of files; both advance in ticks."""
SHOWN = 3
"""Largest number of files that a message names."""


class CodeGuard:
    """Created when a stage starts and checked when it ends; a stage without a digest in dvc.yaml is not checked.

    Args:
        root: the folder of dvc.yaml.
        stage: the stage's name.
        item: the item of a foreach stage.

    Raises:
        ConfigError: if a file is not Python.
        CodeChanged: if a file was edited after this process began to load it.
    """

    def __init__(self, root: Path, stage: str, item: str | None) -> None:
        self._code = StageCode(root)
        self._path = self._code.path_of(stage, item)
        if self._path is None:
            return
        self._text = self._code.text(self._path)
        self._code.save()
        if not self._code.is_written(self._path):
            # A file was edited after the digest was written, perhaps after this process imported it.
            self._refuse_late_edits()
            self._code.write(self._path)

    def check(self) -> None:
        """Compare the code with that at the start.

        Raises:
            CodeChanged: if the code has changed.
        """
        if self._path is None or self._code.state == self._code.modules.state():
            return
        changed = changed_files(self._text, self._code.again().text(self._path))
        if changed:
            raise CodeChanged(f"{_named(changed)} changed while it ran, so its outputs are not kept; run again")

    def _refuse_late_edits(self) -> None:
        started = start_of_this_process() - CLOCK_SECONDS
        files = [line.rpartition(" ")[0] for line in self._text.splitlines()]
        own = [path for path in files if not path.startswith(EXTENSION)]
        late = [path for path in own if (self._code.modules.root / path).stat().st_ctime > started]
        if late:
            raise CodeChanged(f"{_named(late)} changed while it started; run again")


def start_of_this_process() -> float:
    """Return the time at which this process began, in seconds of `time.time`.

    Linux counts it from the boot, in ticks. psutil adds the time of boot, which `/proc/stat` truncates to a whole
    second; an edit up to a second before the start would then count as later.
    """
    try:
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])  # field 22 of proc(5)
    except FileNotFoundError:
        return psutil.Process().create_time()
    return time.time() - (time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK"))


def _named(files: list[str]) -> str:
    more = f" and {len(files) - SHOWN} more" if len(files) > SHOWN else ""
    return ", ".join(files[:SHOWN]) + more
