"""Scores on several cores with worker processes of one thread each, which end with the search in any case.

Workers are spawned, because torch does not survive a fork. Each builds its scorer itself, from paths and numbers, so
that nothing large is sent. The parent holds one end of a pipe, the *leash*; when it closes, because the search failed
or because the parent was killed, every worker ends at once.
"""

import math
import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection

import torch

from ganpress.errors import TrainingDiverged, WorkerDied
from models.elastic import Spec

Scorer = Callable[[Spec], float]
"""Function that scores one sub-generator; the value depends only on the spec, not on earlier scores."""

ScorerFactory = Callable[[], Scorer]
"""Builds the scorer, once in each process; pickled, so a module's function or a frozen dataclass with `__call__`."""

POOL_PAYS_SECONDS = 15.0
"""Seconds of work on one core below which processes are not started unless requested, because each needs seconds for
its imports."""


QUEUED_EACH = 4
"""Number of specs that wait for each worker, so that no worker is idle."""


def finite(spec: Spec, score: float) -> float:
    """Return a score that is a number.

    Raises:
        TrainingDiverged: if it is none.
    """
    if not math.isfinite(score):
        raise TrainingDiverged(
            f"the score of sub-generator {spec} is {score}; train the supernet again, with a lower learning rate"
        )
    return float(score)


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread inside the block, so that sums are the same with any number of workers."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class ScoringPool:
    """Scores batches of specs; use it as a context manager, whose end is the end of the workers.

    Args:
        factory: builds the scorer.
        workers: processes. 1 scores in this process. None takes as many as torch has threads here, once the work that
            is left would keep one core busy for longer than `POOL_PAYS_SECONDS`.
        expected: specs that will be scored at most; more of them are better spread.
    """

    def __init__(self, factory: ScorerFactory, workers: int | None, expected: int) -> None:
        self._factory = factory
        self._workers = max(1, min(workers or torch.get_num_threads(), expected))
        self._lazy = workers is None
        self._left = expected
        self._own: Scorer | None = None
        self._pace = 0.0  # seconds of the last score in this process
        self._executor: ProcessPoolExecutor | None = None
        self._leash: Connection | None = None
        self.scored = 0
        self.seconds = 0.0
        """Wall time of scoring, the start of workers included."""

    def __enter__(self) -> "ScoringPool":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._executor is None or self._leash is None:
            return
        if kind is None:
            self._executor.shutdown()
        self._leash.close()
        self._executor.shutdown()

    @property
    def processes(self) -> int:
        """Number of processes that score now."""
        return self._workers if self._executor is not None else 1

    def score(self, specs: Sequence[Spec]) -> Iterator[tuple[Spec, float]]:
        """Yield each spec with its score, in the order in which they are ready.

        Raises:
            TrainingDiverged: if a score is NaN or infinite.
            WorkerDied: if a worker was killed, for example for lack of memory.
            GanpressError: any error of a scorer, unchanged.
        """
        waiting = deque(specs)
        began = time.monotonic()
        while waiting and not self._pool_pays():
            spec = waiting.popleft()
            yield self._counted(spec, self._score_here(spec), began)
            began = time.monotonic()
        if not waiting:
            return
        executor = self._started()
        queued: dict[Future[float], Spec] = {}
        try:
            while waiting or queued:
                # A few for each worker, not all: 100,000 candidates would stand in memory as messages.
                while waiting and len(queued) < QUEUED_EACH * self._workers:
                    spec = waiting.popleft()
                    queued[executor.submit(_score, spec)] = spec
                for future in wait(queued, return_when=FIRST_COMPLETED).done:
                    yield self._counted(queued.pop(future), future.result(), began)
                    began = time.monotonic()
        except BrokenProcessPool:
            raise WorkerDied(
                "a process that scored sub-generators ended before its work, most likely killed for lack of memory; "
                f"set search.workers below {self._workers} and run again: finished scores are kept"
            ) from None

    def _pool_pays(self) -> bool:
        if self._workers == 1:
            return False
        if self._executor is not None or not self._lazy:
            return True
        return self._left * self._pace > POOL_PAYS_SECONDS

    def _score_here(self, spec: Spec) -> float:
        with one_thread():
            if self._own is None:
                self._own = self._factory()
            began = time.monotonic()
            score = self._own(spec)
            self._pace = time.monotonic() - began
            return score

    def _counted(self, spec: Spec, score: float, began: float) -> tuple[Spec, float]:
        score = finite(spec, score)
        self.scored += 1
        self._left -= 1
        self.seconds += time.monotonic() - began
        return spec, score

    def _started(self) -> ProcessPoolExecutor:
        if self._executor is None:
            self._own = None
            context = multiprocessing.get_context("spawn")
            reader, self._leash = context.Pipe(duplex=False)
            self._executor = ProcessPoolExecutor(self._workers, context, _start_worker, (self._factory, reader))
        return self._executor


_factory: ScorerFactory | None = None
_scorer: Scorer | None = None


def _start_worker(factory: ScorerFactory, leash: Connection) -> None:
    global _factory
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it too, and lets go of the leash
    threading.Thread(target=_end_with, args=(leash,), daemon=True).start()
    torch.set_num_threads(1)
    _factory = factory


def _end_with(leash: Connection) -> None:
    with suppress(EOFError, OSError):
        leash.recv_bytes()
    os._exit(1)


def _score(spec: Spec) -> float:
    """Score in a worker; the scorer is built by the first call, whose errors reach the parent as they are."""
    global _scorer
    if _scorer is None:
        assert _factory is not None
        _scorer = _factory()
    return _scorer(spec)
