"""Checks before any work that a generator accepts its inputs and draws images."""

from collections.abc import Callable

import torch
from torch import Tensor

from ganpress.basics.device import run_where_it_is
from ganpress.errors import ConfigError


@torch.no_grad()
def check_inputs(
    generate: Callable[[Tensor], Tensor], inputs: Tensor, role: str = "inputs", name: str | None = None
) -> Tensor:
    """Run a generator on the first of its inputs.

    Args:
        generate: inputs (n, …) -> images (n, C, H, W).
        inputs: inputs (N, …) on which it will be run.
        role: name of the inputs in messages, e.g. `calibration inputs`.
        name: name of the generator in messages; None uses its class.

    Returns:
        The image (1, C, H, W).

    Raises:
        ConfigError: if there are no inputs, or they do not fit the generator.
    """
    if inputs.dim() < 2 or inputs.shape[0] == 0:
        raise ConfigError(
            f"{role} must be (N, …) with N >= 1, found {tuple(inputs.shape)}; add data, or give the split more of it"
        )
    try:
        return run_where_it_is(generate, inputs[:1])
    except (RuntimeError, ValueError, IndexError) as error:
        found, reason = tuple(inputs.shape), " ".join(str(error).split())[:200]
        raise ConfigError(
            f"{role} {found} do not fit {name or type(generate).__name__}: {reason}; "
            "prepare the data that it was trained on, or train it on this data"
        ) from None


def check_generator(
    generate: Callable[[Tensor], Tensor], inputs: Tensor, role: str = "inputs", name: str | None = None
) -> Tensor:
    """Check inputs as `check_inputs`, and that the images are finite.

    Raises:
        ConfigError: as `check_inputs`, or if the generator draws NaN or infinity.
    """
    image = check_inputs(generate, inputs, role, name)
    if not bool(torch.isfinite(image).all()):
        raise ConfigError(
            f"{name or type(generate).__name__} draws NaN or infinite pixels: it has diverged; train it again"
        )
    return image
