"""ganpress as a library: operations on a generator without a project, a pipeline or a server.

    import ganpress

    teacher = ganpress.Generator.of("gen.py:build", example=(1, 128), weights="g.pt")
    student = ganpress.distil(teacher, 50)                       # half of the channels, from the teacher's pictures
    small = ganpress.quantize(student, "w8a8")
    made = ganpress.export(small, "out", target="onnx")          # a folder: file, card, pictures, proof
    ganpress.evaluate(small, against=teacher)                    # {'parameters': …, 'macs': …, 'snr_db': …}

Each step is what the stage of the same name does in a project.
"""

import math
from dataclasses import replace
from pathlib import Path

from ganpress.direct.compressing import compress, round_generator
from ganpress.direct.distilling import distil
from ganpress.direct.edge_folder import ROUNDS, Compressed, EdgeGenerator, write_edge
from ganpress.direct.generator import Generator
from ganpress.direct.given_inputs import given_inputs, parted
from ganpress.edge.proven_export import ExportSettings
from ganpress.edge.targets.target import require_installed
from ganpress.errors import ConfigError
from ganpress.metrics.fidelity import compare_outputs
from ganpress.performance.generator_cost import generator_cost
from ganpress.registries import TARGETS
from ganpress.structure.input_checks import check_generator
from ganpress.training.drawn_pairs import Pairs

__all__ = ["Compressed", "Generator", "Pairs", "compress", "distil", "evaluate", "export", "quantize"]
COMPARED = 64
"""Number of inputs on which `evaluate` compares two generators."""


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
