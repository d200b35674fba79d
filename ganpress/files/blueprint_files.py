"""Blueprints that were read from files: checked field by field, and built without memory first.

A blueprint is an architecture in a few numbers, so a foreign one may ask for any amount of memory. A network on
torch's meta device, where tensors have shapes but no content, costs nothing; it is built with memory only if its
tensors are exactly those of the file.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_module_registration_hook

from ganpress.errors import CheckpointError, shown
from ganpress.files.import_pins import admit_factory
from ganpress.files.plain_values import arguments_of
from models.builders import Blueprint, find_builder
from models.elastic import NoInitialisation

DEEPEST_BLUEPRINT = 4
"""Largest nesting of networks; a quantized subnet of an elastic network has three."""
DEEPEST_ARGUMENT = 8
LONGEST_TEXT = 4_096
"""Largest number of characters of a spec or another text in a blueprint."""
LONGEST_NUMBER = re.compile(r"[0-9]{10}")
"""Largest number in a spec, whose numbers are channels and sizes."""
LARGEST_NUMBER = 2**16
"""Largest number of channels, pixels, layers, or units in channel groups."""
LARGEST_FACT = 2**63
"""Largest value of a number that does not affect the architecture, such as a seed or a count of inputs."""
FACTS = frozenset({"calibration"})
MOST_ARGUMENTS = 200_000
"""Largest number of values in one blueprint."""
MODULES_PER_TENSOR, MODULES_BESIDE = 8, 256
"""Largest number of modules of a network: a factor for each tensor in the file, and a constant."""

Shapes = Mapping[str, tuple[torch.dtype, tuple[int, ...]]]
"""Number type and shape of each tensor by its name."""


class _TooManyModules(Exception):
    """A network whose tensors are not in the file."""


def read_blueprint(builder: object, arguments: object, origin: str) -> Blueprint:
    """Check builder and arguments against the builder's signature.

    An imported generator's function must be pinned; nothing is imported before that is known.

    Args:
        builder: name of the builder in the file.
        arguments: arguments of the builder in the file.
        origin: name of the file in messages.

    Raises:
        CheckpointError: if they do not fit; the message names the first error.
    """
    try:
        for one in _nested(builder, arguments):
            _check(one)
    except ValueError as error:
        raise CheckpointError(f"{origin} cannot be rebuilt: {error}") from None
    assert isinstance(builder, str)
    assert isinstance(arguments, dict)
    blueprint = Blueprint(builder, arguments)
    for factory in factories_of(blueprint):
        admit_factory(factory, origin)
    return blueprint


def _nested(builder: object, arguments: object) -> Iterator[Blueprint]:
    """A blueprint and those inside it."""
    for depth in range(DEEPEST_BLUEPRINT + 1):
        if depth == DEEPEST_BLUEPRINT:
            raise ValueError(f"it has more than {DEEPEST_BLUEPRINT} networks inside each other")
        if not isinstance(builder, str):
            raise ValueError(f"the name of a builder must be text, found {shown(builder)}")
        find_builder(builder)
        if not isinstance(arguments, dict):
            raise ValueError(f"the arguments of '{builder}' must be names with values")
        yield Blueprint(builder, arguments)
        base = arguments.get("base")
        if builder not in ("elastic", "quantized"):
            return
        if not isinstance(base, dict) or set(base) != {"builder", "arguments"}:
            raise ValueError(f"the base of '{builder}' must name a builder and its arguments")
        builder, arguments = base["builder"], base["arguments"]


def factories_of(blueprint: Blueprint) -> list[str]:
    """Return the users' functions that building it would call."""
    found = _nested(blueprint.builder, blueprint.arguments)
    return [str(one.arguments["factory"]) for one in found if one.builder == "imported"]


def _check(blueprint: Blueprint) -> None:
    arguments: dict[str, Any] = {name: one for name, one in blueprint.arguments.items() if name != "base"}
    count = 0
    for name, value in arguments.items():
        largest = LARGEST_FACT if name in FACTS else LARGEST_NUMBER
        for _ in _plain(value, largest, f"argument '{shown(name)}'"):
            count += 1
    if count > MOST_ARGUMENTS:
        raise ValueError(f"its arguments have {count:,} values, {MOST_ARGUMENTS:,} are allowed")
    arguments_of(find_builder(blueprint.builder), blueprint.arguments)
    for name in ("weight_bits", "activation_bits"):
        if (bits := arguments.get(name)) is not None and not 2 <= bits <= 8:
            raise ValueError(f"argument '{name}' must be 2 to 8, found {bits}")


