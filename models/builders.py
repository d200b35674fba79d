"""Names for architectures, so that a model file can say what it holds without a pickled class."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from torch import nn

from models.elastic import Elastic, Spec, WidthSpace
from models.factory_pins import require_pinned
from models.families import FAMILIES, family_of, find_family
from models.family import Argument, Canvas
from models.quantized import CalibrationRecord
from models.quantized_network import QuantizedNetwork
from models.registry import Registry


@dataclass(frozen=True)
class Blueprint:
    """Recipe from which a module is rebuilt: the name of its builder and plain arguments."""

    builder: str
    arguments: dict[str, Argument] = field(default_factory=dict)

    def build(self) -> nn.Module:
        """Build the module with fresh weights.

        Raises:
            ValueError: if the builder is unknown, or it runs a function of a user's that is not pinned.
        """
        if self.builder == "imported":
            require_pinned(str(self.arguments["factory"]))
        return find_builder(self.builder)(**self.arguments)


def find_builder(name: str) -> Callable[..., nn.Module]:
    """The function that builds networks under this name.

    Raises:
        ValueError: if there is none.
    """
    if name not in BUILDERS and name in FAMILIES and (build := FAMILIES[name].build) is not None:
        return build
    return BUILDERS.find(name)


def in_floats(module: nn.Module, blueprint: Blueprint) -> nn.Module:
    """Return the float architecture of a generator: what its parameters and multiply-accumulates are counted on.

    Args:
        module: a generator.
        blueprint: what rebuilds it.

    Returns:
        For a quantized generator the one that it was made of, with fresh weights; else `module`.
    """
    base = blueprint.arguments.get("base") if blueprint.builder == "quantized" else None
    if not isinstance(base, dict) or not isinstance(base["arguments"], dict):
        return module
    return Blueprint(str(base["builder"]), base["arguments"]).build()


def elastic_generator(base: dict[str, Argument], widths: list[list[int]]) -> Elastic:
    """Build the supernet of any architecture whose builder takes a `spec`.

    Args:
        base: builder and arguments of one of its networks, of any spec.
        widths: the numbers that each place of the spec may take, ascending.
    """
    builder, arguments = base["builder"], base["arguments"]
    assert isinstance(builder, str)
    assert isinstance(arguments, dict)
    blueprint = Blueprint(builder, arguments)
    family = family_of(builder)
    kept = partial(family.kept, arguments) if family is not None and family.kept is not None else None
    return Elastic(WidthSpace(tuple(map(tuple, widths))), lambda spec: with_spec(blueprint, spec).build(), kept)


def with_spec(blueprint: Blueprint, spec: Spec) -> Blueprint:
    """Return the blueprint of the same architecture with other widths; the options in its spec text are kept."""
    words = str(blueprint.arguments["spec"]).split()
    options = [word for word in words if "=" in word and not word.startswith("ngf=")]
    return replace(blueprint, arguments=blueprint.arguments | {"spec": " ".join([spec.text, *options])})


def width_numbers(blueprint: Blueprint) -> tuple[int, ...]:
    """The numbers of a generator's spec, read as its builder reads them: `2_1_1` is (2, 1, 1).

    Raises:
        ValueError: if the architecture has none.
    """
    family = family_of(blueprint.builder)
    if family is None:
        raise ValueError(f"a '{blueprint.builder}' has no widths that could be cut: no family of generators makes it")
    return family.numbers(blueprint.arguments)


def generator_blueprint(name: str, canvas: Canvas) -> Blueprint:
    """The generator `family:spec` for one kind of data.

    Raises:
        ValueError: if the family is unknown, or the spec or the canvas is not for it.
    """
    _, family, spec = find_family(name)
    return Blueprint(family.builder, family.arguments(spec, canvas))


def elastic_blueprint(family_name: str, canvas: Canvas, widths: tuple[tuple[int, ...], ...]) -> Blueprint:
    """The supernet of a family; `widths` gives one list for all places, or one for each.

    Args:
        family_name: a family, or `family:options` where its spec text takes options, e.g. `spade:upsampling=normal`.
        canvas: what it reads and draws.
        widths: ascending numbers.

    Raises:
        ValueError: if the family is unknown, the canvas not for it, or the number of lists fits neither.
    """
    name, _, options = family_name.partition(":")
    _, family, _ = find_family(name)
    places = family.places(canvas)
    choices = widths * places if len(widths) == 1 else widths
    if len(choices) != places:
        raise ValueError(f"{name} has {places} widths; give one list for all or {places} lists, found {len(widths)}")
    space = WidthSpace(choices)
    return _elastic(generator_blueprint(f"{name}:{space.largest.text} {options}".strip(), canvas), choices)


def elastic_of(imported: Blueprint, widths: tuple[tuple[int, ...], ...]) -> Blueprint:
    """The supernet of an imported network; `widths` are percent, one list for all its channel groups or one for each.

    Raises:
        ValueError: if the network was not imported, has no group, or the number of lists fits neither.
    """
    groups = imported.arguments.get("groups")
    if not isinstance(groups, dict) or not groups:
        raise ValueError(
            f"family 'imported' needs an imported teacher with channel groups; this is a {imported.builder}"
        )
    choices = widths * len(groups) if len(widths) == 1 else widths
    if len(choices) != len(groups):
        raise ValueError(
            f"the imported network has {len(groups)} channel groups; give one list for all or {len(groups)} lists, "
            f"found {len(widths)}"
        )
    return _elastic(with_spec(imported, WidthSpace(choices).largest), choices)


def _elastic(blueprint: Blueprint, choices: tuple[tuple[int, ...], ...]) -> Blueprint:
    base: dict[str, Argument] = {"builder": blueprint.builder, "arguments": blueprint.arguments}
    return Blueprint("elastic", {"base": base, "widths": [list(numbers) for numbers in choices]})


def subnet_blueprint(elastic: Blueprint, spec: Spec) -> Blueprint:
    """Return the blueprint of the sub-generator `spec` of a supernet."""
    base = elastic.arguments["base"]
    assert isinstance(base, dict)
    assert isinstance(base["arguments"], dict)
    return with_spec(Blueprint(str(base["builder"]), base["arguments"]), spec)


def quantized_generator(
    base: dict[str, Argument],
    layers: list[str],
    folded: list[str],
    weight_bits: int | None,
    activation_bits: int | None,
    calibration: dict[str, int | str | None] | None = None,
    channel_inputs: bool = False,
    layer_bits: dict[str, int] | None = None,
    repeated: dict[str, int] | None = None,
    pixels: list[str] | None = None,
) -> QuantizedNetwork:
    """Build any generator with empty quantized layers.

    Args:
        base: builder and arguments of the float generator.
        layers: names of the layers that are quantized, in the order in which they run.
        folded: names of what those layers contain: batch normalisations, and added parameters.
        weight_bits: 2 to 8, or None for floats.
        activation_bits: 2 to 8, or None for floats.
        calibration: the fields of a `CalibrationRecord`.
        channel_inputs: whether each channel of a layer's input has a scale of its own.
        layer_bits: width of the weights of layers for which it is not `weight_bits`.
        repeated: number of input channels that layers read twice, by layer.
        pixels: names of the layers that are transposed convolutions of single pixels.
    """
    builder, arguments = base["builder"], base["arguments"]
    assert isinstance(builder, str)
    assert isinstance(arguments, dict)
    network = Blueprint(builder, arguments).build()
    record = None if calibration is None else CalibrationRecord(**calibration)  # type: ignore[arg-type]
    bits = weight_bits, activation_bits
    names = tuple(layers), tuple(folded)
    return QuantizedNetwork(network, *names, *bits, record, channel_inputs, layer_bits, repeated, tuple(pixels or ()))


BUILDERS: Registry[Callable[..., nn.Module]] = Registry(
    "builder",
    "",
    "builtins:object",
    ValueError,
    {
        "classifier": "models.judge_networks:classifier",
        "edge_resnet_generator": "models.edge_resnet:edge_resnet_generator",
        "elastic": "models.builders:elastic_generator",
        "imported": "models.imported_generator:imported_generator",
        "multiscale_discriminator": "models.discriminators:multiscale_discriminator",
        "patch_discriminator": "models.discriminators:patch_discriminator",
        "pretext_classifier": "models.judge_networks:pretext_classifier",
        "quantized": "models.builders:quantized_generator",
        "quantized_wdcgan": "models.former_wdcgan:former_wdcgan",
        "resnet_generator": "models.resnet:resnet_generator",
        "segmenter": "models.judge_networks:segmenter",
        "spade_generator": "models.spade:spade_generator",
        "unet_generator": "models.unet:unet_generator",
        "wdcgan_discriminator": "models.wdcgan:wdcgan_discriminator",
        "wdcgan_generator": "models.wdcgan:wdcgan_generator",
    },
)
"""Functions of plain arguments that model files name. A family of another package brings its own, under its name."""
