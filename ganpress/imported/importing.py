"""Imports a generator that was made elsewhere: checks it, finds its channel groups, and writes it completely or not at
all.
"""

import contextlib
import copy
import hashlib
import re
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from ganpress.basics.whole_files import whole_folder
from ganpress.config.yaml_text import quoted
from ganpress.errors import ConfigError
from ganpress.files.checkpoint import file_digest, load_model, save_model
from ganpress.files.import_pins import CARD, FOLDER, allow_factory
from ganpress.imported.checks import (
    check_network,
    check_shape,
    doubts,
    find_adapter,
    found_range,
    several_images,
)
from ganpress.imported.import_card import MODEL, GroupSummary, ImportCard, source_digest
from ganpress.imported.program_files import is_program, read_program
from ganpress.imported.trials import try_groups
from ganpress.imported.users_weights import load_users_weights_
from ganpress.imported.weight_files import read_weights_file
from ganpress.imported.weight_keys import import_generator as read_known_generator
from ganpress.performance.generator_cost import generator_cost
from ganpress.structure.channel_groups import FoundGroups, find_groups
from ganpress.structure.channel_importance import put_in_order_, trial_inputs
from ganpress.structure.constant_layers import put_constant_layers_
from models.builders import Blueprint
from models.factory_pins import sources_of
from models.families import find_family
from models.family import Family
from models.imported_adapter import (
    Adapter,
    InputPart,
    Layout,
    Noise,
    find_noises,
    find_views,
    fixed_noises,
    has_per_sample,
)
from models.imported_generator import SYMMETRIC, ImportedGenerator, Range, build_network, groups_to_arguments, unwrapped
from models.plain_network import as_float32_, fold_
from models.user_modules import is_path

PROGRAMS = frozenset({".pt", ".pth", ".ckpt", ".bin", ".safetensors"})
SHOWN_LAYERS = 3
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True)
class ImportRequest:
    """Settings of an import."""

    source: str
    """`module:function` or `FILE.py:function`; with `keys` the family of a known architecture, perhaps with a spec."""
    weights: Path | None
    """Path for `weight_files`; None uses the weights of the network that the user's function returns."""
    example: tuple[int, ...] | None = None
    """Shape of an input with one sample; needed for a user's network."""
    name: str | None = None
    """Folder below imported/; None uses the module's or the family's name."""
    keys: str | None = None
    """Mapping from third-party tensor names, for a known architecture, see `ganpress.imported.weight_keys`."""
    input_range: Range | None = None
    """Values of black and white in the network's input; None uses [-1, 1], or the range of its images."""
    output_range: Range | None = None
    """Values of black and white in its output; None finds them from its images."""
    inputs: tuple[InputPart, ...] = ()
    """Inputs of a network that does not read one tensor; `example` is then left out."""
    output: str = ""
    """Name of the result that is the image; if empty, it is found automatically."""
    layout: Layout = "NCHW"
    noise: Noise = "refused"
    """How random numbers that the network draws itself are handled."""
    weights_key: str | None = None
    """Key of the weights in the file; None finds them automatically."""
    trusted: bool = False
    """Whether the code of a pickled module in the weights file may be run."""


@dataclass(frozen=True)
class Brought:
    """A generator that an import has analysed, before it is written."""

    generator: nn.Module
    """The generator in eval mode, with images in [-1, 1]."""
    blueprint: Blueprint
    source: str
    example: Tensor
    """An input of one sample."""
    found: FoundGroups
    ranges: tuple[Range, Range] = (SYMMETRIC, SYMMETRIC)
    """Shapes of its input and output."""
    notes: tuple[str, ...] = ()
    """Findings and changes, as sentences."""


def import_generator(root: Path, request: ImportRequest) -> ImportCard:
    """Import a generator into `imported/<name>` below `root`; an existing one of this name is replaced.

    A user's module is imported from `root`, where the stages will import it.

    Raises:
        ConfigError: if the request is incomplete, or the user's network cannot be imported, built, run or traced.
        CheckpointError: if the weights cannot be read or do not fit.
    """
    name = _checked_name(request)
    with contextlib.chdir(root):
        try:
            made = _known_architecture(request) if request.keys is not None else in_order(_of_project(request))
        except ValueError as error:
            raise ConfigError(f"{request.source}: {error}") from None
        return _write(root / FOLDER, name, request, made)


