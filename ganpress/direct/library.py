"""ganpress as a library: operations on a generator without a project, a pipeline or a server.

    import ganpress

    teacher = ganpress.Generator.of("gen.py:build", example=(1, 128), weights="g.pt")
    student = ganpress.distil(teacher, 50)                       # half of the channels, from the teacher's pictures
    small = ganpress.quantize(student, "w8a8")
    made = ganpress.export(small, "out", target="onnx")          # a folder: file, card, pictures, proof
    ganpress.evaluate(small, against=teacher)                    # {'parameters': …, 'macs': …, 'snr_db': …}

Each step is what the stage of the same name does in a project.
"""

import copy
import math
from dataclasses import replace
from pathlib import Path

import torch

from ganpress.config.base import parse
from ganpress.config.training_section import DistillationTraining
from ganpress.data.prepared.generator_inputs import LatentInputs, TrainingInputs
from ganpress.direct.compressing import compress, round_generator
from ganpress.direct.edge_folder import ROUNDS, Compressed, EdgeGenerator, write_edge
from ganpress.direct.generator import Generator
from ganpress.direct.given_inputs import given_inputs, parted, training_inputs
from ganpress.edge.proven_export import ExportSettings
from ganpress.edge.targets.target import require_installed
from ganpress.errors import ConfigError
from ganpress.metrics.fidelity import compare_outputs
from ganpress.performance.generator_cost import generator_cost
from ganpress.registries import TARGETS
from ganpress.structure.input_checks import check_generator
from ganpress.training.distillation import train_student
from ganpress.training.drawn_pairs import Pairs
from ganpress.training.loop import TrainingRun
from models.builders import Blueprint
from models.family import Canvas
from models.imported_generator import ImportedGenerator, groups_from_arguments
from models.thinning import thin_

__all__ = ["Compressed", "Generator", "Pairs", "compress", "distil", "evaluate", "export", "quantize"]
IMPORTED = "imported"
HALF_LIFE_SHARE = 30
"""Number of training images for each half-life of the averaged weights."""
LEARNING_RATE = 0.002
COMPARED = 64
"""Number of inputs on which `evaluate` compares two generators."""


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
        teacher: generator in floats; or `Pairs`, the pictures of a generator without code, which needs a student by
            name.
        student: percentage of the channels of your generator that are kept, initialised with the teacher's weights; or
            `family:spec`; or a generator, of which a copy is trained.
        data: folder of pictures, for a teacher that reads pictures; new latents are drawn for every step.
        images: training length as a number of inputs shown.
        batch_size: number of inputs in a step.
        learning_rate: learning rate of Adam, which decays to zero along a cosine.
        seed: seed of inputs and initial weights.

    Raises:
        ganpress.errors.GanpressError: saying in one line what is wrong and what to do.
    """
    begun = _first_student(teacher, student, seed)
    if _shapes(begun) != _shapes(teacher):
        raise ConfigError(f"{begun.name} has input or output shapes that differ from the teacher's")
    half_life = max(1, images // HALF_LIFE_SHARE)
    lengths = {"train_images": images, "batch_size": batch_size, "ema_half_life_images": half_life}
    config = parse(lengths | {"learning_rate": learning_rate, "beta1": 0.5}, DistillationTraining, "distil")
    run, network = TrainingRun(seed, f"distil {begun.name}"), copy.deepcopy(begun.network)
    if isinstance(teacher, Pairs):
        made = train_student(network, teacher, config, run)
    else:
        inputs = _training_inputs(teacher, data, seed)
        made = train_student(network, copy.deepcopy(teacher.floats), config, run, None, inputs)
    return replace(begun, network=made.student.to(memory_format=torch.contiguous_format))


def _shapes(one: Generator | Pairs) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the shapes of one input and of one image."""
    if isinstance(one, Pairs):
        return tuple(one.inputs.shape[1:]), tuple(one.images.shape[1:])
    return tuple(one.example.shape[1:]), tuple(one(one.example).shape[1:])


def _training_inputs(teacher: Generator, data: Path | str | None, seed: int) -> TrainingInputs:
    """Return an endless source of new latents, or of the pictures of a folder, repeated."""
    if data is not None:
        return training_inputs(given_inputs(teacher.example, Path(data), seed)[1])
    if teacher.example.dim() != 2:
        raise ConfigError("the teacher reads pictures: give a folder of training pictures with data=…")
    return LatentInputs(teacher.example.shape[1])


