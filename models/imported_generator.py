"""A user's own generator, rebuilt by the user's own function: `my_module:build_generator`.

This is the one adapter through which ganpress runs code that is not its own. The function is imported by name from the
working directory or from an installed package, each time a model file that names it is loaded; `Blueprint.build` lets
through only functions whose sources are pinned, see `models.factory_pins`. The file itself holds tensors and plain
values only.
"""

import copy
import json
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from models.elastic import Kept, Spec
from models.family import Argument
from models.imported_adapter import Adapter, fixed_noises
from models.plain_network import as_float32_, fold_, put_plain_
from models.thinning import ChannelGroup, Slot, kept_indices, thin_
from models.user_modules import import_users, look_here, split_factory, users_turn

Range = tuple[float, float]
SYMMETRIC: Range = (-1.0, 1.0)
"""Values of images inside ganpress."""
PREFIX = "network."
"""Prefix of the user's parameters in an `ImportedGenerator`."""


class ImportedGenerator(nn.Module):
    """A foreign network behind the conventions of this project: one tensor in, images in [-1, 1] out.

    Images that it reads are mapped from [-1, 1] to its own range, and its images
    back; values outside its range stay outside.

    Args:
        network: the user's.
        input_range: values that the network expects for black and white; [-1, 1] also stands for latents.
        output_range: values that the network gives for black and white.
        adapter: how it is spoken to; the default reads one tensor and takes the first result for the image.
        latent: numbers of a latent; None where it reads pictures.
    """

    def __init__(
        self,
        network: nn.Module,
        input_range: Range = SYMMETRIC,
        output_range: Range = SYMMETRIC,
        adapter: Adapter | None = None,
        latent: int | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.input_range = input_range
        self.output_range = output_range
        self.adapter = adapter or Adapter()
        self.latent = latent
        for place, numbers in enumerate(fixed_noises(self.adapter) if self.adapter.noise == "fixed" else ()):
            self.register_buffer(f"noise{place}", numbers)

    def forward(self, x: Float[Tensor, "n ..."]) -> Tensor:
        fixed = [
            self.get_buffer(f"noise{place}")
            for place in range(len(self.adapter.noises) * (self.adapter.noise == "fixed"))
        ]
        images = self.adapter.call(self.network, x, lambda one: _map_range(one, SYMMETRIC, self.input_range), fixed)
        return _map_range(images, self.output_range, SYMMETRIC)

    def __deepcopy__(self, memo: dict[int, Any]) -> "ImportedGenerator":
        """A copy; tensors that a forward pass has left in attributes come without their history, which has no copy."""
        for module in self.modules():
            for value in module.__dict__.values():
                if isinstance(value, Tensor) and not value.is_leaf:
                    memo[id(value)] = value.detach().clone()
        made = memo[id(self)] = type(self).__new__(type(self))
        made.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return made


def _map_range(x: Shaped[Tensor, "*shape"], source: Range, target: Range) -> Shaped[Tensor, "*shape"]:
    if source == target:
        return x
    factor = (target[1] - target[0]) / (source[1] - source[0])
    return (x - source[0]) * factor + target[0]


def load_factory(factory: str) -> Callable[[], nn.Module]:
    """Import the function `module:function`, from the working directory or an installed package.

    Raises:
        ValueError: if the text is malformed, or there is no such module or function, or importing it fails.
    """
    module_name, function_name = split_factory(factory)
    here = look_here()
    try:
        with users_turn(module_name):
            module = import_users(module_name)
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
        with torch.device("cpu"), torch.random.fork_rng(devices=[]), users_turn(split_factory(factory)[0]):
            network = function()
    except Exception as error:
        raise ValueError(f"{factory}() failed: {one_line(error)}") from error
    if not isinstance(network, nn.Module):
        raise ValueError(f"{factory}() must return a torch.nn.Module, found {type(network).__name__}")
    return unwrapped(network, f"{factory}()")


def unwrapped(network: nn.Module, name: str) -> nn.Module:
    """Return the module itself of one that torch.compile or DataParallel has wrapped.

    Raises:
        ValueError: if it is a program of TorchScript, whose layers cannot be replaced.
    """
    if isinstance(network, torch.jit.ScriptModule):
        raise ValueError(
            f"{name} is a program of TorchScript, whose layers cannot be replaced; return the module that it was made "
            "of, and give the saved program with --weights: its weights are read"
        )
    original = network.module if isinstance(network, nn.DataParallel) else getattr(network, "_orig_mod", None)
    network = original if isinstance(original, nn.Module) else network  # `_orig_mod` is that of torch.compile
    for module in network.modules():
        if isinstance(module, nn.TransformerEncoderLayer):
            module.activation_relu_or_gelu = 0  # else torch takes a path that reads weights and runs no layer
    return network


def build_plain(factory: str, plain: Mapping[str, Any] | None) -> nn.Module:
    """A user's network with its layers as an import has found them, see `models.plain_network`.

    Args:
        factory: `module:function`.
        plain: `layers`, the plan of the plain ones; None leaves the network as it is built.

    Raises:
        ValueError: as `build_network`.
    """
    network = build_network(factory)
    if plain is not None:
        with torch.no_grad():
            as_float32_(network)
            fold_(network)
            put_plain_(network, plain["layers"])
    return network


@lru_cache(maxsize=8)
def _template(factory: str, plain: str) -> nn.Module:
    """The user's network without weights, on the meta device; never changed, only copied; `plain` is JSON."""
    with torch.device("cpu"):
        return build_plain(factory, json.loads(plain)).to("meta")


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
    example: list[int],
    input_range: list[float],
    output_range: list[float],
    adapter: dict[str, Argument] | None = None,
    plain: dict[str, Argument] | None = None,
) -> ImportedGenerator:
    """Build a user's generator at any width; on the meta device from a copy, without calling the user's function.

    Args:
        factory: `module:function` that builds the network at full width.
        spec: percent of the units of each channel group that stay, e.g. `50` or `100_50_25`.
        groups: the channel groups, as `groups_to_arguments` writes them.
        example: shape of an input of one sample.
        input_range: values of black and white that the network reads.
        output_range: values of black and white that the network gives.
        adapter: a `models.imported_adapter.Adapter` as plain values; None in files of before.
        plain: what became of its layers, see `build_plain`; None in files of before.

    Raises:
        ValueError: if the function fails, or the spec does not fit the groups.
    """
    on_meta = torch.get_default_device().type == "meta"
    network = _copy_structure(_template(factory, json.dumps(plain))) if on_meta else build_plain(factory, plain)
    parsed = groups_from_arguments(groups)
    thin_(network, parsed, parse_percents(spec, len(parsed)))
    spoken = None if adapter is None else Adapter.from_arguments(adapter)
    latent = example[1] if len(example) == 2 else None
    return ImportedGenerator(network, _as_range(input_range), _as_range(output_range), spoken, latent)


def imported_kept(arguments: Mapping[str, Argument], narrow: Spec, wide: Spec) -> Kept:
    """Return the indices of the wide generator's tensors that the narrow one keeps, if they are not the first ones."""
    groups = groups_from_arguments(arguments["groups"])
    template = _template(str(arguments["factory"]), json.dumps(arguments.get("plain")))
    kept = kept_indices(template, groups, narrow.numbers, wide.numbers)
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
    """Return an error's type and message without line breaks."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
