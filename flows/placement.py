"""Stages on a cluster: each one is a Ray task that runs `dvc repro` in the project's folder, which all nodes share."""

import json
import os
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from flows import node_probe
from flows.environment import environment
from flows.local_cluster import TOKEN, local_cluster
from flows.options import MAX_JOBS
from flows.stage_on_node import OF_THE_RUN, run_on_node
from flows.stage_process import Command, Watchdog
from flows.worktree import Workspace
from ganpress.basics.ray_cluster import ENVIRONMENT, LOCAL, TASK, check_stands, connected, explained
from ganpress.basics.telemetry import SWITCHED_OFF
from ganpress.config.resources_section import StageResources
from ganpress.errors import ConfigError, ServiceUnavailable

POLL_S = 0.2
LOST_S = 3.0
"""Seconds after which the head has ended, if the lost node was its own."""
PROBE_S = 120.0
"""Seconds that a node may take to answer; its first task must start a worker."""
KEEPS_NO_CORE = ("search",)
"""Stages that only wait for their own tasks, which take the resources instead."""
CARRIED = ("GANPRESS_", "MLFLOW_", "DVC_", "AWS_", "OMP_NUM_THREADS", "PYTHONUNBUFFERED")
"""Prefixes of the environment variables that a stage takes over from the machine that started the run."""
GIB = 2**30


class Placement:
    """The cluster of one run."""

    def __init__(self, ray: Any, address: str, workspace: Workspace, watchdog: Watchdog) -> None:
        self._ray, self.address, self._workspace, self._watchdog = ray, address, workspace, watchdog
        self._resources = {str(stage): needs for stage, needs in workspace.params.resources.items()}

    @property
    def jobs(self) -> int:
        """Number of stages that it can run in parallel."""
        return max(1, min(int(self._ray.cluster_resources().get("CPU", 1)), MAX_JOBS))

    def for_stage(self, stage: str) -> "StageOnCluster":
        """Return the object that runs the commands of this stage."""
        family = stage.partition("@")[0]
        return StageOnCluster(self._ray, self.address, self._watchdog, stage, needs_of(self._resources, family))

    def check(self, to_run: Collection[str]) -> None:
        """Check that there are nodes for the stages that will run, and that they have the project and its code.

        Raises:
            ConfigError: if a stage asks for more than any node has.
            ServiceUnavailable: if a node lacks the folder or the packages, or has another version of them.
        """
        nodes = [node for node in self._ray.nodes() if node["Alive"]]
        for family in sorted({name.partition("@")[0] for name in to_run}):
            _check_fits(family, needs_of(self._resources, family), nodes)
        self._check_nodes([node for node in nodes if node["Resources"].get("CPU")])

    def _check_nodes(self, nodes: Sequence[Mapping[str, Any]]) -> None:
        root = self._workspace.root
        mark = _scratch(root) / f"mark-{uuid.uuid4().hex}"
        mark.write_text(mark.name, encoding="utf-8")
        try:
            ours = node_probe.probe(str(root), str(mark))
            for theirs in self._asked(nodes, mark):
                _check_same(ours, theirs, root)
        finally:
            mark.unlink(missing_ok=True)

    def _asked(self, nodes: Sequence[Mapping[str, Any]], mark: Path) -> list[dict[str, str]]:
        import ray.cloudpickle
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        # A node without ganpress could not find the function by its name.
        ray.cloudpickle.register_pickle_by_value(node_probe)
        try:
            asking = self._ray.remote(node_probe.probe)
            asked = [
                asking.options(
                    num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
                ).remote(str(self._workspace.root), str(mark))
                for node in nodes
            ]
            answers: list[dict[str, str]] = self._ray.get(asked, timeout=PROBE_S)
        except self._ray.exceptions.RayError as error:
            raise explained(error, self.address) from None
        finally:
            ray.cloudpickle.unregister_pickle_by_value(node_probe)
        return answers


