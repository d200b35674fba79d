"""Scores on a Ray cluster: each score is a separate task, on any node that has room.

Scores are tasks and not actors, because an actor of a lost node would wait for room for ever, while a task starts again
elsewhere.
"""

import json
import os
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any, Protocol, Self

from ganpress.basics.ray_cluster import ENVIRONMENT, TASK, connected, explained
from ganpress.errors import GanpressError, WorkerDied
from ganpress.search.workers import Scorer, ScorerFactory, ScoringPool, finite, one_thread
from models.elastic import Spec

QUEUED_EACH = 2
"""Number of specs that are queued for each place: one that is scored and one that waits."""
MOST_QUEUED = 4096
"""Limit of all queued specs, so that the memory of a large search does not grow with it."""
CRASHES = 3
"""Number of workers that a spec may end before it counts as the cause; lost nodes are not counted."""


class Scoring(Protocol):
    """Scores batches of specs; a context manager whose end is the end of all that scores."""

    scored: int
    seconds: float

    def __enter__(self) -> Self:
        """Start scoring."""

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        """End every process that scores."""

    @property
    def processes(self) -> int:
        """Number of processes that score now."""

    def score(self, specs: Sequence[Spec]) -> Iterator[tuple[Spec, float]]:
        """Yield each spec with its score, in the order in which they are ready."""


def open_scoring(factory: ScorerFactory, workers: int | None, expected: int) -> Scoring:
    """Return the scorer of this stage: the cluster that `GANPRESS_CLUSTER` names, or processes of this machine."""
    address = os.environ.get(ENVIRONMENT)
    if address and TASK in os.environ:
        return ClusterScoring(factory, workers, address, json.loads(os.environ[TASK]))
    return ScoringPool(factory, workers, expected)


class ClusterScoring:
    """Scores as tasks of a cluster.

    Args:
        factory: builds the scorer, once in each worker of the cluster.
        workers: number of tasks at a time; None takes as many as the cluster has room for.
        address: address of the cluster.
        options: Ray's options of each task, such as `num_cpus`.
    """

    def __init__(self, factory: ScorerFactory, workers: int | None, address: str, options: dict[str, Any]) -> None:
        self._factory, self._workers, self._address, self._options = factory, workers, address, options
        self._open = ExitStack()
        self._ray: Any = None
        self.scored = 0
        self.seconds = 0.0

    def __enter__(self) -> "ClusterScoring":
        self._ray = self._open.enter_context(connected(self._address))
        self._packed = self._ray.cloudpickle.dumps(self._factory)
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    @property
    def processes(self) -> int:
        """Number of tasks that the cluster can run at the same time now, at most `workers`."""
        total = self._ray.cluster_resources()
        wanted = {"CPU": self._options.get("num_cpus", 0), "GPU": self._options.get("num_gpus", 0)}
        room = min(int(total.get(key, 0) // least) for key, least in wanted.items() if least)
        return max(1, min(room, self._workers or room))

    def score(self, specs: Sequence[Spec]) -> Iterator[tuple[Spec, float]]:
        """Yield each spec with its score, in the order in which they are ready.

        Raises:
            TrainingDiverged: if a score is NaN or infinite.
            WorkerDied: if a spec kills each worker that scores it.
            ServiceUnavailable: if the cluster fails.
            GanpressError: any error of a scorer, unchanged.
        """
        waiting, running, crashes = deque(specs), dict[Any, Spec](), Counter[Spec]()
        began = time.monotonic()
        while waiting or running:
            most = self._workers or min(QUEUED_EACH * self.processes, MOST_QUEUED)
            while waiting and len(running) < most:
                spec = waiting.popleft()
                running[self._started(spec)] = spec
            done, _ = self._ray.wait(list(running), num_returns=1)
            for one in done:
                spec = running.pop(one)
                score = self._result(one, spec, crashes)
                if score is None:
                    waiting.append(spec)
                    continue
                self.scored += 1
                self.seconds += time.monotonic() - began
                yield spec, finite(spec, score)
                began = time.monotonic()

    def _started(self, spec: Spec) -> Any:
        return self._ray.remote(score_on_node).options(**self._options, max_retries=0).remote(self._packed, spec)

    def _result(self, done: Any, spec: Spec, crashes: Counter[Spec]) -> float | None:
        """Return a task's score, or None if the task must be started again."""
        errors = self._ray.exceptions
        try:
            return float(self._ray.get(done))
        except errors.NodeDiedError:
            return None
        except (errors.WorkerCrashedError, errors.OutOfMemoryError):
            crashes[spec] += 1
            if crashes[spec] < CRASHES:
                return None
            raise WorkerDied(
                f"sub-generator {spec} ended {CRASHES} workers of the cluster, most likely for lack of memory; set "
                "resources.search.memory_gib and run again: finished scores are kept"
            ) from None
        except errors.RayTaskError as error:
            if isinstance(error.cause, GanpressError):
                raise error.cause from None
            raise
        except errors.RayError as error:
            raise explained(error, self._address) from None


_built: tuple[bytes, Scorer] | None = None


def score_on_node(packed: bytes, spec: Spec) -> float:
    """Score in a worker of the cluster, on one thread; the worker keeps the scorer for the next call.

    Args:
        packed: pickled factory of the scorer.
        spec: sub-generator to score.
    """
    global _built
    import ray

    with_gpu = bool(ray.get_gpu_ids())
    os.environ["GANPRESS_DEVICE"] = "cuda" if with_gpu else "cpu"
    if not with_gpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # without GPUs, Ray keeps the value of the node's environment
    with one_thread():
        if _built is None or _built[0] != packed:
            _built = (packed, ray.cloudpickle.loads(packed)())
        return float(_built[1](spec))
