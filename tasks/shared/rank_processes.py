"""Starts and stops the ranks of a training stage together, and reports an error in one line.

It uses the inner part of `torchrun`, which starts processes, watches them and ends all when one fails. Its outer part
would connect machines through a port that anyone on the network can write to; ranks of one machine find each other
through a file.
"""

import json
import logging
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ganpress.basics.ranks import GPUS, MEETING, PROCESSES, chosen_ranks, joined, rank
from ganpress.errors import ConfigError, WorkerDied
from ganpress.tracking import StageRun
from tasks.shared.stage import BATCHES, Stage, Work, check_inputs, stage_main, work_alone

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

POLL_SECONDS = 0.2
LOST = 75
"""Exit code of a rank that lost another rank, so that it is not the cause of the failure."""
LAST_WORDS_SECONDS = 5.0
"""Seconds that such a rank waits to be stopped, so that the cause is reported first."""


def training_main(name: str, work: Work, trains: Callable[[Stage], bool] = lambda _: True) -> int:
    """Run a stage like `stage_main`, with as many ranks as the environment asks for.

    Args:
        name: name of the stage.
        work: work of the stage; only rank 0 writes results.
        trains: whether this item trains anything.
    """
    if MEETING in os.environ:
        return stage_main(name, work, _work_as_rank, _report)

    def do(stage: Stage, work: Work) -> int:
        asked = os.environ.get(GPUS) or os.environ.get(PROCESSES)
        ranks = chosen_ranks(stage.device) if asked else 1
        if ranks == 1 or not trains(stage):
            return work_alone(stage, work)
        check_batch(stage.params, BATCHES[name], ranks)
        return run_ranks(name, ranks, stage.device, sys.orig_argv[1:])

    return stage_main(name, work, do)


def check_batch(params: Mapping[str, Any], setting: str, ranks: int) -> None:
    """Check that the ranks can have equal shares of a batch.

    Args:
        params: the content of params.yaml.
        setting: key of the batch size, e.g. `student.training.batch_size`.
        ranks: number of ranks.

    Raises:
        ConfigError: if they cannot.
    """
    value: Any = params
    for key in setting.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    if type(value) is int and value % ranks:
        fitting = max(value // ranks, 1) * ranks
        raise ConfigError(
            f"{setting} is {value}, which {ranks} ranks cannot share equally; set it to {fitting}, or another "
            f"multiple of {ranks}"
        )


def run_ranks(name: str, ranks: int, device: torch.device, command: Sequence[str]) -> int:
    """Run a Python command with several ranks until it ends, and return its exit code; none of its processes remains.

    Args:
        name: name of the stage, for messages.
        ranks: number of ranks.
        device: device of the stage; each rank gets its own GPU.
        command: arguments of the interpreter.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException, start_processes

    logging.getLogger("torch.distributed.elastic").setLevel(
        logging.CRITICAL
    )  # The launcher reports errors in many lines.
    with tempfile.TemporaryDirectory(prefix="ganpress-ranks-") as folder:
        environments = {rank: _environment(rank, ranks, device, Path(folder)) for rank in range(ranks)}
        commands = dict.fromkeys(environments, tuple(command))
        context = None
        try:
            context = start_processes(name, sys.executable, commands, environments, DefaultLogsSpecs(folder))
            ended = context.wait(period=POLL_SECONDS)
        except SignalException as error:
            return 128 + error.sigval
        finally:
            if context is not None:
                context.close()
    return 0 if ended is None or not ended.failures else _explain(name, ended.failures.values())


def _environment(rank: int, ranks: int, device: torch.device, folder: Path) -> dict[str, str]:
    return {
        "RANK": str(rank),
        "WORLD_SIZE": str(ranks),
        MEETING: str(folder / "meeting"),
        "GANPRESS_DEVICE": f"cuda:{rank}" if device.type == "cuda" else str(device),
        "GANPRESS_THREADS": str(max(1, torch.get_num_threads() // ranks)),
    }


def _explain(name: str, failures: "Iterable[ProcessFailure]") -> int:
    """Report in one line why ranks failed; a rank with an unexpected error has printed its traceback."""
    by_time = sorted(failures, key=lambda one: one.timestamp)
    said = [one.message for one in by_time if one.exitcode == 2]
    killed = [one for one in by_time if one.exitcode < 0 and one.exitcode != -signal.SIGTERM]
    crashed = [one for one in by_time if one.exitcode > 0 and one.exitcode not in (2, LOST)]
    if said:
        print(said[0], file=sys.stderr)
    elif killed or not crashed:
        first = (killed or by_time)[0]
        how = f"was killed ({first.signal_name()})" if first.exitcode < 0 else "lost the others"
        print(
            f"{name}: rank {first.local_rank} {how}, and the others were stopped; was there enough memory? The "
            f"last checkpoint is kept: run again to continue",
            file=sys.stderr,
        )
    return crashed[0].exitcode if crashed and not said else 2


def _work_as_rank(stage: Stage, work: Work) -> int:
    """Do the work together with the other ranks."""
    from torch.multiprocessing import _prctl_pr_set_pdeathsig  # type: ignore[attr-defined]

    _prctl_pr_set_pdeathsig(signal.SIGTERM)  # The process ends with its parent, however the parent ends.
    with joined(stage.device):
        if rank() == 0:
            return work_alone(stage, work)
        logging.getLogger("ganpress").setLevel(logging.CRITICAL)
        check_inputs(stage)
        scratch = Path(os.environ[MEETING]).with_name(f"scratch-{rank()}")  # It is removed with the folder.
        scratch.mkdir()
        work(replace(stage, scratch=scratch), StageRun(stage.root, None, ""))
    return 0


def _report(line: str, error: BaseException) -> int:
    """Write a rank's error line for its parent process; a rank that lost another one waits to be stopped."""
    if isinstance(error, WorkerDied):
        time.sleep(LAST_WORDS_SECONDS)
        return LOST
    report = {"message": line, "timestamp": int(time.time())}
    Path(os.environ["TORCHELASTIC_ERROR_FILE"]).write_text(json.dumps(report), encoding="utf-8")
    return 2
