"""Compresses a user's generator into a verified edge file, in one call and without a project.

    from pathlib import Path
    import ganpress

    made = ganpress.compress("gen/my_module.py:build", Path("out"), weights=Path("g.pt"), example=(1, 3, 256, 256),
                    data=Path("pictures"))
    made.file, made.decibels, made.size_bytes, made.milliseconds

The steps are those of the stages `compress` and `export`: the generator is analysed as in `ganpress import`, quantized
with calibration inputs, written for its runtime, compared with torch, profiled and timed.
"""

import logging
import math
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ganpress.basics.whole_files import whole_folder
from ganpress.compression.applying import apply_item
from ganpress.compression.compressor import CompressionData
from ganpress.compression.record import CompressionRecord, record_compression
from ganpress.config.edge_section import CompressItem
from ganpress.data.prepared.generator_inputs import TrainingInputs
from ganpress.direct.distilling import distil
from ganpress.direct.edge_folder import ROUNDS, Compressed, EdgeGenerator, check_out, weights_digest, write_edge
from ganpress.direct.generator import Generator
from ganpress.direct.given_inputs import given_inputs, lessons, parted, training_inputs
from ganpress.direct.methods import SHORT, Method, ladder, read_method
from ganpress.edge.proven_export import ExportSettings
from ganpress.edge.targets.target import Target, require_installed
from ganpress.errors import ConfigError, GanpressError
from ganpress.imported.importing import ImportRequest, bring_in, in_order
from ganpress.registries import TARGETS
from ganpress.structure.input_checks import check_generator
from ganpress.training.loop import TrainingRun
from models.builders import Blueprint

logger = logging.getLogger("ganpress")

LATENT_LESSONS = {"train_images": 50_000, "batch_size": 64}
PICTURE_LESSONS = {"train_images": 2_000, "batch_size": 4}
"""Training length of `qad` and `thin+distil`, which takes minutes for a generator of small pictures;
`compress.items` and `student.items` of a project have their own."""


@dataclass(frozen=True)
class _Task:
    """A generator that is to become a file, and everything that does not depend on the method."""

    original: Generator
    runtime: Target
    names: list[str]
    inputs: Tensor
    data: Path | None
    seed: int
    any_size: bool
    say: Callable[[str], None]


def compress(
    source: str | nn.Module,
    out: Path,
    *,
    weights: Path | None = None,
    example: tuple[int, ...] | None = None,
    data: Path | None = None,
    method: str = "ptq",
    target: str = "onnx",
    size: int | None = None,
    psnr: float | None = None,
    seed: int = 0,
    any_size: bool = False,
    request: ImportRequest | None = None,
    say: Callable[[str], None] = logger.info,
) -> Compressed:
    """Compress a generator and write the file with its card, pictures before and after, and the measurements.

    Args:
        source: `FILE.py:function` or `module:function` that builds it, `FILE.onnx`, `FILE.pt2`, or the module itself.
        out: the folder to write, completely or not at all; one that this function has written before is replaced.
        weights: see `ganpress.imported.weight_files`; None uses those of the module.
        example: shape of one input: (1, C, H, W) pictures, (1, Z) latents, (1, C, L) signals.
        data: folder of pictures, or of arrays `.npy` of one input each, in [-1, 1]; needed unless it reads latents.
        method: `ptq`, `qad`, `w4a8`, `w4`, `qad-w3a8`, `thin+distil`, `thin25+distil+ptq`, `float`, or `int8` of the
            target's own quantizer.
        target: one of `ganpress targets`.
        size: most bytes of the file; versions of the method's kind are tried, and the most faithful one is kept.
        psnr: least PSNR in decibels, over the held-out inputs, of the file's images to the original's; the smallest
            version that reaches it is kept.
        seed: seed of latents and of the choice of calibration inputs.
        any_size: whether the file accepts pictures of any height and width; see `ganpress.edge.forms.any_size`.
        request: further options of `ganpress import`; the arguments above override it.
        say: function that is called with progress messages.

    Raises:
        ganpress.errors.GanpressError: saying in one line what is wrong and what to do.
    """
    runtime = TARGETS.find(target)
    require_installed(runtime)
    wanted = read_method(method, runtime)
    goal = _Goal(size, psnr)
    check_out(out)
    asked = replace(
        request or ImportRequest("", None),
        source=source if isinstance(source, str) else f"{type(source).__module__}:{type(source).__name__}",
    )
    asked = replace(asked, weights=weights or asked.weights, example=example or asked.example)
    say(f"1/5 analysing {asked.source}")
    thins = wanted.kept is not None
    brought = bring_in(asked, source if isinstance(source, nn.Module) else None, groups=thins)
    brought = in_order(brought) if thins else brought
    for note in brought.notes:
        say(f"  {note}")
    names, inputs = given_inputs(brought.example, data, seed)
    check_generator(brought.generator, parted(inputs)[0], "calibration inputs")
    original = Generator(brought.generator, brought.blueprint, brought.example, brought.source)
    task = _Task(original, runtime, names, inputs, data, seed, any_size, say)
    made = _reached(goal, ladder(wanted, runtime), task, out) if goal.given else _written(wanted, task, out)
    return replace(made, notes=brought.notes)


