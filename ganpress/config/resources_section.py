"""Section about what stages need of a machine: it places them on a cluster, and makes nothing out of date."""

from typing import Annotated

from pydantic import AfterValidator, Field

from ganpress.config.base import Section

PLACED = (
    "validate", "prepare", "judge", "candidate", "teacher", "student", "control", "supernet", "search", "subnet",
    "compress", "export", "sweep", "evaluate", "report", "gates",
)  # fmt: skip
"""Stages that a cluster runs."""


class StageResources(Section):
    """What one stage, or each item of a stage with variants, takes of a node; of `search` each score."""

    cpus: int = Field(default=1, ge=1, le=1024)
    """Cores, and threads that it uses."""
    gpus: int = Field(default=0, ge=0, le=64)
    """NVIDIA GPUs of one node; a training uses several together, as with `--gpus`. 0 hides all of them."""
    memory_gib: float | None = Field(default=None, gt=0, le=1_000_000)
    """Memory that is kept for it; null does not count it."""


def _known(name: str) -> str:
    if name not in PLACED:
        raise ValueError(f"unknown stage; stages: {', '.join(PLACED)}")
    return name


Resources = dict[Annotated[str, AfterValidator(_known)], StageResources]
"""By stage, without items: `candidate` is for each candidate."""
