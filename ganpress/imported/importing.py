"""Bringing in a generator that was made elsewhere: checked, its channel groups found, written whole or not at all."""

import contextlib
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ganpress.basics.whole_files import whole_folder
from ganpress.config.yaml_text import quoted
from ganpress.errors import ConfigError
from ganpress.files.checkpoint import file_digest, load_model, load_weights_, save_model
from ganpress.files.import_pins import CARD, FOLDER, allow_factory
from ganpress.imported.checks import check_network
from ganpress.imported.import_card import MODEL, GroupSummary, ImportCard, source_digest
from ganpress.imported.trials import try_groups
from ganpress.imported.weight_keys import import_generator as read_known_generator
from ganpress.imported.weight_keys import read_state
from ganpress.performance.generator_cost import generator_cost
from ganpress.structure.channel_groups import FoundGroups, find_groups
from models.builders import Blueprint
from models.factory_pins import sources_of
from models.families import find_family
from models.family import Family
from models.imported_generator import SYMMETRIC, ImportedGenerator, Range, build_network, groups_to_arguments

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True)
class ImportRequest:
    """What to import."""

    source: str
    """`module:function`, or the family of a known architecture, perhaps with a spec, together with `keys`."""
    weights: Path | None
    """A state_dict; None takes the weights that the user's function gives its network."""
    example: tuple[int, ...] | None = None
    """Shape of an input of one sample; needed for a user's network."""
    name: str | None = None
    """Folder below imported/; None takes the module's or the family's name."""
    keys: str | None = None
    """Mapping from third-party tensor names, for a known architecture, see `ganpress.imported.weight_keys`."""
    input_range: Range = SYMMETRIC
    output_range: Range = SYMMETRIC


@dataclass(frozen=True)
class _Made:
    """An imported generator before it is written."""

    generator: nn.Module
    blueprint: Blueprint
    source: str
    example: Tensor
    found: FoundGroups


def import_generator(root: Path, request: ImportRequest) -> ImportCard:
    """Import a generator into `imported/<name>` below `root`; an older one of this name is replaced.

    A user's module is imported from `root`, where the stages will look for it.

    Raises:
        ConfigError: if the request is incomplete, or the user's network cannot be imported, built, run or traced.
        CheckpointError: if the weights cannot be read or do not fit.
    """
    name = _checked_name(request)
    with contextlib.chdir(root):
        try:
            made = _known_architecture(request) if request.keys is not None else _users_network(request)
        except ValueError as error:
            raise ConfigError(f"{request.source}: {error}") from None
        return _write(root / FOLDER, name, request, made)


def _checked_name(request: ImportRequest) -> str:
    name = request.source.partition(":")[0].rpartition(".")[2] if request.name is None else request.name
    if not NAME.fullmatch(name):
        found = f"found {quoted(name)} (at most 64, a letter or digit first)"
        raise ConfigError(f"the name of an imported generator is letters, digits, '_' and '-', {found}")
    return name


def _known_architecture(request: ImportRequest) -> _Made:
    """A generator of one of this project's families, from third-party weights."""
    if request.weights is None or request.keys is None:
        raise ConfigError("--keys renames the tensors of a file: give it with --weights FILE")
    if (request.input_range, request.output_range) != (SYMMETRIC, SYMMETRIC):
        raise ConfigError("the networks that --keys knows read and draw -1,1; leave the ranges out")
    _, wanted, _ = find_family(request.source)
    _, _, spec = request.source.partition(":")
    generator, inferred = read_known_generator(request.weights, request.keys)
    _, family, _ = find_family(inferred.family)
    if family.arguments is not wanted.arguments or (spec and spec != inferred.spec):
        raise ConfigError(f"{request.weights} holds {inferred.name}, not {request.source}: import it by that name")
    example = torch.zeros(request.example or _known_shape(family, inferred.blueprint))
    return _Made(generator, inferred.blueprint, inferred.name, example, FoundGroups((), ()))


def _known_shape(family: Family, blueprint: Blueprint) -> tuple[int, ...]:
    canvas = family.default_canvas
    channels = blueprint.arguments.get("in_channels", canvas.source_shape[0])
    return (1, int(str(channels)), *canvas.source_shape[1:])


def _users_network(request: ImportRequest) -> _Made:
    if request.example is None:
        raise ConfigError(f"{request.source}: a network of your own needs --example-input, e.g. 1x3x256x256")
    _check_range("--input-range", request.input_range)
    _check_range("--output-range", request.output_range)
    network = build_network(request.source).eval()
    allow_factory(request.source)
    if request.weights is not None:
        _load_weights_(network, request.weights)
    generator = ImportedGenerator(network, request.input_range, request.output_range).eval()
    example = torch.zeros(request.example)
    check_network(generator, example)
    found = try_groups(network, example, find_groups(network, example))
    blueprint = Blueprint(
        "imported",
        {
            "factory": request.source,
            "spec": "100",
            "groups": groups_to_arguments(found.groups),
            "example": list(request.example),
            "input_range": list(request.input_range),
            "output_range": list(request.output_range),
        },
    )
    return _Made(generator, blueprint, request.source, example, found)


def _check_range(option: str, values: Range) -> None:
    if not values[0] < values[1]:
        raise ConfigError(f"{option} must be the values of black and white, ascending, e.g. 0,1; found {values}")


def _load_weights_(network: nn.Module, path: Path) -> None:
    state = read_state(path)
    # Files from before PyTorch 0.4.1 do not count batches, and nothing but a moving average without momentum reads it.
    counts = {name: tensor for name, tensor in network.state_dict().items() if name.endswith("num_batches_tracked")}
    load_weights_(network, counts | state, str(path))


def _write(folder: Path, name: str, request: ImportRequest, made: _Made) -> ImportCard:
    """Write both files beside the place and move them there once they are proven to load."""
    with whole_folder(folder / name) as partial:
        save_model(partial / MODEL, made.generator, made.blueprint)
        with torch.random.fork_rng(devices=[]):
            torch.rand(1)  # another random state than the function's first call saw, as in another process
            loaded, _ = load_model(partial / MODEL)
        with torch.no_grad():
            images = made.generator(made.example)
            if not torch.equal(loaded(made.example), images):
                raise ConfigError(
                    f"{request.source}: rebuilt from its state_dict, the network draws other images: it keeps values "
                    "outside of parameters and buffers; register them with register_buffer"
                )
        card = _card(name, request, made, images)
        (partial / CARD).write_text(card.to_json(), encoding="utf-8")
    return card


def _card(name: str, request: ImportRequest, made: _Made, images: Tensor) -> ImportCard:
    own = made.blueprint.builder == "imported"
    groups = [
        GroupSummary(group.name, group.units, list(dict.fromkeys(slot.layer for slot in group.slots)))
        for group in made.found.groups
    ]
    return ImportCard(
        name=name,
        source=made.source,
        source_sha256=source_digest(request.source) if own else None,
        weights=None if request.weights is None else request.weights.name,
        weights_sha256=None if request.weights is None else file_digest(request.weights, "sha256"),
        keys=request.keys,
        input_shape=list(made.example.shape),
        output_shape=list(images.shape),
        input_range=request.input_range,
        output_range=request.output_range,
        cost=generator_cost(made.generator, made.example),
        groups=groups,
        not_thinned=list(made.found.refused),
        modules=sources_of(request.source) if own else {},
    )
