"""Section about what stages need of a machine: it places them on a cluster, and makes nothing out of date."""

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
    """What one stage, or each item of a stage with variants, takes of a node; of `search` each score."""

    cpus: int = Field(default=1, ge=1, le=1024)
    """Cores, and threads that it uses."""
    gpus: int = Field(default=0, ge=0, le=64)
    """NVIDIA GPUs of one node; a training uses several together, as with `--gpus`. 0 hides all of them."""
    memory_gib: float | None = Field(default=None, gt=0, le=1_000_000)
    """Memory that is kept for it; null does not count it."""


Resources = Annotated[dict[Placed, StageResources], Field(max_length=len(PLACED))]
"""By stage, without items: `candidate` is for each candidate."""
