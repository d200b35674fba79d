"""The frame of every stage: it reads parameters, writes an artifacts folder, has one MLflow run, and reports errors in
one line.
"""

import errno
import hashlib
import logging
import os
import re
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ganpress.basics.telemetry import switch_off
from ganpress.config.base import Section, parse, parse_section, read_yaml
from ganpress.config.bounds import ITEM_RULE, Seed, is_item_name
from ganpress.config.yaml_text import quoted
from ganpress.errors import ConfigError, DataError, GanpressError
from ganpress.executed_code.digests import StageCode
from ganpress.executed_code.guard import CodeGuard
from ganpress.executed_code.versions import record_versions
from ganpress.tracking import StageRun, stage_run

if TYPE_CHECKING:
    import torch

SectionT = TypeVar("SectionT", bound=Section)
MAX_THREADS = 4096


@dataclass(frozen=True)
class Stage:
    """One stage, or one item of a foreach stage."""

    name: str
    item: str | None
    root: Path
    """The project's root: holds params.yaml, data/ and artifacts/."""
    params: dict[str, Any]
    scratch: Path | None = None
    """Temporary folder in which a rank above 0 writes what rank 0 writes below artifacts/."""

    @property
    def seed(self) -> int:
        return int(self.params["seed"])

    @property
    def out(self) -> Path:
        """This stage's folder below artifacts/."""
        if self.scratch is not None:
            return self.scratch
        return self.artifact(self.name if self.item is None else f"{self.name}/{self.item}")

    @property
    def label(self) -> str:
        """The DVC name: `candidate@d8` or `teacher`."""
        return self.name if self.item is None else f"{self.name}@{self.item}"

    @property
    def checkpoints(self) -> Path:
        """Folder of training checkpoints, which is outside the outs because DVC deletes these before a run."""
        return Path(os.environ.get("GANPRESS_CHECKPOINTS") or self.root / ".ganpress" / "checkpoints")

    @cached_property
    def device(self) -> "torch.device":
        """Device on which this stage trains and measures networks; TF32 is off until a training enables it.

        Raises:
            ConfigError: if `GANPRESS_DEVICE` names a device that does not exist.
        """
        from ganpress.basics.device import allow_tf32, chosen_device

        allow_tf32(False)
        return chosen_device()

    @cached_property
    def code(self) -> str:
        """Digest of the code that the stage executes; without a dvc.yaml, of all code that its module can execute."""
        code = StageCode(self.root)
        path = code.path_of(self.name, self.item)
        text = code.of_module(f"tasks.{self.name}").text if path is None else code.text(path)
        return hashlib.sha256(text.encode()).hexdigest()

    def artifact(self, reference: str) -> Path:
        """Path of anything below artifacts/, e.g. ``artifact("student/d2-mse") / "generator.safetensors"``."""
        return self.root / "artifacts" / reference

    def section(self, section: type[SectionT], name: str | None = None) -> SectionT:
        """This stage's section of params.yaml, parsed; `name` reads another stage's."""
        return parse_section(self.params, name or self.name, section, "params.yaml")

    def chosen(self, items: dict[str, SectionT]) -> SectionT:
        """The item of a foreach stage that this process runs."""
        if self.item not in items:
            raise ConfigError(f"{self.name}.items has no '{self.item}'; items: {', '.join(items) or 'none'}")
        return items[self.item]


Work = Callable[[Stage, StageRun], None]


def work_alone(stage: Stage, work: Work) -> int:
    """Do a stage's work in this process, tracked, with errors caught and versions recorded; return the exit code."""
    guard = CodeGuard(stage.root, stage.name, stage.item)
    check_inputs(stage)
    stage.out.mkdir(parents=True, exist_ok=True)
    with stage_run(stage.name, stage.item, stage.root, stage.params) as run:
        work(stage, run)
        guard.check()
    record_versions(stage.root, stage.name, stage.item, run.made())
    return 0


def say(line: str, _error: BaseException) -> int:
    """Print an error that the user can fix; return the exit code."""
    print(line, file=sys.stderr)
    return 2