class StageOnCluster:
    """Runs the commands of one stage as Ray tasks, in place of `Watchdog.run`."""

    def __init__(self, ray: Any, address: str, watchdog: Watchdog, stage: str, needs: StageResources) -> None:
        self._ray, self._address, self._watchdog = ray, address, watchdog
        self._stage, self._needs = stage, needs

    def run(self, command: Command) -> int:
        """Run a command on a node to its end and return its exit code; run it again elsewhere if the node is lost.

        Args:
            command: a command of this machine's interpreter, for which the node takes its own. Only the variables of
                the run are carried over. The time limit is that of one attempt.

        Raises:
            InterruptedError: if the run is being stopped.
            ServiceUnavailable: if the cluster fails.
        """
        errors = self._ray.exceptions
        while True:
            log = _scratch(command.cwd) / f"{uuid.uuid4().hex}.log"
            try:
                return self._followed(self._submitted(command, log), log, command.on_line)
            except (errors.WorkerCrashedError, errors.NodeDiedError):
                self._watchdog.sleep(LOST_S)
                check_stands(self._address)
                command.on_line(f"the node of {self._stage} was lost; the stage is started again")
            except errors.OutOfMemoryError:
                # The line has DVC's form, from which the end of a stage is read.
                command.on_line("ERROR: failed to run: the node's memory did not suffice, exited with 137")
                return 1
            except errors.RayError as error:
                raise explained(error, self._address) from None
            finally:
                log.unlink(missing_ok=True)

    def _submitted(self, command: Command, log: Path) -> Any:
        task = self._ray.remote(run_on_node).options(**self._options())
        arguments, carried = list(command.arguments[1:]), self._carried(command.env)
        return task.remote(arguments, str(command.cwd), carried, self._gpus(), str(log), command.timeout_s)

    def _gpus(self) -> int:
        return 0 if self._stage in KEEPS_NO_CORE else self._needs.gpus

    def _options(self) -> dict[str, Any]:
        of_stage = {"num_cpus": 0} if self._stage in KEEPS_NO_CORE else ray_options(self._needs)
        # Ray would retry by itself, without any message.
        return {**of_stage, "max_retries": 0, "name": f"ganpress {self._stage}"}

    def _carried(self, env: Mapping[str, str]) -> dict[str, str]:
        kept = {*SWITCHED_OFF, *environment(Path("/"))}
        values = {name: value for name, value in env.items() if name in kept or name.startswith(CARRIED)}
        values = {name: value for name, value in values.items() if name not in OF_THE_RUN and name != TOKEN}
        values |= {"GANPRESS_THREADS": str(self._needs.cpus), "OMP_NUM_THREADS": str(self._needs.cpus)}
        if self._stage in KEEPS_NO_CORE:
            values |= {ENVIRONMENT: self._address, TASK: json.dumps(ray_options(self._needs))}
        return values

    def _followed(self, started: Any, log: Path, on_line: Callable[[str], None]) -> int:
        """Pass on the lines of a task until it ends; cancel it if the run is stopped."""
        lines = _Tail(log)
        while True:
            try:
                done, _ = self._ray.wait([started], timeout=POLL_S)
                self._watchdog.check()
            except BaseException:
                with suppress(Exception):
                    self._ray.cancel(started, force=True)
                raise
            for line in lines.new():
                on_line(line)
            if done:
                code = int(self._ray.get(started))
                for line in lines.rest():
                    on_line(line)
                return code


class _Tail:
    """Reads the lines that another node appends to a file."""

    def __init__(self, path: Path) -> None:
        self._path, self._position, self._begun = path, 0, b""

    def new(self) -> Iterator[str]:
        try:
            with self._path.open("rb") as file:
                file.seek(self._position)
                content = file.read()
        except FileNotFoundError:  # the task has not begun
            return
        self._position += len(content)
        *whole, self._begun = (self._begun + content).split(b"\n")
        for line in whole:
            yield line.decode("utf-8", "replace")

    def rest(self, patience_s: float = 5.0) -> Iterator[str]:
        """Yield the remaining lines; a network file system may show them a little later."""
        deadline = time.monotonic() + patience_s
        while not self._path.exists() and time.monotonic() < deadline:
            time.sleep(POLL_S)
        yield from self.new()


