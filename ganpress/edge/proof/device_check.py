"""Stores inputs and torch's images beside a file whose runtime does not run here, for a comparison on the device."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ganpress.basics.device import run_where_it_is
from ganpress.basics.whole_files import whole_files
from ganpress.metrics.scoring import Generate

STORED_INPUTS = 4


def check_path(path: Path) -> Path:
    """Return the path of the check: `generator.mlpackage.zip` -> `generator.check.npz`, in the same folder."""
    return path.with_name(f"{path.name.partition('.')[0]}.check.npz")


@torch.no_grad()
def store_check(model: Generate, path: Path, inputs: Tensor, enough_snr_db: float) -> None:
    """Write the first few inputs with torch's images of them.

    Args:
        model: the exported generator; for a quantized one its integer simulation.
        path: the edge file.
        inputs: (N, …).
        enough_snr_db: smallest SNR to torch's images that the file must reach on the device, in decibels.
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