@dataclass(frozen=True)
class _Goal:
    size: int | None
    psnr: float | None

    def __post_init__(self) -> None:
        if self.size is not None and self.size < 1:
            raise ConfigError(f"a size in bytes is 1 or more, found {self.size}")
        if self.psnr is not None and not 0 < self.psnr < math.inf:
            raise ConfigError(f"a PSNR in decibels is a number above 0, found {self.psnr}")

    @property
    def given(self) -> bool:
        return self.size is not None or self.psnr is not None

    def fits(self, made: Compressed) -> bool:
        return self.size is None or made.size_bytes <= self.size

    def near(self, made: Compressed) -> bool:
        return self.psnr is None or made.psnr >= self.psnr


def _reached(goal: _Goal, methods: list[Method], task: _Task, out: Path) -> Compressed:
    """Write versions of falling fidelity until the goal is decided, and keep the one that meets it best.

    Raises:
        ConfigError: if none meets it; the message has what each reaches.
    """
    found: list[tuple[Method, Compressed]] = []
    failed: list[str] = []
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as folder:
        for number, method in enumerate(methods, 1):
            task.say(f"version {number} of at most {len(methods)}: {method.name}")
            try:
                made = _written(method, task, Path(folder) / str(number))
            except GanpressError as error:
                failed.append(f"{method.name}: {error}")
                task.say(f"  left out: {error}")
                continue
            task.say(f"  {method.name}: {made.size_bytes:,} bytes, PSNR {made.psnr:.1f} dB")
            found.append((method, made))
            if not goal.near(made) or (goal.psnr is None and goal.fits(made)):
                break  # what comes behind is less faithful
        good = [one for one in found if goal.fits(one[1]) and goal.near(one[1])]
        if not good:
            raise ConfigError(_unreached(goal, found, failed))
        method, best = min(good, key=lambda one: one[1].size_bytes if goal.psnr is not None else -one[1].psnr)
        task.say(f"kept: {method.name}")
        with whole_folder(out) as whole:
            shutil.copytree(best.folder, whole, dirs_exist_ok=True)
    return replace(best, folder=out, file=out / best.file.name)


def _unreached(goal: _Goal, found: list[tuple[Method, Compressed]], failed: list[str]) -> str:
    asked = [] if goal.size is None else [f"at most {goal.size:,} bytes"]
    asked += [] if goal.psnr is None else [f"at least {goal.psnr:g} dB PSNR"]
    reached = [f"{method.name} {made.size_bytes:,} bytes at {made.psnr:.1f} dB" for method, made in found]
    return (
        f"no version reaches {' and '.join(asked)}: {'; '.join(reached + failed)}. Change the goal, or choose another "
        "--method, e.g. qad or thin+distil+ptq, which train"
    )