def _checked_name(request: ImportRequest) -> str:
    module = request.source.rpartition(":")[0]
    own = Path(module).stem if is_path(module) else request.source.partition(":")[0].rpartition(".")[2]
    name = own if request.name is None else request.name
    if not NAME.fullmatch(name):
        found = f"found {quoted(name)} (at most 64, a letter or digit first)"
        raise ConfigError(f"the name of an imported generator is letters, digits, '_' and '-', {found}")
    return name


def _known_architecture(request: ImportRequest) -> Brought:
    """Return a generator of one of this project's families, from third-party weights."""
    if request.weights is None or request.keys is None:
        raise ConfigError("--keys renames the tensors of a file: give it with --weights FILE")
    if {request.input_range, request.output_range} - {SYMMETRIC, None}:
        raise ConfigError("the networks of --keys read and draw images in -1,1; leave the ranges out")
    _, wanted, _ = find_family(request.source)
    _, _, spec = request.source.partition(":")
    generator, inferred = read_known_generator(request.weights, request.keys)
    _, family, _ = find_family(inferred.family)
    if family.arguments is not wanted.arguments or (spec and spec != inferred.spec):
        raise ConfigError(f"{request.weights} holds {inferred.name}, not {request.source}: import it by that name")
    example = torch.zeros(request.example or _known_shape(family, inferred.blueprint))
    return Brought(generator, inferred.blueprint, inferred.name, example, FoundGroups((), ()))


def _known_shape(family: Family, blueprint: Blueprint) -> tuple[int, ...]:
    canvas = family.default_canvas
    channels = blueprint.arguments.get("in_channels", canvas.source_shape[0])
    return (1, int(str(channels)), *canvas.source_shape[1:])


def bring_in(request: ImportRequest, network: nn.Module | None = None, groups: bool = True) -> Brought:
    """Analyse a user's generator like an import, without writing it.

    Args:
        request: with or without a name.
        network: the generator where it is built already; one that is to be written to a model file is not given.
        groups: whether to find the channel groups, which takes most of the time and serves thinning alone.

    Raises:
        ConfigError: if the request is incomplete, or the network cannot be imported, built, run or traced.
        CheckpointError: if the weights cannot be read or do not fit.
    """
    try:
        return _users_network(request, network, groups)
    except ValueError as error:
        raise ConfigError(f"{request.source}: {error}") from None


def _of_project(request: ImportRequest) -> Brought:
    if is_program(request.source):
        raise ConfigError(
            f"{request.source} is a finished program, which `ganpress compress` and `ganpress.Generator.of` take as it "
            "is. A project rebuilds its networks from code: name the function that builds this one, my_module.py:build"
        )
    return _users_network(request)


