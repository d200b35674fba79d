"""Whether the largest step of each training fits into the device's memory, asked before the first stage."""

import os
from collections.abc import Iterator

from ganpress.config.params import Params
from ganpress.errors import ConfigError

LARGE_BATCH = 2**20
"""Numbers in the pictures of a batch above which trainings are counted, for which torch is imported; below, a step of
the families takes some hundred MiB."""
SPARE = 2**30
"""Bytes for Python, torch and what an allocator holds beyond tensors."""


def check_memory(params: Params, families: set[str], label_classes: int | None = None) -> Iterator[str]:
    """Say which trainings need more memory than the device has, and the setting to lower.

    Args:
        params: what the chain is run with.
        families: stages that will run, without items.
        label_classes: of semantic data.
    """
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
    except ConfigError:  # an imported network, or unknown classes: its first step will tell
        return
    for stage in sorted(families & largest.keys()):
        if largest[stage] + SPARE > room:
            yield (
                f"a step of {stage} needs {largest[stage] / 2**30:,.1f} GiB of memory, and the device has "
                f"{room / 2**30:,.1f}: lower {BATCHES[stage]}"
            )


def _batch_numbers(params: Params, key: str) -> int:
    """Numbers in a batch of a training's pictures."""
    section: object = params
    for name in key.split("."):
        section = getattr(section, name, None)
    batch = section if isinstance(section, int) else 0
    return batch * params.prepare.image_size * params.prepare.target_width * params.prepare.channels


def _room() -> int:
    """Bytes that the device of this run has, of which others may be using some for now."""
    if os.environ.get("GANPRESS_DEVICE", "cpu").startswith("cuda"):
        import torch

        return int(torch.cuda.mem_get_info(os.environ["GANPRESS_DEVICE"])[1])
    import psutil

    return int(psutil.virtual_memory().total)
