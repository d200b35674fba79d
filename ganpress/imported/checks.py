"""What a foreign network must do before anything is built on it: one tensor in, images out, for static shapes."""

import torch
from torch import Tensor, nn

from ganpress.errors import ConfigError
from models.imported_generator import one_line

BATCH = 3
TOLERANCE = 1e-4
"""Of the largest value: a batch may be computed in another order than a single sample."""


def check_network(generator: nn.Module, example: Tensor) -> None:
    """Check that a generator runs, draws images, treats samples alone, and can be traced.

    Args:
        generator: in eval mode.
        example: an input of one sample, (1, Z) or (1, C, H, W).

    Raises:
        ConfigError: saying what it does instead.
    """
    if example.dim() not in (2, 4) or len(example) != 1 or 0 in example.shape:
        shape = "x".join(map(str, example.shape))
        raise ConfigError(f"--example-input is one sample, 1xCHANNELSxHEIGHTxWIDTH or 1xLATENT; found {shape}")
    images = _run(generator, _inputs(example, 1))
    if images.dim() != 4 or not images.is_floating_point():
        found = f"{tuple(images.shape)} of {images.dtype}"
        raise ConfigError(f"the network must draw float images (N, channels, height, width); it gives {found}")
    if not bool(torch.isfinite(images).all()):
        raise ConfigError("the network draws NaN or infinite pixels for a random input; are these trained weights?")
    _check_batch(generator, example)
    _check_traceable(generator, example)


def _inputs(example: Tensor, count: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand((count, *example.shape[1:]), generator=generator) * 2 - 1


@torch.no_grad()
def _run(generator: nn.Module, x: Tensor) -> Tensor:
    try:
        images: Tensor = generator(x)
    except Exception as error:
        shape = "x".join(map(str, x.shape))
        raise ConfigError(f"the network does not run on an input of {shape}: {one_line(error)}") from None
    return images


def _check_batch(generator: nn.Module, example: Tensor) -> None:
    """Each image must depend on its own input alone, and on nothing random."""
    x = _inputs(example, BATCH)
    singly = [_run(generator, sample[None]) for sample in x]
    if len({images.shape for images in singly}) > 1:
        raise ConfigError(f"the size of its images depends on the input's values: {[tuple(i.shape) for i in singly]}")
    together, alone = _run(generator, x), torch.cat(singly)
    if together.shape != alone.shape:
        raise ConfigError(f"from {BATCH} inputs the network draws {tuple(together.shape)}, not {tuple(alone.shape)}")
    if float((together - alone).abs().max()) > TOLERANCE * float(alone.abs().max()):
        raise ConfigError(
            "the network draws other images from a batch than from its inputs one by one, in evaluation mode: it draws "
            "random numbers or normalises by the batch; make it deterministic for each input"
        )


def _check_traceable(generator: nn.Module, example: Tensor) -> None:
    """Control flow and shapes that depend on values can neither be traced nor exported: run it without any values."""
    from torch._subclasses.fake_tensor import FakeTensorMode  # seconds of imports

    try:
        with FakeTensorMode(allow_non_fake_inputs=True) as mode, torch.no_grad():
            generator(mode.from_tensor(example))
    except Exception as error:
        raise ConfigError(
            f"the network cannot be traced: it needs the values of a tensor to go on ({one_line(error)}); "
            "let its control flow and sizes depend on shapes alone"
        ) from None
