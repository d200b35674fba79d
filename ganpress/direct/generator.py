"""ganpress as a library: a generator, and what can be done with it, without a project, a pipeline or a server.

    import ganpress

    teacher = ganpress.Generator.of("gen.py:build", example=(1, 128), weights="g.pt")
    student = ganpress.distil(teacher, 50)                       # half of the channels, from the teacher's pictures
    small = ganpress.quantize(student, "w8a8")
    made = ganpress.export(small, "out", target="onnx")          # a folder: file, card, pictures, proof
    ganpress.evaluate(small, against=teacher)                    # {'parameters': …, 'macs': …, 'snr_db': …}

`docs/library.md` has more. Each step is what the stage of the same name does in a project.
"""

import copy
import logging
import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ganpress.basics.pixel_values import uint8_to_images
from ganpress.basics.seeding import seeded_initialisation
from ganpress.compression.record import CompressionRecord
from ganpress.config.base import parse
from ganpress.config.training_section import DistillationTraining
from ganpress.data.prepared.generator_inputs import LatentInputs
from ganpress.data.raw.image_files import decode, image_names, read_picture_file
from ganpress.direct.compressing import ROUNDS, Compressed, Edge, compressed, write_edge
from ganpress.direct.given_inputs import given_inputs, parted, training_inputs
from ganpress.edge.proven_export import ExportSettings
from ganpress.edge.targets.target import require_installed
from ganpress.errors import ConfigError, DataError
from ganpress.files.checkpoint import save_model
from ganpress.imported.importing import ImportRequest, bring_in, in_order
from ganpress.metrics.fidelity import compare_outputs
from ganpress.performance.generator_cost import generator_cost
from ganpress.registries import TARGETS
from ganpress.structure.input_checks import check_generator
from ganpress.training.distillation import train_student
from ganpress.training.loop import TrainingRun
from ganpress.training.teacher_images import GivenPairs
from models.builders import Blueprint, generator_blueprint
from models.family import Canvas, latent_of
from models.imported_generator import ImportedGenerator, groups_from_arguments
from models.thinning import thin_

logger = logging.getLogger("ganpress")

IMPORTED = "imported"
INPUTS = "inputs.npy"
"""Of a folder of pairs."""
HALF_LIFE_SHARE = 30
"""Images of a training for each half-life of the averaged weights."""
LEARNING_RATE = 0.002
COMPARED = 64
"""Inputs that `evaluate` compares two generators on."""