@torch.no_grad()
def _users_network(request: ImportRequest, given: nn.Module | None = None, thinned: bool = True) -> Brought:
    if given is None and is_program(request.source):
        given, shape = read_program(Path(request.source))
        request = request if request.example or request.inputs or shape is None else replace(request, example=shape)
    elif given is None and Path(request.source).suffix in PROGRAMS:
        raise ConfigError(
            f"{request.source} is a file of weights, which has no layers to rebuild: name the "
            f"function that builds the network, e.g. my_module.py:build, with --weights {Path(request.source).name}"
        )
    example, adapter = example_and_adapter(request)
    for option, values in (("--input-range", request.input_range), ("--output-range", request.output_range)):
        _check_range(option, values)
    if given is None:
        network = build_network(request.source).eval()
        allow_factory(request.source)
    else:
        network = copy.deepcopy(unwrapped(given, request.source)).cpu().eval()
    notes = _load_weights_(network, request)
    notes += _made_plain_(network)
    adapter, found = find_adapter(network, example, adapter)
    notes += found
    adapter = replace(adapter, flat_noise=example.dim() == 2)
    if adapter.noise != "refused":
        adapter = replace(adapter, noises=find_noises(adapter, network, example))
        if adapter.noise == "input":
            example = torch.zeros(1, *adapter.packed_shape(() if adapter.inputs else tuple(example.shape[1:])))
    adapter = replace(adapter, normal=example.dim() == 2)
    with contextlib.suppress(Exception):  # a network that does not run is refused below, with the reason
        adapter = replace(adapter, per_sample=has_per_sample(adapter, network, example))
    notes += _how_classes_come(adapter)
    unmapped = ImportedGenerator(network, adapter=adapter).eval()
    check_network(unmapped, example)
    images = several_images(unmapped, example)
    input_range, output_range, sentences = _ranges(request, unmapped, example, images)
    notes += sentences
    run = partial(_run, adapter, fixed_noises(adapter))
    plan = put_constant_layers_(network, lambda one: run(one, example))
    latent = example.shape[1] if example.dim() == 2 else None
    generator = ImportedGenerator(network, input_range, output_range, adapter, latent).eval()
    notes += [*_named_layers("became plain layers", list(plan)), *doubts(generator, images)]
    groups = FoundGroups((), ())
    if thinned:
        groups, adapter = _groups(network, example, adapter)
        generator.adapter = adapter
    blueprint = Blueprint(
        "imported",
        {
            "factory": request.source,
            "spec": "100",
            "groups": groups_to_arguments(groups.groups),
            "example": list(example.shape),
            "input_range": list(input_range),
            "output_range": list(output_range),
            "adapter": adapter.to_arguments(),
            "plain": {"layers": plan},
        },
    )
    return Brought(generator, blueprint, request.source, example, groups, (input_range, output_range), tuple(notes))


@torch.no_grad()
def in_order(made: Brought) -> Brought:
    """Return the same generator with the channels of each group in order of importance, because narrow versions keep
    the first ones.
    """
    generator = made.generator
    assert isinstance(generator, ImportedGenerator)

    def run(network: nn.Module, x: Tensor) -> Tensor:
        whole = copy.copy(generator)
        whole._modules = generator._modules | {"network": network}
        images: Tensor = whole(x)
        return images

    ordered = put_in_order_(generator.network, trial_inputs(made.example), made.found.groups, run=run)
    if not ordered:
        return made
    words = f"the channels of {len(ordered)} of {len(made.found.groups)} groups were put in order of importance"
    return replace(made, notes=(*made.notes, f"{words}: narrow versions keep the first ones"))


def _run(adapter: Adapter, fixed: list[Tensor], network: nn.Module, x: Tensor) -> Tensor:
    return adapter.call(network, x, fixed=fixed)


def _groups(network: nn.Module, example: Tensor, adapter: Adapter) -> tuple[FoundGroups, Adapter]:
    """Channel groups that can be thinned; if some cannot, with sizes in the code fitted where that helps."""
    fixed = fixed_noises(adapter)
    found = find_groups(network, example, True, partial(_run, adapter, fixed))
    groups = try_groups(network, example, found, run=partial(_run, adapter, fixed))
    if len(groups.groups) == len(found.groups):
        return groups, adapter
    fitting = replace(adapter, views=find_views(adapter, network, example, fixed))
    more = try_groups(network, example, found, run=partial(_run, fitting, fixed))
    return (more, fitting) if len(more.groups) > len(groups.groups) else (groups, adapter)


def _load_weights_(network: nn.Module, request: ImportRequest) -> list[str]:
    if request.weights is None:
        return ["no weights were given: those of the network that the function returns are used"]
    content = read_weights_file(request.weights, request.trusted)
    return load_users_weights_(network, content, str(request.weights), request.weights_key)


