"""Checks an imported network before it is used: it must turn inputs into images, with static shapes."""

import contextlib
import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ganpress.errors import ConfigError
from models.imported_adapter import Adapter, entries_of, find_noises, image_of
from models.imported_generator import SYMMETRIC, ImportedGenerator, Range, one_line

BATCH = 3
TOLERANCE = 1e-4
"""Tolerance relative to the largest value, because a batch may be computed in another order than a single sample."""
PICTURE_CHANNELS = (1, 3)
MOST_PICTURE_CHANNELS = 4
SIGNAL_CHANNELS = (1, 2)
"""Channels of a signal (N, C, L) that is drawn from latents; sequences of more numbers are rows of a table."""
UNIT: Range = (0.0, 1.0)
BYTES: Range = (0.0, 255.0)
WITHIN = 1e-3
"""Distance beyond a range, relative to it, within which a value still belongs to it."""
BEYOND = 8.0
"""Values above it are not in [0, 1]; without negative values they are taken for bytes."""


def several_inputs(example: Tensor) -> Tensor:
    """Inputs (5, …) that a network is looked at with: three at random, and two that are black and white all over."""
    plain = torch.ones((1, *example.shape[1:]))
    return torch.cat((_inputs(example, BATCH), -plain, plain))


def _inputs(example: Tensor, count: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand((count, *example.shape[1:]), generator=generator) * 2 - 1


@torch.no_grad()
def find_adapter(network: nn.Module, example: Tensor, adapter: Adapter) -> tuple[Adapter, list[str]]:
    """Complete what is known of how a network is spoken to by running it once.

    Args:
        network: in eval mode.
        example: an input of one sample, (1, Z) or (1, C, H, W).
        adapter: what the request says.

    Returns:
        The adapter, and sentences about what was found.

    Raises:
        ConfigError: if it does not run, or draws no images; the message names the option that helps.
    """
    x = _inputs(example, 1)
    result = _results(network, x, adapter)
    notes: list[str] = []
    if not adapter.output:
        adapter, notes = _chosen_output(result, adapter, x)
    images = _image(result, adapter)
    if x.dim() == 2 and images.dim() == 3 and images.shape[1] in SIGNAL_CHANNELS:
        adapter = replace(adapter, signal=True)
    if images.dim() == 4 and not adapter.signal and adapter.layout == "NCHW" and _is_channels_last(images):
        shape = "x".join(map(str, images.shape))
        raise ConfigError(f"the network draws {shape}, channels last; add --layout NHWC")
    return adapter, notes


def _results(network: nn.Module, x: Tensor, adapter: Adapter) -> Any:
    try:
        return adapter.results(network, x)
    except Exception as error:
        shape = "x".join(map(str, x.shape))
        raise ConfigError(
            f"the network does not run on an input of {shape}: {one_line(error)}{_advice(network, x, adapter)}"
        ) from None


def _advice(network: nn.Module, x: Tensor, adapter: Adapter) -> str:
    """The option that makes a network run, where one does."""
    if adapter.inputs:
        return ""
    if x.dim() == 4 and adapter.layout == "NCHW":
        with contextlib.suppress(Exception):
            replace(adapter, layout="NHWC").results(network, x)
            return "; it reads channels last: add --layout NHWC"
    return "; a network of several inputs, or of a list, takes --input NAME=SHAPE[:DTYPE] for each"


def _image(result: Any, adapter: Adapter) -> Tensor:
    try:
        return image_of(result, adapter.output)
    except ValueError as error:
        raise ConfigError(f"{error}; --output names which result is the image, e.g. --output 1") from None


def _chosen_output(result: Any, adapter: Adapter, x: Tensor) -> tuple[Adapter, list[str]]:
    """Choose the image among several results: the first picture, or the largest of pictures of growing size."""
    if isinstance(result, Tensor):
        return adapter, []
    found = list(_tensors(result))
    pictures = [(path, one) for path, one in found if _is_picture(one, adapter, x)]
    if len(found) < 2 or not pictures:
        return adapter, []
    path, chosen = pictures[0]
    for other, one in pictures[1:]:
        if one.numel() > chosen.numel():
            path, chosen = other, one
    shapes = ", ".join(f"{name}: {'x'.join(map(str, one.shape))}" for name, one in found)
    return replace(adapter, output=path), [f"of its results ({shapes}) the image is {path}; --output names another"]


def _tensors(result: Any, path: str = "") -> Iterator[tuple[str, Tensor]]:
    if isinstance(result, Tensor):
        yield path, result
        return
    entries = entries_of(result)
    if isinstance(entries, str) or not hasattr(entries, "__len__"):
        return
    pairs = entries.items() if isinstance(entries, dict) else enumerate(entries)
    for name, one in pairs:
        yield from _tensors(one, f"{path}.{name}" if path else str(name))


def _is_picture(one: Tensor, adapter: Adapter, x: Tensor) -> bool:
    if adapter.signal:
        return one.dim() == 3
    if one.dim() != 4 or not one.is_floating_point():
        return False
    channels = one.shape[3] if adapter.layout == "NHWC" else one.shape[1]
    return channels in PICTURE_CHANNELS or (x.dim() == 4 and channels == x.shape[1] <= MOST_PICTURE_CHANNELS)


def _is_channels_last(images: Tensor) -> bool:
    return images.shape[3] in PICTURE_CHANNELS and images.shape[1] > MOST_PICTURE_CHANNELS


def check_network(generator: ImportedGenerator, example: Tensor) -> None:
    """Check that a generator runs, draws images, treats samples alone, and can be traced.

    Args:
        generator: in eval mode.
        example: an input of one sample, (1, Z) or (1, C, H, W).

    Raises:
        ConfigError: saying what it does instead.
    """
    images = _run(generator, _inputs(example, 1))
    if images.dim() != 4 or not images.is_floating_point():
        found = f"{tuple(images.shape)} of {images.dtype}"
        raise ConfigError(
            f"the network must draw float images (N, channels, height, width); it gives {found}: rows of a table, "
            "films and volumes are out of scope"
        )
    if not bool(torch.isfinite(images).all()):
        raise ConfigError("the network draws NaN or infinite pixels for a random input; are these trained weights?")
    _check_batch(generator, example)
    _check_keeps_nothing(generator, example)
    _check_traceable(generator, example)
    _check_size(example, images)


def check_shape(example: Tensor) -> None:
    """Refuse inputs that are no latents, pictures or signals.

    Raises:
        ConfigError: if they are not.
    """
    if example.dim() not in (2, 3, 4) or len(example) != 1 or 0 in example.shape:
        shape = "x".join(map(str, example.shape))
        raise ConfigError(
            f"--example-input is one sample, 1xCHANNELSxHEIGHTxWIDTH, 1xLATENT or 1xCHANNELSxLENGTH; found {shape}: "
            "films and volumes are out of scope"
        )


def _check_keeps_nothing(generator: ImportedGenerator, example: Tensor) -> None:
    """Refuse networks that keep results of a call with their graph of gradients, because they cannot be copied then."""
    with torch.enable_grad(), contextlib.suppress(Exception):  # other checks say why it does not run
        generator(_inputs(example, 1).requires_grad_(True))
    for name, module in generator.network.named_modules():
        for attribute, value in vars(module).items():
            if not attribute.startswith("_") and any(one.grad_fn is not None for _, one in _tensors(value)):
                raise ConfigError(
                    f"the network keeps results of its last call in the attribute '{attribute}'"
                    f"{f' of its layer {name!r}' if name else ''}; keep nothing, or `.detach()` what is kept"
                )


@torch.no_grad()
def _run(generator: nn.Module, x: Tensor) -> Tensor:
    try:
        images: Tensor = generator(x)
    except Exception as error:
        shape = "x".join(map(str, x.shape))
        raise ConfigError(f"the network does not run on an input of {shape}: {one_line(error)}") from None
    return images


def _check_batch(generator: ImportedGenerator, example: Tensor) -> None:
    """Each image must depend on its own input alone, and on nothing random."""
    x = _inputs(example, BATCH)
    singly = [_run(generator, sample[None]) for sample in x]
    if len({images.shape for images in singly}) > 1:
        raise ConfigError(f"the size of its images depends on the input's values: {[tuple(i.shape) for i in singly]}")
    together, alone = _run(generator, x), torch.cat(singly)
    if together.shape != alone.shape:
        raise ConfigError(f"from {BATCH} inputs the network draws {tuple(together.shape)}, not {tuple(alone.shape)}")
    if float((together - alone).abs().max()) <= TOLERANCE * float(alone.abs().max()):
        return
    if _agrees_in_float64(generator, x):  # only rounding errors grow: a network that is very sensitive to its input
        return
    drawn = find_noises(generator.adapter, generator.network, x[:1])
    if drawn and generator.adapter.noise == "refused":
        raise ConfigError(
            f"the network draws random numbers in its forward ({len(drawn)} times): add --noise fixed to draw them "
            "once and for all, or --noise input to read them as an input"
        )
    raise ConfigError(
        "the network draws other images from a batch than from its inputs one by one, in evaluation mode: it draws "
        "random numbers, normalises by the batch, or decides by values of the whole batch; make it deterministic for "
        "each input"
    )


def _agrees_in_float64(generator: ImportedGenerator, x: Tensor) -> bool:
    with contextlib.suppress(Exception), torch.no_grad():  # code that names float32 fails, and is not excused
        exact, inputs = copy.deepcopy(generator).double(), x.double()
        alone = torch.cat([exact(sample[None]) for sample in inputs])
        return float((exact(inputs) - alone).abs().max()) <= TOLERANCE * float(alone.abs().max())
    return False


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


def _check_size(example: Tensor, images: Tensor) -> None:
    """A picture keeps its size, or grows or shrinks by a whole factor, the same along both axes."""
    if example.dim() != 4 or example.shape[2] == 1:
        return
    read, drawn = tuple(example.shape[2:]), tuple(images.shape[2:])
    grown = all(after % before == 0 for before, after in zip(read, drawn, strict=True))
    shrunk = all(before % after == 0 for before, after in zip(read, drawn, strict=True))
    if not (grown or shrunk) or drawn[0] * read[1] != drawn[1] * read[0]:
        sizes = ["x".join(map(str, size)) for size in (read, drawn)]
        raise ConfigError(
            f"of {sizes[0]} pixels the network draws {sizes[1]}, which is no whole factor; take an --example-input "
            "whose sides are multiples of what it divides them by, e.g. of 32"
        )


@torch.no_grad()
def several_images(generator: nn.Module, example: Tensor) -> Tensor:
    """Images (5, C, H, W) of `several_inputs`, one input at a time."""
    return torch.cat([generator(one[None]) for one in several_inputs(example)])


def found_range(images: Tensor) -> tuple[Range, str | None]:
    """Black and white of the images that a generator draws from several inputs, where they show.

    Args:
        images: `several_images` of a generator whose ranges are [-1, 1], so that they are the network's.

    Returns:
        The range, and a sentence about what was found; None where the values are around [-1, 1].
    """
    low, high = float(images.min()), float(images.max())
    if low >= -WITHIN and WITHIN < high <= 1 + WITHIN:
        return UNIT, f"its images lie in [{low:.3g}, {high:.3g}]: black is taken for 0, white for 1"
    if low >= -WITHIN * BYTES[1] and BEYOND < high <= BYTES[1] * (1 + WITHIN):
        return BYTES, f"its images lie in [{low:.3g}, {high:.3g}]: black is taken for 0, white for 255"
    if max(-low, high) > BEYOND:
        return SYMMETRIC, f"its images lie in [{low:.3g}, {high:.3g}], far from [-1, 1]: are they pictures?"
    return SYMMETRIC, None


def doubts(generator: nn.Module, images: Tensor) -> list[str]:
    """Sentences about a network whose images, `several_images`, do not look like those of a trained one."""
    found = []
    norms = [one for one in generator.modules() if isinstance(one, nn.modules.batchnorm._BatchNorm)]
    if any(
        one.num_batches_tracked is not None and int(one.num_batches_tracked) == 0 and _is_fresh(one) for one in norms
    ):
        found.append("its batch normalisations have never seen a batch: it is not trained")
    if len(images) > 1 and float(images.std(0).max()) <= WITHIN * float(images.abs().max()):
        found.append("its images hardly depend on its input: is it trained?")
    return found


def _is_fresh(norm: Any) -> bool:
    mean, variance = norm.running_mean, norm.running_var
    return mean is not None and bool((mean == 0).all() and (variance == 1).all())


def check_layers(network: nn.Module, name: str) -> None:
    """Refuse a network whose layers cannot be copied or read.

    Raises:
        ConfigError: if a layer has no weights before its first call, or is compiled by TorchScript.
    """
    for layer, module in network.named_modules():
        if layer and isinstance(module, torch.jit.ScriptModule):
            raise ConfigError(
                f"layer '{layer}' of {name} is compiled by TorchScript, so that its layers cannot be changed: let the "
                "function return it without torch.jit.script"
            )
        has_no_shape = (nn.parameter.UninitializedParameter, nn.parameter.UninitializedBuffer)
        own = (*module.parameters(recurse=False), *module.buffers(recurse=False))
        if any(isinstance(one, has_no_shape) for one in own):
            raise ConfigError(
                f"layer '{layer}' of {name} has no weights before its first call ({type(module).__name__}): let the "
                "function call the network once before it returns it"
            )