@dataclass(frozen=True)
class Generator:
    """A generator in eval mode on the processor: inputs (N, …) -> images (N, C, H, W) in [-1, 1]."""

    network: nn.Module
    blueprint: Blueprint
    example: Tensor
    """Zeros in the shape of one input (1, …)."""
    name: str
    original: nn.Module | None = None
    """The same in floats, where this one is rounded."""
    record: CompressionRecord | None = None
    """How it was rounded."""

    @classmethod
    def of(
        cls,
        source: str | nn.Module,
        example: tuple[int, ...] | None = None,
        weights: Path | str | None = None,
        request: ImportRequest | None = None,
    ) -> "Generator":
        """Take a generator of yours; your code is run, so name only what you trust.

        >>> from torch import nn
        >>> from ganpress import Generator
        >>> layers = nn.ConvTranspose2d(8, 4, 4), nn.ReLU(), nn.ConvTranspose2d(4, 1, 4, 2, 1), nn.Tanh()
        >>> generator = Generator.of(nn.Sequential(*layers), example=(1, 8, 1, 1))
        >>> generator.parameters
        581
        >>> tuple(generator(generator.inputs(3)).shape)
        (3, 1, 8, 8)

        Args:
            source: `FILE.py:function` or `module:function` that builds it, `FILE.onnx`, `FILE.pt2`, or the module.
            example: shape of one input: (1, C, H, W) pictures, (1, Z) latents, (1, C, L) signals.
            weights: see docs/your_generator.md; None takes those that the module has.
            request: further options of `ganpress import`; the arguments above lie over it.

        Raises:
            ganpress.errors.GanpressError: saying in one line what is wrong and what to do.
        """
        given = source if isinstance(source, nn.Module) else None
        name = source if isinstance(source, str) else f"{type(source).__module__}:{type(source).__name__}"
        asked = replace(request or ImportRequest("", None), source=name)
        asked = replace(
            asked, weights=asked.weights if weights is None else Path(weights), example=example or asked.example
        )
        brought = in_order(bring_in(asked, given))
        for note in brought.notes:
            logger.info("%s: %s", name, note)
        return cls(brought.generator, brought.blueprint, brought.example, name)

    @classmethod
    def fresh(cls, name: str, canvas: Canvas, seed: int = 0) -> "Generator":
        """Build an untrained generator of one of ganpress's families.

        >>> from ganpress import Generator
        >>> from models.family import Canvas
        >>> Generator.fresh("wdcgan:2", Canvas(channels=1, height=32, width=32)).parameters
        13487

        Args:
            name: `family:spec`, e.g. `wdcgan:16`.
            canvas: what it reads and draws.
            seed: of its weights.

        Raises:
            ConfigError: if the family is unknown, or the spec or the canvas is not for it.
        """
        try:
            blueprint = generator_blueprint(name, canvas)
            with seeded_initialisation(seed, name):
                network = blueprint.build().eval()
        except ValueError as error:
            raise ConfigError(f"generator '{name}': {error}") from None
        example = torch.zeros(1, *canvas.source_shape) if canvas.reads else torch.zeros(1, latent_of(network))
        return cls(network, blueprint, example, name)

    @torch.no_grad()
    def __call__(self, inputs: Tensor) -> Tensor:
        """Draw the images (N, C, H, W) of inputs (N, …)."""
        images: Tensor = self.network(inputs)
        return images

    def inputs(self, count: int, data: Path | str | None = None, seed: int = 0) -> Tensor:
        """Return inputs (N, …): `count` latents, or at most as many pictures from a folder, brought to the right size.

        Raises:
            ConfigError: if it reads pictures, and no folder is given.
            DataError: if the folder holds none that fit.
        """
        if data is None and self.example.dim() == 2:
            return LatentInputs(self.example.shape[1]).draw(seed, "library", count)
        return given_inputs(self.example, None if data is None else Path(data), seed)[1][:count]

    @property
    def parameters(self) -> int:
        """Number of its weights."""
        return sum(one.numel() for one in self.network.parameters())

    @property
    def floats(self) -> nn.Module:
        """The network in floats."""
        return self.network if self.original is None else self.original

    def save(self, path: Path | str) -> None:
        """Write a model file (safetensors) that a project, or `ganpress.files.checkpoint.load_model`, reads."""
        save_model(Path(path), self.network, self.blueprint)


@dataclass(frozen=True)
class Pairs:
    """What a generator without code has drawn (a service, a diffusion model, a program): a teacher for `distil`."""

    inputs: Tensor
    """(N, Z) latents or (N, C, H, W) pictures in [-1, 1]."""
    images: Tensor
    """(N, C, H, W) in [-1, 1]."""

    @classmethod
    def read(cls, folder: Path | str) -> "Pairs":
        """Read a folder that holds `inputs.npy` (N, …), and as many pictures, in the order of their names.

        Raises:
            DataError: if one of these is missing or damaged, their numbers differ, or the pictures' sizes do.
        """
        names = image_names(Path(folder)) if Path(folder).is_dir() else []
        try:
            inputs = np.load(Path(folder) / INPUTS, allow_pickle=False)
        except (OSError, ValueError) as error:
            words = " ".join(str(error).split())[:120]
            raise DataError(f"{folder} needs {INPUTS}, the inputs (N, …) of its pictures ({words})") from None
        if inputs.dtype.kind not in "fiu" or not len(names) == len(inputs) > 0:
            raise DataError(
                f"{folder} holds {len(names):,} pictures, and {INPUTS} {len(inputs):,} rows of {inputs.dtype}"
            )
        pixels = [decode(read_picture_file(Path(folder) / name), name) for name in names]
        shapes = {one.shape for one in pixels}
        if len(shapes) != 1:
            raise DataError(f"{folder} holds pictures of different sizes: {', '.join(map(str, sorted(shapes)[:3]))}")
        stacked = np.stack([np.atleast_3d(one).transpose(2, 0, 1) for one in pixels])
        return cls(torch.from_numpy(inputs.astype(np.float32)), uint8_to_images(torch.from_numpy(stacked)))

    @property
    def example(self) -> Tensor:
        """Zeros in the shape of one input (1, …)."""
        return torch.zeros_like(self.inputs[:1])

    def __call__(self, example: Tensor) -> Tensor:
        """Zeros in the shape of the images of so many inputs."""
        return torch.zeros(len(example), *self.images.shape[1:])

    name = "the pairs"


