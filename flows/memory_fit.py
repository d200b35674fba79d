"""Checks before the first stage that the largest step of each training fits into the device's memory."""

import os
from collections.abc import Iterator

from ganpress.basics.ray_cluster import ENVIRONMENT
from ganpress.config.params import Params
from ganpress.errors import ConfigError

LARGE_BATCH = 2**20
"""Number of values in a batch of pictures above which trainings are counted, which imports torch and takes seconds."""
SPARE = 2**30
"""Bytes for Python, torch and the overhead of the allocator."""


def check_memory(params: Params, families: set[str], label_classes: int | None = None) -> Iterator[str]:
    """Yield a sentence for each training that needs more memory than the device has, with the setting to lower.

    Args:
        params: parameters of the run.
        families: stages that will run, without items.
        label_classes: number of label classes of semantic data.
    """
    if os.environ.get(ENVIRONMENT):  # the nodes' memory is not known here; `resources` reserves it
        return
    from tasks.shared.stage import BATCHES

    if not any(_batch_numbers(params, BATCHES[stage]) > LARGE_BATCH for stage in families & BATCHES.keys()):
        return
    from tasks.shared.training_costs import training_costs

    room = _room()
    try:
        largest: dict[str, int] = {}
        for cost in training_costs(params, label_classes):
            stage = cost.name.partition("@")[0]
            largest[stage] = max(largest.get(stage, 0), cost.step.peak_bytes)
    except (
        ConfigError
    ):  # The cost of an imported network, or of an unknown number of classes, shows in its first step only.
        return
    for stage in sorted(families & largest.keys()):
        if largest[stage] + SPARE > room:
            yield (
                f"a step of {stage} needs {largest[stage] / 2**30:,.1f} GiB of memory, and the device has "
                f"{room / 2**30:,.1f}: lower {BATCHES[stage]}"
            )


def _batch_numbers(params: Params, key: str) -> int:
    """Return the number of values in a batch of a training's pictures."""
    section: object = params
    for name in key.split("."):
        section = getattr(section, name, None)
    batch = section if isinstance(section, int) else 0
    return batch * params.prepare.image_size * params.prepare.target_width * params.prepare.channels


def _room() -> int:
    """Return the total memory of this run's device in bytes, which other processes may be using in part."""
    if os.environ.get("GANPRESS_DEVICE", "cpu").startswith("cuda"):
        import torch

        return int(torch.cuda.mem_get_info(os.environ["GANPRESS_DEVICE"])[1])
    import psutil

    return int(psutil.virtual_memory().total)
