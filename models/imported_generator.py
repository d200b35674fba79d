"""A user's own generator, rebuilt by the user's own function: `my_module:build_generator`.

This is the one door through which ganpress runs code that is not its own. The function is imported by name from the
working directory or from an installed package, each time a model file that names it is loaded; `Blueprint.build` lets
through only functions whose sources are pinned, see `models.factory_pins`. The file itself holds tensors and plain
values only.
"""

import copy
import importlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from models.elastic import Kept, Spec
from models.factory_pins import look_here, split_factory
from models.family import Argument
from models.thinning import ChannelGroup, Slot, kept_indices, thin_

Range = tuple[float, float]
SYMMETRIC: Range = (-1.0, 1.0)
"""Values of images inside ganpress."""
PREFIX = "network."
"""Where the user's parameters are in an `ImportedGenerator`."""


class ImportedGenerator(nn.Module):
    """A foreign network behind the conventions of this project: one tensor in, images in [-1, 1] out.

    Inputs (N, …) -> images (N, C, H, W). Images that it reads are mapped from [-1, 1] to its own range, and its images
    back; values outside its range stay outside. Where the network returns several things, the first is the image.

    Args:
        network: takes one tensor.
        input_range: values that the network expects for black and white; [-1, 1] also stands for latents.
        output_range: values that the network gives for black and white.
    """

    def __init__(self, network: nn.Module, input_range: Range = SYMMETRIC, output_range: Range = SYMMETRIC) -> None:
        super().__init__()
        self.network = network
        self.input_range = input_range
        self.output_range = output_range

    def forward(self, x: Tensor) -> Tensor:
        images = first_tensor(self.network(_map_range(x, SYMMETRIC, self.input_range)))
        return _map_range(images, self.output_range, SYMMETRIC)


def _map_range(x: Tensor, source: Range, target: Range) -> Tensor:
    if source == target:
        return x
    factor = (target[1] - target[0]) / (source[1] - source[0])
    return (x - source[0]) * factor + target[0]


def first_tensor(result: Any) -> Tensor:
    """Take the image out of what a network returns: a tensor, or the first entry of a mapping or sequence.

    Raises:
        ValueError: if there is no tensor.
    """
    while not isinstance(result, Tensor):
        entries = list(result.values()) if isinstance(result, Mapping) else result
        if not isinstance(entries, Sequence) or isinstance(entries, str) or not entries:
            raise ValueError(f"a generator must return a tensor, or a mapping or tuple that starts with one; "
                             f"found {type(result).__name__}")  # fmt: skip
        result = entries[0]
    return result


def load_factory(factory: str) -> Callable[[], nn.Module]:
    """Import the function `module:function`, from the working directory or an installed package.

    Raises:
        ValueError: if the text is malformed, or there is no such module or function, or importing it fails.
    """
    module_name, function_name = split_factory(factory)
    here = look_here()
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise ValueError(f"module '{module_name}' cannot be imported from {here}: {one_line(error)}") from error
    function = getattr(module, function_name, None)
    if not callable(function):
        raise ValueError(
            f"module '{module_name}' ({getattr(module, '__file__', '?')}) has no function '{function_name}'"
        )
    return function  # type: ignore[no-any-return]


def build_network(factory: str) -> nn.Module:
    """Call a user's function, on the CPU and without touching the global random state.

    Raises:
        ValueError: if it cannot be imported, fails, or returns anything but a module.
    """
    function = load_factory(factory)
    try:
        with torch.device("cpu"), torch.random.fork_rng(devices=[]):
            network = function()
    except Exception as error:
        raise ValueError(f"{factory}() failed: {one_line(error)}") from error
    if not isinstance(network, nn.Module):
        raise ValueError(f"{factory}() must return a torch.nn.Module, found {type(network).__name__}")
    return network


@lru_cache(maxsize=8)
def _template(factory: str) -> nn.Module:
    """The user's network without weights, on the meta device; never changed, only copied."""
    return build_network(factory).to("meta")


