"""Console output of a run: the stages while they run, and a final table."""

import os
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

Outcome = Literal["Cached", "restored", "ran", "failed", "not run"]

STYLES: dict[Outcome, str] = {"Cached": "blue", "restored": "cyan", "ran": "green", "failed": "red", "not run": "dim"}
PLAIN_WIDTH = 120


@dataclass(frozen=True)
class StageResult:
    """Result of one stage of a run."""

    stage: str
    outcome: Outcome
    """`Cached`: the stage was up to date; `restored`: DVC's cache had its outputs. Neither does any work."""
    seconds: float
    cause: str | None = None
    """Reason of the failure, in one line."""


def make_console() -> Console:
    """Return a console on standard output, wide enough for tables where standard output is not a terminal; COLUMNS
    sets the width of either.
    """
    named = sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdigit()
    return Console(width=None if named else PLAIN_WIDTH, highlight=False, soft_wrap=True)


class RunConsole:
    """Shows a run: a live table of running stages on a terminal, prefixed plain lines elsewhere."""

    def __init__(self, total: int, console: Console | None = None) -> None:
        self._console = console or make_console()
        self._total, self._done = total, 0
        self._running: dict[str, tuple[float, str]] = {}
        self._lock = threading.Lock()
        self._live = Live(get_renderable=self._table, console=self._console, refresh_per_second=4, transient=True)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._live.stop()

    def say(self, text: str) -> None:
        """Print one line above the live table."""
        self._console.print(Text(text))

    def started(self, stage: str) -> None:
        with self._lock:
            self._running[stage] = (time.monotonic(), "")

    def output(self, stage: str, line: str) -> None:
        """Show one line that the stage's process wrote."""
        with self._lock:
            started, _ = self._running.get(stage, (time.monotonic(), ""))
            self._running[stage] = (started, line)
        if not self._console.is_terminal:
            self._console.print(Text(f"{stage} | {line}"))

    def finished(self, result: StageResult) -> None:
        with self._lock:
            self._running.pop(result.stage, None)
            self._done += 1
        cause = f": {result.cause}" if result.cause else ""
        line = Text(f"[{self._done}/{self._total}] {result.stage} ")
        line.append(result.outcome, STYLES[result.outcome])
        line.append(f"{cause} ({result.seconds:.1f} s)" if result.outcome != "not run" else cause)
        self._console.print(line)

    def _table(self) -> RenderableType:
        table = Table(box=None, show_header=False, padding=(0, 1))
        with self._lock:
            rows = [(stage, time.monotonic() - started, line) for stage, (started, line) in self._running.items()]
        for stage, seconds, line in rows:
            table.add_row(
                Text(stage, "bold"), f"{seconds:,.0f} s", Text(line, "dim", no_wrap=True, overflow="ellipsis")
            )
        return Group(table, Text(f"{self._done} of {self._total} stages done", "dim"))

    def summary(self, results: Sequence[StageResult], seconds: float) -> None:
        """Print the final table."""
        table = Table("stage", "outcome", box=box.SIMPLE_HEAD)
        table.add_column("seconds", justify="right")
        for result in results:
            shown = f"{result.seconds:.1f}" if result.outcome != "not run" else ""
            table.add_row(result.stage, Text(result.outcome, STYLES[result.outcome]), shown)
        self._console.print(table)
        counts = {outcome: sum(result.outcome == outcome for result in results) for outcome in STYLES}
        named = ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count)
        self._console.print(Text(f"{len(results)} stages: {named}; {seconds:.1f} s"))
