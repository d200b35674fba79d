"""A stage's command on the node that was chosen for it, in the project's folder, which all nodes share."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from flows.stage_process import SupervisedProcess

RAYS_OWN = ("RAY_JOB_ID", "RAY_RAYLET_PID", "RAY_CLIENT_MODE", "RAY_JOB_CONFIG_JSON_ENV_VAR")
"""Variables of a worker that a process of its own must not take for its own."""
BETWEEN = ("/bin/sh", "-c", 'exec 3<&0; "$@" <&3 3<&- & wait $!', "sh")
"""Starts the supervisor. A worker that Ray ends kills its direct children with -9, and a supervisor that was killed so
could not end what is below it."""
OF_THE_RUN = ("GANPRESS_GPUS", "GANPRESS_RANKS", "GANPRESS_DEVICE", "GANPRESS_CLUSTER", "GANPRESS_CLUSTER_TASK")
"""Variables of the machine that started the run, which mean nothing elsewhere."""


def run_on_node(
    arguments: Sequence[str],
    root: str,
    carried: Mapping[str, str],
    gpus: int,
    log: str,
    timeout_s: float | None,
) -> int:
    """Run a command of Python to its end and return its exit code; it ends with this worker, however that ends.

    Args:
        arguments: of this node's interpreter.
        root: the project's folder.
        carried: variables of the run, laid over the node's own.
        gpus: how many GPUs the stage was given; without any it sees none.
        log: file that gets each line of the output, for whoever started the run.
        timeout_s: limit of the wall time.
    """
    with Path(log).open("w", encoding="utf-8", buffering=1) as file:
        process = SupervisedProcess(
            [sys.executable, *arguments],
            Path(root),
            node_environment(os.environ, carried, gpus),
            lambda line: print(line, file=file),
            BETWEEN,
        )
        try:
            return process.wait(timeout_s)
        finally:
            if process.alive:
                process.stop()


def node_environment(own: Mapping[str, str], carried: Mapping[str, str], gpus: int) -> dict[str, str]:
    """Return a stage's environment: this node's, what the run says, and the GPUs that Ray assigned, or none."""
    left_out = {*RAYS_OWN, *OF_THE_RUN}
    interpreter = str(Path(sys.executable).parent)
    values = {name: value for name, value in own.items() if name not in left_out} | dict(carried)
    values["PATH"] = os.pathsep.join([interpreter, own.get("PATH", os.defpath)])
    if gpus == 0:
        return values | {"GANPRESS_DEVICE": "cpu", "CUDA_VISIBLE_DEVICES": ""}
    return values | {"GANPRESS_DEVICE": "cuda"} | ({"GANPRESS_GPUS": str(gpus)} if gpus > 1 else {})