def _copy_structure(network: nn.Module) -> nn.Module:
    """A copy that shares the tensors: a supernet makes one for each new spec, and a deep copy costs twice the time."""
    tensors = (*network.parameters(), *network.buffers())
    return _copy_module(network, {id(tensor): tensor for tensor in tensors})


def _copy_module(module: nn.Module, memo: dict[int, Any]) -> nn.Module:
    if id(module) in memo:
        known: nn.Module = memo[id(module)]
        return known
    made = memo[id(module)] = type(module).__new__(type(module))
    for name, value in module.__dict__.items():
        if name in ("_parameters", "_buffers"):
            made.__dict__[name] = dict(value)
        elif name == "_modules":
            made.__dict__[name] = {
                child: None if part is None else _copy_module(part, memo) for child, part in value.items()
            }
        elif value is None or isinstance(value, int | float | str):
            made.__dict__[name] = value
        elif type(value) in (dict, set, OrderedDict) and not value:  # the many kinds of hooks that are not there
            made.__dict__[name] = type(value)()
        else:
            made.__dict__[name] = copy.deepcopy(value, memo)
    return made


def imported_generator(
    factory: str,
    spec: str,
    groups: dict[str, Argument],
    example: list[int],  # noqa: ARG001 (kept in the blueprint for those who need an input)
    input_range: list[float],
    output_range: list[float],
) -> ImportedGenerator:
    """Build a user's generator at any width; on the meta device from a copy, without calling the user's function.

    Args:
        factory: `module:function` that builds the network at full width.
        spec: percent of the units of each channel group that stay, e.g. `50` or `100_50_25`.
        groups: the channel groups, as `groups_to_arguments` writes them.
        example: shape of an input of one sample.
        input_range: values of black and white that the network reads.
        output_range: values of black and white that the network gives.

    Raises:
        ValueError: if the function fails, or the spec does not fit the groups.
    """
    on_meta = torch.get_default_device().type == "meta"
    network = _copy_structure(_template(factory)) if on_meta else build_network(factory)
    parsed = groups_from_arguments(groups)
    thin_(network, parsed, parse_percents(spec, len(parsed)))
    return ImportedGenerator(network, _as_range(input_range), _as_range(output_range))


def imported_kept(arguments: Mapping[str, Argument], narrow: Spec, wide: Spec) -> Kept:
    """Which indices of the wide generator's tensors the narrow one keeps, where these are not the first ones."""
    groups = groups_from_arguments(arguments["groups"])
    kept = kept_indices(_template(str(arguments["factory"])), groups, narrow.numbers, wide.numbers)
    return {PREFIX + name: indices for name, indices in kept.items()}


def parse_percents(spec: str, places: int) -> tuple[int, ...]:
    """Read a spec's text; a network without channel groups has the only spec `100`.

    Raises:
        ValueError: if it is not whole numbers joined by `_`, one for all groups or one for each.
    """
    if places == 0:
        if spec != "100":
            raise ValueError(
                f"this network has no channel group that can be thinned: its only spec is '100', not '{spec}'"
            )
        return ()
    return Spec.parse(spec, places).numbers


def groups_to_arguments(groups: Sequence[ChannelGroup]) -> dict[str, Argument]:
    """Channel groups as plain values: name -> units and `[layer, side, offset, block]` of each slot."""
    return {
        group.name: {
            "units": group.units,
            "slots": [[slot.layer, slot.side, slot.offset, slot.block] for slot in group.slots],
        }
        for group in groups
    }


def groups_from_arguments(arguments: Any) -> tuple[ChannelGroup, ...]:
    """The inverse of `groups_to_arguments`."""
    return tuple(
        ChannelGroup(name, content["units"], tuple(Slot(*slot) for slot in content["slots"]))
        for name, content in arguments.items()
    )


def _as_range(values: Sequence[float]) -> Range:
    low, high = values
    return float(low), float(high)


def one_line(error: Exception) -> str:
    """What an error says, its kind first, without line breaks."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
