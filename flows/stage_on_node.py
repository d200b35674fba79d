"""Runs a stage's command on the node that Ray chose for it, in the project's folder, which all nodes share."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from flows.stage_process import Command, SupervisedProcess

RAYS_OWN = ("RAY_JOB_ID", "RAY_RAYLET_PID", "RAY_CLIENT_MODE", "RAY_JOB_CONFIG_JSON_ENV_VAR")
"""Ray's variables of a worker, which a stage's process must not inherit."""
BETWEEN = ("/bin/sh", "-c", 'exec 3<&0; "$@" <&3 3<&- & wait $!', "sh")
"""Shell command that starts the supervisor. A worker that Ray ends kills its direct children with SIGKILL, and a killed
supervisor could not end the processes below it."""
OF_THE_RUN = ("GANPRESS_GPUS", "GANPRESS_RANKS", "GANPRESS_DEVICE", "GANPRESS_CLUSTER", "GANPRESS_CLUSTER_TASK")
"""Variables that describe the machine that started the run and mean nothing on a node."""


def run_on_node(
    arguments: Sequence[str],
    root: str,
    carried: Mapping[str, str],
    gpus: int,
    log: str,
    timeout_s: float | None,
) -> int:
    """Run a Python command to its end and return its exit code; the command ends with this worker, however that ends.

    Args:
        arguments: arguments for this node's interpreter.
        root: the project's folder.
        carried: variables of the run, which override the node's own.
        gpus: number of GPUs that Ray assigned to the stage; with 0 it sees none.
        log: file to which each line of the output is written, for the process that started the run.
        timeout_s: limit of the wall time.
    """
    with Path(log).open("w", encoding="utf-8", buffering=1) as file:
        env = node_environment(os.environ, carried, gpus)
        command = Command([sys.executable, *arguments], Path(root), env, lambda line: print(line, file=file))
        process = SupervisedProcess(command, BETWEEN)
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