def distil(
    teacher: Generator | Pairs,
    student: "int | str | Generator" = 50,
    *,
    data: Path | str | None = None,
    images: int = 60_000,
    batch_size: int = 64,
    learning_rate: float = LEARNING_RATE,
    seed: int = 0,
) -> Generator:
    """Train a smaller generator to draw the teacher's pictures (Aguinaldo et al. 2019, equation 3).

    >>> from ganpress import Generator, distil
    >>> from models.family import Canvas
    >>> teacher = Generator.fresh("wdcgan:2", Canvas(1, 16, 16))
    >>> student = distil(teacher, "wdcgan:1", images=256, batch_size=32)
    >>> student.parameters < teacher.parameters
    True

    Args:
        teacher: in floats; or `Pairs`, what a generator without code has drawn, and then a student by name.
        student: percent of the channels of a generator of yours that stay, which begins with the teacher's weights; or
            `family:spec`; or a generator, of which a copy is trained.
        data: folder of pictures, for a teacher that reads pictures; latents are drawn anew for every step.
        images: length of the training in inputs shown.
        batch_size: inputs in a step.
        learning_rate: of Adam; it decays to zero along a cosine.
        seed: of inputs and fresh weights.

    Raises:
        ganpress.errors.GanpressError: saying in one line what is wrong and what to do.
    """
    begun = _begun(teacher, student, seed)
    if begun.example.shape != teacher.example.shape or begun(begun.example).shape != teacher(teacher.example).shape:
        raise ConfigError(f"{begun.name} does not read and draw what {teacher.name} does: their shapes differ")
    given = None if data is None else given_inputs(teacher.example, Path(data), seed)[1]
    if given is None and teacher.example.dim() != 2 and isinstance(teacher, Generator):
        raise ConfigError("the teacher reads pictures: name a folder of those that it was trained on, data=…")
    half_life = max(1, images // HALF_LIFE_SHARE)
    lengths = {"train_images": images, "batch_size": batch_size, "ema_half_life_images": half_life}
    config = parse(lengths | {"learning_rate": learning_rate, "beta1": 0.5}, DistillationTraining, "distil")
    run, network = TrainingRun(seed, f"distil {begun.name}"), copy.deepcopy(begun.network)
    if isinstance(teacher, Pairs):
        made = train_student(network, GivenPairs(teacher.inputs, teacher.images), config, run)
    else:
        inputs = LatentInputs(teacher.example.shape[1]) if given is None else training_inputs(given)
        made = train_student(network, copy.deepcopy(teacher.floats), config, run, None, inputs)
    return replace(begun, network=made.student.to(memory_format=torch.contiguous_format))


def _begun(teacher: Generator | Pairs, student: "int | str | Generator", seed: int) -> Generator:
    """The student before its training."""
    if isinstance(student, Generator):
        return student
    if isinstance(student, str):
        _, channels, height, width = teacher(teacher.example).shape
        reads = tuple(teacher.example.shape[1:])
        source = (reads[0], *reads[1:]) if len(reads) == 3 else (0, 0, 0)
        canvas = Canvas(channels, height, width, *source, latent=reads[0])
        return Generator.fresh(student, canvas, seed)
    if isinstance(teacher, Pairs):
        raise ConfigError("pairs have no network to take channels of: name the student as family:spec, e.g. wdcgan:4")
    network = copy.deepcopy(teacher.floats)
    if not isinstance(network, ImportedGenerator):
        raise ConfigError(f"{teacher.name} is of a known family: name the student as family:spec, e.g. wdcgan:4")
    groups = groups_from_arguments(teacher.blueprint.arguments["groups"])
    try:
        thin_(network.network, groups, [student] * len(groups))
    except ValueError as error:
        raise ConfigError(f"a student of {student} percent: {error}") from None
    if not groups:
        raise ConfigError(f"no channels of {teacher.name} can be left out; the import's notes say why")
    blueprint = Blueprint(IMPORTED, teacher.blueprint.arguments | {"spec": str(student)})
    return Generator(network, blueprint, teacher.example, f"{teacher.name} at {student} %")


def quantize(generator: Generator, method: str = "ptq", *, data: Path | str | None = None, seed: int = 0) -> Generator:
    """Round weights and activations to integers, after training or by training the integers themselves.

    >>> from ganpress import Generator, quantize
    >>> from models.family import Canvas
    >>> small = quantize(Generator.fresh("wdcgan:2", Canvas(1, 16, 16)), "w4a8")
    >>> small.record.weight_bits
    4

    Args:
        generator: in floats; not changed.
        method: `ptq` (8 bits), `qad`, `w4a8`, `w4`, `qad-w3a8` and the like (docs/compression.md).
        data: folder of pictures to calibrate on, for a generator that reads pictures.
        seed: of latents, and of what is chosen for calibration.

    Raises:
        ganpress.errors.GanpressError: saying in one line what is wrong and what to do.
    """
    if generator.record is not None:
        raise ConfigError(f"{generator.name} is rounded already; quantize the generator in floats")
    calibration, _ = parted(given_inputs(generator.example, None if data is None else Path(data), seed)[1])
    check_generator(generator.network, calibration, "calibration inputs")
    network, blueprint, record = compressed(
        generator.network, generator.blueprint, generator.name, method, calibration, seed
    )
    if record is None:
        raise ConfigError(f"method {method[:40]!r} rounds nothing here; take one as w8a8, w4 or qad")
    return replace(generator, network=network, blueprint=blueprint, original=generator.network, record=record)


def export(
    generator: Generator,
    out: Path | str,
    *,
    target: str = "onnx",
    number_type: str = "float32",
    data: Path | str | None = None,
    any_size: bool = False,
    seed: int = 0,
) -> Compressed:
    """Write the edge file with its card, pictures and proof; a file that draws something else is refused.

    >>> import tempfile
    >>> from ganpress import Generator, export, quantize
    >>> from models.family import Canvas
    >>> small = quantize(Generator.fresh("wdcgan:2", Canvas(1, 16, 16)))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     made = export(small, folder + "/out")
    ...     made.file.name, made.size_bytes > 0
    ('generator.onnx', True)

    Args:
        generator: in floats, or what `quantize` made of it.
        out: the folder to write, whole or not at all.
        target: one of `ganpress targets`.
        number_type: of the file; integers of `quantize` stay what they are under `float32`.
        data: folder of pictures, for a generator that reads pictures.
        any_size: whether the file takes pictures of any height and width.
        seed: of the inputs that it is proven on.

    Raises:
        ganpress.errors.GanpressError: saying in one line what is wrong and what to do.
    """
    runtime = TARGETS.find(target)
    require_installed(runtime)
    if number_type not in runtime.number_types:
        raise ConfigError(f"{runtime.title} writes {', '.join(runtime.number_types)}, not {number_type[:40]!r}")
    if generator.record is not None and not runtime.can_keep(generator.network):
        raise ConfigError(f"{runtime.title} does not keep these integers; export the floats with its own number type")
    names, inputs = given_inputs(generator.example, None if data is None else Path(data), seed)
    edge = Edge(generator.floats, generator.network, generator.name, generator.blueprint.builder, generator.record)
    settings = ExportSettings(number_type=number_type, latency_rounds=ROUNDS, any_size=any_size)
    return write_edge(Path(out), edge, runtime, settings, names, inputs, seed)


def evaluate(
    generator: Generator, against: Generator | None = None, *, data: Path | str | None = None, seed: int = 0
) -> dict[str, float]:
    """Measure what a generator costs, and how near its pictures are to another one's on the same inputs.

    Distances to real pictures need a judge, which a project trains (docs/metrics.md).

    >>> from ganpress import Generator, evaluate, quantize
    >>> from models.family import Canvas
    >>> teacher = Generator.fresh("wdcgan:2", Canvas(1, 16, 16))
    >>> scores = evaluate(quantize(teacher), against=teacher)
    >>> sorted(scores)
    ['macs', 'max_abs_error', 'parameters', 'snr_db']
    >>> scores["snr_db"] > 20
    True

    Args:
        generator: to be measured.
        against: the reference, e.g. its teacher; None measures cost alone.
        data: folder of pictures, for a generator that reads pictures.
        seed: of the inputs.

    Returns:
        `parameters`, `macs` of one image; with a reference `snr_db`, infinite where the pictures are equal, and
        `max_abs_error` in units of half the way from black to white.
    """
    cost = generator_cost(generator.floats, generator.example)
    scores = {"parameters": float(cost.parameters), "macs": float(cost.macs_exact)}
    if against is not None:
        found = compare_outputs(against.network, generator.network, generator.inputs(COMPARED, data, seed))
        decibels = math.inf if found.snr_db is None else found.snr_db
        scores |= {"snr_db": decibels, "max_abs_error": found.max_abs_error}
    return scores
