"""The generators under evaluation in the stage `evaluate`: all that params.yaml names."""

import filecmp
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ganpress.config.edge_section import CompressConfig, ExportConfig, ExportItem
from ganpress.config.training_section import ControlConfig, StudentConfig
from ganpress.errors import ConfigError
from ganpress.files.checkpoint import load_model
from ganpress.files.edge_files import edge_name, parts_of
from ganpress.metrics.scoring import Generate
from ganpress.performance.generator_cost import Cost, generator_cost
from ganpress.registries import TARGETS
from models.builders import in_floats
from tasks.shared.item_generators import check_item
from tasks.shared.stage import Stage, require

TEACHER = "teacher"
SUBNET = "subnet"
EXTRACTED = "subnet/extracted"
"""Reference of the sub-generator as extracted from the supernet, before its fine-tuning."""


@dataclass(frozen=True)
class Subject:
    """One generator under evaluation."""

    reference: str
    path: Path
    base: str
    """Reference of the plain generator of which it is a compressed or exported version; its own if it is plain."""
    model_path: Path
    """Model file of its network; for an edge file, that of the generator from which it was written."""
    target: str = "onnx"
    """Runtime of an edge file; None for other generators."""

    @property
    def exported(self) -> bool:
        return self.reference.startswith("export/")

    @property
    def size_bytes(self) -> int:
        """Total size in bytes of all its files on disk."""
        return sum(one.stat().st_size for one in parts_of(self.path))

    @property
    def tracked(self) -> bool:
        """Whether it is the model of a stage; the extracted sub-generator is only a by-product."""
        return self.reference != EXTRACTED


def find_subjects(stage: Stage) -> list[Subject]:
    """List every generator that params.yaml names, teacher first, and check that each file is there.

    If the sub-generator was fine-tuned, the one before fine-tuning has its own row.

    Raises:
        ConfigError: if a compress or export item names a generator that does not exist.
        DataError: if a file is missing; the message names the stage that makes it.
    """
    compress, export = stage.section(CompressConfig, "compress").items, stage.section(ExportConfig, "export").items
    exports = {f"export/{item}": one for item, one in export.items()}
    sources = {f"compress/{item}": one.generator for item, one in compress.items()}
    sources |= {f"export/{item}": one.generator for item, one in export.items()}
    plain = [TEACHER]
    plain += [f"student/{item}" for item in stage.section(StudentConfig, "student").items]
    plain += [f"control/{item}" for item in stage.section(ControlConfig, "control").items]
    plain += [SUBNET]
    subjects = [_subject(stage, name, sources, plain, exports.get(name)) for name in [*plain, *sources]]
    extracted = stage.artifact(SUBNET) / "extracted.safetensors"
    if extracted.exists() and not filecmp.cmp(
        extracted, stage.artifact(SUBNET) / "generator.safetensors", shallow=False
    ):
        subjects.insert(len(plain), Subject(EXTRACTED, extracted, SUBNET, extracted))
    return subjects


def _subject(
    stage: Stage, reference: str, sources: Mapping[str, str], plain: list[str], export: ExportItem | None
) -> Subject:
    base = reference
    while base in sources:
        base = sources[base]
    if base not in plain:
        raise ConfigError(
            f"{reference} is made from '{base}', which is not a generator of this chain: {', '.join(plain)}"
        )
    made_by = reference.replace("/", "@")
    if export is None:
        model = require(stage.artifact(reference) / "generator.safetensors", made_by)
        return Subject(reference, model, base, model)
    path = require(stage.artifact(reference) / edge_name(export.target, export.packed), made_by)
    return Subject(reference, path, base, stage.artifact(sources[reference]) / "generator.safetensors", export.target)


def open_runner(stage: Stage, subject: Subject, threads: int) -> Generate:
    """Load a generator into its runtime: eager torch, or the target of an edge file.

    Raises:
        DataError: if a trained generator differs from what its item in params.yaml asks for.
        MissingTarget: if the target of an edge file is not installed.
        CheckpointError: if the file cannot be read, or an edge file does not match its card.
    """
    if subject.exported:
        from ganpress.edge.proof.edge_card import read_card

        if subject.path.with_name("card.json").exists():  # Runtimes load changed weights without an error.
            read_card(subject.path)
        return TARGETS[subject.target].open(subject.path, threads)
    generator, blueprint = load_model(subject.path)
    check_item(stage, subject.reference, blueprint)
    return generator


def float_cost(subject: Subject, example: Tensor) -> Cost:
    """Return the cost of a generator's float network on one input; quantization changes the number of bits, not the
    number of operations.

    Pruned channels are not counted.
    """
    return generator_cost(in_floats(*load_model(subject.model_path)), example)
