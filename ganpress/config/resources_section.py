"""The section about what stages need of a machine. It places them on a cluster and makes no result outdated."""

from typing import Annotated, Literal, get_args

from pydantic import Field

from ganpress.config.base import Section

Placed = Literal[
    "validate", "prepare", "judge", "candidate", "teacher", "student", "control", "supernet", "search", "subnet",
    "compress", "export", "sweep", "evaluate", "report", "gates",
]  # fmt: skip
"""Stages that a cluster runs."""
PLACED: tuple[str, ...] = get_args(Placed)


class StageResources(Section):
    """Resources of a node for a stage, or for each item of a stage with variants; for `search`, for each score."""

    cpus: int = Field(default=1, ge=1, le=1024)
    """Number of cores, which is also the number of threads."""
    gpus: int = Field(default=0, ge=0, le=64)
    """Number of NVIDIA GPUs of one node; a training uses them together, as with `--gpus`. 0 hides all GPUs."""
    memory_gib: float | None = Field(default=None, gt=0, le=1_000_000)
    """GiB of memory that are reserved; null reserves none."""


Resources = Annotated[dict[Placed, StageResources], Field(max_length=len(PLACED))]
"""Needs by stage, without items: `candidate` applies to each candidate."""