def stage_main(
    name: str,
    work: Work,
    do: Callable[[Stage, Work], int] = work_alone,
    refuse: Callable[[str, BaseException], int] = say,
) -> int:
    """Run one stage from the command line (`python -m tasks.<name> [item]`) and return its exit code.

    Without an item on the command line, DVC_STAGE names it, which DVC sets.

    Args:
        name: name of the stage.
        work: work of the stage.
        do: runs the work and returns the exit code.
        refuse: prints one line about an error that the user can fix, and returns the exit code.

    Returns:
        0 for success; 2 for an error that the user can fix, explained in one line on stderr.
    """
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("ganpress").setLevel(logging.INFO)  # Libraries log too many details at this level.
    try:
        switch_off()  # `dvc repro` has not set it.
        stage = _read_stage(name, sys.argv[1:])
        _set_threads()
        return do(stage, work)
    except GanpressError as error:
        return refuse(f"{name}: {error}", error)
    except OSError as error:
        if error.errno is None:
            raise
        return refuse(f"{name}: {_explain(error)}", error)
    except RuntimeError as error:
        from ganpress.basics.device import out_of_memory

        if not out_of_memory(error):
            raise
        return refuse(f"{name}: {_say_memory(name)}", error)


BATCHES = {
    "judge": "judge.batch_size",
    "subnet": "subnet.fine_tuning.batch_size",
    **{name: f"{name}.training.batch_size" for name in ("candidate", "control", "student", "supernet")},
}
"""Setting of each training stage on which its memory depends."""


def _say_memory(name: str) -> str:
    setting = BATCHES.get(name)
    if setting is None:
        return "the device does not have enough memory; free some, or set GANPRESS_DEVICE=cpu, and run again"
    return f"the device does not have enough memory; lower {setting} and run again: the last checkpoint is kept"


def _read_stage(name: str, arguments: list[str]) -> Stage:
    if len(arguments) > 1:
        raise ConfigError(f"takes at most one item, found: {quoted(' '.join(arguments))[1:-1]}")
    item = arguments[0] if arguments else _item_of_dvc(name)
    root = Path.cwd()
    if item is not None and not is_item_name(item):
        raise ConfigError(f"there is no item {quoted(item)}; an item name is {ITEM_RULE}")
    params = read_yaml(root / "params.yaml")
    parse({"seed": params.get("seed")}, _Seeded, "params.yaml")
    _check_item_names(params)
    return Stage(name, item, root, params)


BEFORE_PREPARED = ("validate", "prepare")
"""Stages that do not read prepared data."""


def check_inputs(stage: Stage) -> None:
    """Refuse prepared data that was made with parameters other than those in params.yaml."""
    if stage.name in BEFORE_PREPARED or "prepare" not in stage.params:
        return
    from ganpress.config.data_section import PrepareConfig
    from ganpress.data.prepared.prepared_check import check_prepared

    check_prepared(stage.artifact("prepare"), stage.section(PrepareConfig, "prepare"))


class _Seeded(Section):
    """Read the parameters of every stage."""

    seed: Seed


def _check_item_names(params: Mapping[str, Any]) -> None:
    """Refuse a wrong item name of any stage, because `dvc repro` turns them into folders before any other check."""
    for stage, section in params.items():
        items = section.get("items") if isinstance(section, dict) else None
        for name in items if isinstance(items, dict) else ():
            if not is_item_name(name):
                raise ConfigError(f"params.yaml: {stage}.items has {quoted(name)}; an item name is {ITEM_RULE}")


def _item_of_dvc(name: str) -> str | None:
    """The item that DVC runs this stage for, from DVC_STAGE (`candidate@d8`).

    An item's name comes from params.yaml, and DVC hands commands to a shell, so dvc.yaml's commands hold no name.
    """
    stage, _, item = os.environ.get("DVC_STAGE", "").rpartition(":")[2].partition("@")
    return item if stage == name and item else None


def _set_threads() -> None:
    """Use GANPRESS_THREADS cores, so that parallel stages do not compete for them."""
    threads = os.environ.get("GANPRESS_THREADS")
    if threads is None:
        return
    if not re.fullmatch(r"[1-9][0-9]{0,3}", threads) or int(threads) > MAX_THREADS:
        raise ConfigError(
            f"GANPRESS_THREADS must be a whole number above 0, found {quoted(threads)} (at most {MAX_THREADS})"
        )
    import torch

    torch.set_num_threads(int(threads))


def _explain(error: OSError) -> str:
    where = error.filename or "the disk"
    free = shutil.disk_usage(Path.cwd()).free // 2**20
    space = f"free disk space ({free} MiB are left) or raise the limit, and run again"
    advice = {
        errno.ENOSPC: space,
        errno.EDQUOT: space,
        errno.EFBIG: space,
        errno.EACCES: "check the permissions and run again",
    }
    return f"{where}: {error.strerror}; {advice.get(error.errno or 0, 'fix that and run again')}"


def require(path: Path, made_by: str) -> Path:
    """Return `path`; if it is missing, the error names the stage that makes it.

    Raises:
        DataError: if the file is absent.
    """
    if not path.exists():
        raise DataError(f"{path} is missing; run `dvc repro {made_by}` or `ganpress run` first")
    return path
