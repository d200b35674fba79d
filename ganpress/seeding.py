"""Random generators derived from one seed and a purpose, so that no draw shares a stream with another."""

import hashlib

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
