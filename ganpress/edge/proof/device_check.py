"""Inputs and torch's images beside a file whose runtime does not run here: whoever has the device can compare."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ganpress.basics.device import run_where_it_is
from ganpress.basics.whole_files import whole_files
from ganpress.metrics.scoring import Generate

STORED_INPUTS = 4


def check_path(path: Path) -> Path:
    """Where it lies: `generator.mlpackage.zip` -> `generator.check.npz`, in the same folder."""
    return path.with_name(f"{path.name.partition('.')[0]}.check.npz")


@torch.no_grad()
def store_check(model: Generate, path: Path, inputs: Tensor, enough_snr_db: float) -> None:
    """Write the first few inputs with the images that torch draws of them.

    Args:
        model: what was exported; for a quantized generator its integer simulation.
        path: the edge file.
        inputs: (N, …).
        enough_snr_db: what the file's images must reach on the device, in decibels to torch's.
    """
    few = inputs[:STORED_INPUTS]
    images = torch.cat([run_where_it_is(model, few[place : place + 1]).cpu() for place in range(len(few))])
    place = check_path(path)
    with whole_files(place) as fresh:
        np.savez_compressed(
            fresh,
            inputs=few.cpu().numpy().astype(np.float32),
            images=images.numpy().astype(np.float32),
            enough_snr_db=np.float64(enough_snr_db),
        )
