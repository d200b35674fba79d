"""Random generators derived from one seed and a purpose, so that no two purposes share a stream."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def derived_seed(seed: int, *purpose: str | int) -> int:
    """Return a 63-bit seed that depends on `seed` and on every word of `purpose`, stable across machines."""
    text = "/".join([str(seed), *map(str, purpose)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def torch_generator(seed: int, *purpose: str | int) -> torch.Generator:
    """Return a CPU `torch.Generator` for one purpose, e.g. ``torch_generator(seed, "teacher", "latents")``."""
    return torch.Generator().manual_seed(derived_seed(seed, *purpose))


def numpy_generator(seed: int, *purpose: str | int) -> np.random.Generator:
    """Return a `numpy.random.Generator` for one purpose."""
    return np.random.default_rng(derived_seed(seed, *purpose))


@contextmanager
def seeded_initialisation(seed: int, *purpose: str | int) -> Iterator[None]:
    """Seed torch's global generator inside the block, and restore its state afterwards.

    Module constructors draw their initial weights from the global generator; only this function seeds it for them.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(seed, *purpose))
        yield