def _plain(value: object, largest: int, where: str, depth: int = 0) -> Iterator[None]:
    """Yield once for each value inside a value that is plain and within bounds."""
    yield None
    if depth > DEEPEST_ARGUMENT:
        raise ValueError(f"{where} is nested deeper than {DEEPEST_ARGUMENT}")
    if isinstance(value, str):
        if len(value) > LONGEST_TEXT or (LONGEST_NUMBER.search(value) and largest != LARGEST_FACT):
            raise ValueError(f"{where} is too long, or has a number of more than nine digits")
    elif type(value) is int or type(value) is float:
        if not -largest <= value <= largest:
            raise ValueError(f"{where} must be a number up to {largest:,}")
    elif isinstance(value, list | dict):
        inside = value if isinstance(value, list) else [*value.keys(), *value.values()]
        for one in inside:
            yield from _plain(one, largest, where, depth + 1)
    elif value is not None and type(value) is not bool:
        raise ValueError(f"{where} must be plain values, found {type(value).__name__}")


def build_checked(blueprint: Blueprint, stored: Shapes, origin: str) -> nn.Module:
    """Build the network of a blueprint whose tensors are exactly the `stored` ones.

    Raises:
        CheckpointError: if it cannot be built, or a tensor is missing, unexpected, or of another shape or number type;
            the message names the first.
    """
    if not factories_of(blueprint):  # A user's function may not support the meta device.
        with torch.device("meta"), NoInitialisation(), _ModuleLimit(len(stored)):
            model = _built(blueprint, origin)
        check_shapes(shapes_of(model), stored, origin)
    return _built(blueprint, origin)


def _built(blueprint: Blueprint, origin: str) -> nn.Module:
    try:
        return blueprint.build()
    except ValueError as error:
        raise CheckpointError(f"{origin} cannot be rebuilt: {shown(error)}") from None
    except _TooManyModules as error:
        raise CheckpointError(f"{origin} cannot be rebuilt: {error}") from None
    except Exception as error:  # A network with impossible numbers may fail anywhere.
        reason = f"its arguments do not describe a valid network ({type(error).__name__})"
        raise CheckpointError(f"{origin} cannot be rebuilt: {reason}") from None


class _ModuleLimit:
    """Stops a construction that creates more modules than the file can have tensors for."""

    def __init__(self, tensors: int) -> None:
        self._most = MODULES_PER_TENSOR * tensors + MODULES_BESIDE
        self._count = 0

    def __enter__(self) -> None:
        hook: Callable[..., None] = self._note
        self._handle = register_module_module_registration_hook(hook)

    def __exit__(self, *_: object) -> None:
        self._handle.remove()

    def _note(self, *_: object) -> None:
        self._count += 1
        if self._count > self._most:
            raise _TooManyModules(f"it describes more than {self._most:,} layers, but does not have their tensors")


def shapes_of(model: nn.Module) -> Shapes:
    """Return the number types and shapes of a network's state_dict."""
    return {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in model.state_dict().items()}


def check_shapes(needed: Shapes, found: Shapes, origin: str) -> None:
    """Compare the tensors of a file with those of a network.

    Raises:
        CheckpointError: if a tensor is missing, of another shape or number type, or unexpected; the message names the
            first.
    """
    for name, (dtype, shape) in needed.items():
        if name not in found:
            raise CheckpointError(f"{origin} lacks '{name}' {shape}; it belongs to another architecture")
        if found[name][1] != shape:
            raise CheckpointError(f"{origin}: '{name}' is {found[name][1]}, this architecture needs {shape}")
        if found[name][0] != dtype:
            kinds = (str(one).removeprefix("torch.") for one in (found[name][0], dtype))
            raise CheckpointError("{}: '{}' is {}, this architecture needs {}".format(origin, name, *kinds))
    for name in found:
        if name not in needed:
            raise CheckpointError(f"{origin} has '{shown(name)}', which this architecture does not have")