def example_and_adapter(request: ImportRequest) -> tuple[Tensor, Adapter]:
    """Return an input of one sample, and the adapter that the request describes.

    Raises:
        ConfigError: if the request gives no inputs, contradictory ones, or a shape that no generator reads.
    """
    adapter = Adapter(request.inputs, (), request.noise, request.output, request.layout)
    if request.inputs:
        if request.example is not None:
            raise ConfigError("--input describes the network's inputs: leave out --example-input")
        return torch.zeros(1, *adapter.packed_shape()), adapter
    if request.example is None:
        raise ConfigError(f"{request.source}: a network of your own needs --example-input, e.g. 1x3x256x256 or 1x128")
    example = torch.zeros(request.example)
    check_shape(example)
    if example.dim() == 3:
        return example[:, :, None], replace(adapter, signal=True)
    if example.dim() == 4 and example.shape[2:] == (1, 1):
        return example[:, :, 0, 0], replace(adapter, pixel=True)
    return example, adapter


def _how_classes_come(adapter: Adapter) -> list[str]:
    notes, place = [], 0
    for part in adapter.inputs:
        if part.dtype == "int64":
            rule = f"the normal distribution's quantile (2 k + 1) / {2 * part.classes}"
            rule = rule if adapter.normal else f"(2 k + 1) / {part.classes} - 1"
            notes.append(f"class k of '{part.name}' is given as {rule}, at place {place} of the input")
        place += part.size
    return notes


def _made_plain_(network: nn.Module) -> list[str]:
    halved = as_float32_(network)
    notes = ["its weights of half precision became float32"] if halved else []
    return notes + _named_layers("had weight or spectral normalisation, folded into plain weights", fold_(network))


def _named_layers(what: str, names: list[str]) -> list[str]:
    if not names:
        return []
    shown = ", ".join(names[:SHOWN_LAYERS]) + (", …" if len(names) > SHOWN_LAYERS else "")
    return [f"{len(names)} {'layer' if len(names) == 1 else 'layers'} {what}: {shown}"]


def _ranges(
    request: ImportRequest, unmapped: ImportedGenerator, example: Tensor, images: Tensor
) -> tuple[Range, Range, list[str]]:
    """Black and white of what a network reads and draws, with a sentence where they were found."""
    given = request.output_range
    found, sentence = (given, None) if given is not None else found_range(images)
    like = found if request.output_range is None and example.dim() == 4 and not unmapped.adapter.signal else SYMMETRIC
    read = request.input_range if request.input_range is not None else like
    sentences = [] if sentence is None else [f"{sentence}; --output-range LOW,HIGH says otherwise"]
    if request.input_range is None and read != SYMMETRIC:
        sentences.append(f"it is taken to read black as {read[0]:g} and white as {read[1]:g}, too; "
                         "--input-range LOW,HIGH says otherwise")  # fmt: skip
    return read, found, sentences


def _check_range(option: str, values: Range | None) -> None:
    if values is not None and not values[0] < values[1]:
        raise ConfigError(f"{option} must be the values of black and white, ascending, e.g. 0,1; found {values}")


def _write(folder: Path, name: str, request: ImportRequest, made: Brought) -> ImportCard:
    """Write both files to a temporary folder and move them after they have been loaded successfully."""
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


def _weights_digest(weights: Path | None) -> str | None:
    """sha256 of a file, or of the names and digests of a folder's files."""
    if weights is None or weights.is_file():
        return None if weights is None else file_digest(weights, "sha256")
    files = sorted(one for one in weights.iterdir() if one.is_file())
    listing = "".join(f"{one.name} {file_digest(one, 'sha256')}\n" for one in files)
    return hashlib.sha256(listing.encode()).hexdigest()


def _card(name: str, request: ImportRequest, made: Brought, images: Tensor) -> ImportCard:
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
        weights_sha256=_weights_digest(request.weights),
        keys=request.keys,
        input_shape=list(made.example.shape),
        output_shape=list(images.shape),
        input_range=made.ranges[0],
        output_range=made.ranges[1],
        cost=generator_cost(made.generator, made.example),
        groups=groups,
        not_thinned=list(made.found.refused),
        modules=sources_of(request.source) if own else {},
        notes=list(made.notes),
    )