def _first_student(teacher: Generator | Pairs, student: "int | str | Generator", seed: int) -> Generator:
    """Return the student before its training."""
    if isinstance(student, Generator):
        return student
    if isinstance(student, str):
        reads, (channels, height, width) = _shapes(teacher)
        source = (reads[0], *reads[1:]) if len(reads) == 3 else (0, 0, 0)
        canvas = Canvas(channels, height, width, *source, latent=reads[0])
        return Generator.fresh(student, canvas, seed)
    if isinstance(teacher, Pairs):
        raise ConfigError(
            "pairs have no network from which channels could be kept: give the student as family:spec, e.g. wdcgan:4"
        )
    network = copy.deepcopy(teacher.floats)
    if not isinstance(network, ImportedGenerator):
        raise ConfigError(f"{teacher.name} belongs to a known family: give the student as family:spec, e.g. wdcgan:4")
    groups = groups_from_arguments(teacher.blueprint.arguments["groups"])
    try:
        thin_(network.network, groups, [student] * len(groups))
    except ValueError as error:
        raise ConfigError(f"a student of {student} percent: {error}") from None
    if not groups:
        raise ConfigError(f"no channels of {teacher.name} can be removed; the notes of the import say why")
    blueprint = Blueprint(IMPORTED, teacher.blueprint.arguments | {"spec": str(student)})
    return Generator(network, blueprint, teacher.example, f"{teacher.name} at {student} %")


def quantize(generator: Generator, method: str = "ptq", *, data: Path | str | None = None, seed: int = 0) -> Generator:
    """Quantize weights and activations to integers, after training or by quantization-aware distillation.

    >>> from ganpress import Generator, quantize
    >>> from models.family import Canvas
    >>> small = quantize(Generator.fresh("wdcgan:2", Canvas(1, 16, 16)), "w4a8")
    >>> small.record.weight_bits
    4

    Args:
        generator: in floats; not changed.
        method: `ptq` (8 bits), `qad`, `w4a8`, `w4`, `qad-w3a8` and the like (docs/compression.md).
        data: folder of pictures for calibration, for a generator that reads pictures.
        seed: of latents, and of what is chosen for calibration.

    Raises:
        ganpress.errors.GanpressError: saying in one line what is wrong and what to do.
    """
    if generator.record is not None:
        raise ConfigError(f"{generator.name} is already quantized; quantize the generator in floats")
    calibration, _ = parted(given_inputs(generator.example, None if data is None else Path(data), seed)[1])
    check_generator(generator.network, calibration, "calibration inputs")
    network, blueprint, record = round_generator(
        generator.network, generator.blueprint, generator.name, method, calibration, seed
    )
    if record is None:
        raise ConfigError(f"method {method[:40]!r} quantizes nothing here; choose one such as w8a8, w4 or qad")
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
    """Write the edge file with its card and pictures, and verify it; a file that draws different images is refused.

    >>> import tempfile
    >>> from ganpress import Generator, export, quantize
    >>> from models.family import Canvas
    >>> small = quantize(Generator.fresh("wdcgan:2", Canvas(1, 16, 16)))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     made = export(small, folder + "/out")
    ...     made.file.name, made.size_bytes > 0
    ('generator.onnx', True)

    Args:
        generator: generator in floats, or a result of `quantize`.
        out: the folder to write, completely or not at all.
        target: one of `ganpress targets`.
        number_type: number type of the file; with `float32`, integers of `quantize` are kept.
        data: folder of pictures, for a generator that reads pictures.
        any_size: whether the file accepts pictures of any height and width.
        seed: seed of the inputs with which it is verified.

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
    edge = EdgeGenerator(
        generator.floats, generator.network, generator.name, generator.blueprint.builder, generator.record
    )
    settings = ExportSettings(number_type=number_type, latency_rounds=ROUNDS, any_size=any_size)
    return write_edge(Path(out), edge, runtime, settings, names, inputs, seed)


def evaluate(
    generator: Generator, against: Generator | None = None, *, data: Path | str | None = None, seed: int = 0
) -> dict[str, float]:
    """Measure the cost of a generator, and the distance of its pictures to another generator's on the same inputs.

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
        generator: generator to measure.
        against: reference such as its teacher; None measures only the cost.
        data: folder of pictures, for a generator that reads pictures.
        seed: seed of the inputs.

    Returns:
        `parameters`, `macs` of one image; with a reference `snr_db`, infinite if the pictures are equal, and
        `max_abs_error` in units of half the way from black to white.
    """
    cost = generator_cost(generator.floats, generator.example)
    scores = {"parameters": float(cost.parameters), "macs": float(cost.macs_exact)}
    if against is not None:
        found = compare_outputs(against.network, generator.network, generator.inputs(COMPARED, data, seed))
        decibels = math.inf if found.snr_db is None else found.snr_db
        scores |= {"snr_db": decibels, "max_abs_error": found.max_abs_error}
    return scores
