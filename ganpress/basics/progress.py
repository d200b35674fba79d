"""Shows the progress of long work: a bar with rate and remaining time on a terminal, plain lines elsewhere."""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

logger = logging.getLogger("ganpress")

PLAIN_LINE_SECONDS = 15.0


class Ticker:
    """Counts the units done; `advance` may be called as often as needed."""

    def __init__(self, label: str, total: int, unit: str, done: int = 0) -> None:
        self.label, self.total, self.unit, self.done = label, total, unit, done
        self._start_done, self._started = done, time.monotonic()
        self._last_line = self._started
        self._bar: Progress | None = None
        if sys.stderr.isatty() and logger.isEnabledFor(logging.INFO):
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
            rate = TextColumn("{task.fields[rate]}")
            self._bar = Progress(*columns, rate, TimeRemainingColumn())
            self._task = self._bar.add_task(label, total=total, completed=done, rate="")
            self._bar.start()

    def advance(self, units: int, note: str = "") -> None:
        """Add `units` done; `note` (losses, say) is shown beside the count."""
        self.done += units
        now = time.monotonic()
        rate = (self.done - self._start_done) / max(now - self._started, 1e-9)
        if self._bar is not None:
            self._bar.update(self._task, completed=self.done, rate=f"{_rounded(rate)} {self.unit}/s {note}")
        elif now - self._last_line >= PLAIN_LINE_SECONDS:
            self._last_line = now
            left = (self.total - self.done) / max(rate, 1e-9)
            counts = f"{self.done:,}/{self.total:,} {self.unit}, {_rounded(rate)}/s, {left:,.0f} s left"
            logger.info("%s: %s %s", self.label, counts, note)

    def close(self) -> None:
        """Stop drawing and print one final line."""
        if self._bar is not None:
            self._bar.stop()
        seconds = time.monotonic() - self._started
        logger.info("%s: %s %s in %.1f s", self.label, f"{self.done:,}", self.unit, seconds)


def _rounded(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"


@contextmanager
def ticker(label: str, total: int, unit: str, done: int = 0) -> Iterator[Ticker]:
    """Show the progress of `total` units of work, of which `done` were done before."""
    one = Ticker(label, total, unit, done)
    try:
        yield one
    finally:
        one.close()