@contextmanager
def placed(workspace: Workspace, watchdog: Watchdog, to_run: Collection[str]) -> Iterator[Placement | None]:
    """Give the block the cluster that `GANPRESS_CLUSTER` names, checked for the stages that will run; None without.

    Raises:
        ConfigError: if Ray is not installed, the address is none, or a stage asks for more than any node has.
        ServiceUnavailable: if the cluster does not answer, or a node cannot run stages.
    """
    asked = os.environ.get(ENVIRONMENT)
    if not asked or not to_run:
        yield None
        return
    with _address(asked, workspace.main) as address, connected(address) as ray:
        placement = Placement(ray, address, workspace, watchdog)
        placement.check(to_run)
        yield placement


@contextmanager
def _address(asked: str, main: Path) -> Iterator[str]:
    if asked != LOCAL:
        yield asked
        return
    with local_cluster(main) as address:
        yield address


def needs_of(resources: Mapping[str, StageResources], family: str) -> StageResources:
    """Return what a stage needs; one core if params.yaml does not say."""
    return resources.get(family, StageResources())


def ray_options(needs: StageResources) -> dict[str, Any]:
    """Return the same as Ray's options of a task, with memory in bytes."""
    memory = {} if needs.memory_gib is None else {"memory": int(needs.memory_gib * GIB)}
    return {"num_cpus": needs.cpus, "num_gpus": needs.gpus, **memory}


def _check_fits(family: str, needs: StageResources, nodes: Sequence[Mapping[str, Any]]) -> None:
    """Check that some node has all that a stage asks for; otherwise Ray would let it wait for ever."""
    wanted = {"cpus": ("CPU", needs.cpus), "gpus": ("GPU", needs.gpus)}
    if needs.memory_gib is not None:
        wanted["memory_gib"] = ("memory", int(needs.memory_gib * GIB))
    if any(all(node["Resources"].get(key, 0) >= least for key, least in wanted.values()) for node in nodes):
        return
    for name, (key, least) in wanted.items():
        most = max((node["Resources"].get(key, 0) for node in nodes), default=0)
        if most < least:
            shown_most = f"{most / GIB:.1f}" if key == "memory" else f"{most:g}"
            raise ConfigError(
                f"resources.{family}.{name} is {getattr(needs, name)}, and no node of the cluster has more than "
                f"{shown_most}; lower it, or add such a node"
            )
    raise ConfigError(
        f"resources.{family} asks for {needs.cpus} cores, {needs.gpus} GPUs and {needs.memory_gib or 0:g} GiB, and no "
        "node of the cluster has all of it; lower one of them, or add such a node"
    )


def _check_same(ours: Mapping[str, str], theirs: Mapping[str, str], root: Path) -> None:
    """Compare the answers of a node with those of this machine."""
    host = theirs["host"]
    if theirs["mark"] != ours["mark"]:
        raise ServiceUnavailable(
            f"node {host} does not see {root}; share the project's folder with all nodes under the same path"
        )
    if not theirs["code"]:
        raise ServiceUnavailable(
            f"node {host} has no ganpress for {theirs['python']}; install it there as it is installed here"
        )
    if theirs["code"] != ours["code"]:
        raise ServiceUnavailable(
            f"node {host} has another version of ganpress's code than this machine; install the same there"
        )
    for name in ("torch", "dvc"):
        if theirs[name] != ours[name]:
            raise ServiceUnavailable(
                f"node {host} has {name} {theirs[name] or 'not at all'}, this machine {ours[name]}; install the same"
            )


def _scratch(root: Path) -> Path:
    folder = root / ".ganpress" / "cluster"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