def _written(method: Method, task: _Task, out: Path) -> Compressed:
    """Make one version of a generator, and write its folder."""
    calibration, shown = parted(task.inputs)
    floats = task.original
    if method.kept is not None:
        held_out = task.names[len(task.names) - len(shown) :]
        floats = _thinned(method.kept, task, lessons(floats.example, task.data, task.seed, held_out))
    task.say(f"2/5 compressing by {method.name}, calibrated on {len(calibration)} inputs")
    model, blueprint, record = round_generator(
        floats.network, floats.blueprint, task.original.name, method.number_type, calibration, task.seed
    )
    number_type = method.number_type
    if record is not None and not task.runtime.can_keep(model):
        model, record, number_type = floats.network, None, _own_quantizer(task.runtime)
        task.say(f"  {task.runtime.title} cannot write these integers: its own quantizer is used, {number_type}")
    smaller = None if method.kept is None else floats.network
    edge = EdgeGenerator(task.original.network, model, task.original.name, blueprint.builder, record, smaller)
    number_type = number_type if record is None and number_type in task.runtime.number_types else "float32"
    settings = ExportSettings(number_type=number_type, latency_rounds=ROUNDS, any_size=task.any_size)
    return write_edge(out, edge, task.runtime, settings, task.names, task.inputs, task.seed, task.say)


def _thinned(kept: int, task: _Task, inputs: TrainingInputs) -> Generator:
    """Return a version with fewer channels, trained on the generator's own pictures."""
    length = LATENT_LESSONS if task.original.example.dim() == 2 else PICTURE_LESSONS
    images, batch = length["train_images"], length["batch_size"]
    task.say(f"  training {kept} % of the channels on {images:,} of the generator's own images")
    return distil(task.original, kept, data=inputs, images=images, batch_size=batch, seed=task.seed)


def round_generator(
    original: nn.Module, blueprint: Blueprint, source: str, method: str, calibration: Tensor, seed: int
) -> tuple[nn.Module, Blueprint, CompressionRecord | None]:
    """Quantize a generator after or during training; `float` and a runtime's own quantizer change nothing here.

    Args:
        original: generator in floats; not changed.
        blueprint: description from which it is rebuilt.
        source: name of the generator in the record.
        method: see `compress`.
        calibration: calibration inputs (N, …).
        seed: seed of training inputs.

    Raises:
        ConfigError: if the method does not support a layer of the generator.
    """
    item = _item(method, calibration)
    if item is None:
        return original, blueprint, None
    more = training_inputs(calibration)
    given = CompressionData(calibration, seed, more, TrainingRun(seed, "compress"), torch.device("cpu"))
    model, made = apply_item(original, blueprint, item, given)
    return model, made, record_compression(model, source, weights_digest(original), 0.0, {}, calibration[:1])


def _own_quantizer(target: Target) -> str:
    """Return the first number type of a target's own quantizer.

    Raises:
        ConfigError: if it has none.
    """
    own = [name for name in target.number_types if target.quantizes(name)]
    if not own:
        raise ConfigError(
            f"the target '{target.name}' has no quantizer of its own, and keeps integers of ganpress only if "
            f"both weights and activations are integers; choose a method such as w8a8, or float"
        )
    return own[0]


def _item(method: str, calibration: Tensor) -> CompressItem | None:
    """Return the method if ganpress quantizes itself; None for floats and for the target's own quantizer."""
    rounding = Method(method, None, SHORT.get(method, method)).rounding
    if rounding is None:
        return None
    bits = {"weight_bits": rounding.weight_bits, "activation_bits": rounding.activation_bits}
    chosen: dict[str, Any] = {"name": "quantize", **bits}
    if rounding.trained:
        chosen = {"name": "qad", **bits, **(LATENT_LESSONS if calibration.dim() == 2 else PICTURE_LESSONS)}
    return CompressItem.model_validate({"generator": "teacher", "method": chosen})
