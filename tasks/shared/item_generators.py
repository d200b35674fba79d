"""Checks that a generator that a stage reads is the one that its item in params.yaml asks for."""

from collections.abc import Mapping

from torch import nn

from ganpress.config.training_section import CandidateConfig, ControlConfig, GeneratorItem, StudentConfig
from ganpress.data.prepared.arrays import read_meta
from ganpress.data.prepared.generator_inputs import canvas_of
from ganpress.errors import ConfigError, DataError
from ganpress.files.checkpoint import load_model
from models.builders import Blueprint, generator_blueprint
from tasks.shared.stage import Stage, require

TRAINED: dict[str, type[CandidateConfig] | type[StudentConfig] | type[ControlConfig]] = {
    "candidate": CandidateConfig,
    "student": StudentConfig,
    "control": ControlConfig,
}
"""Sections whose items specify their generators."""


def load_generator(stage: Stage, reference: str) -> tuple[nn.Module, Blueprint]:
    """Load the generator at `reference`, and check that it is the one that its item asks for.

    Args:
        stage: stage whose parameters are used.
        reference: `teacher`, `subnet`, `student/d2-mse`, `compress/subnet-int8`, …

    Raises:
        CheckpointError: if its file is damaged.
        DataError: if it does not exist yet, or differs from what params.yaml now asks for.
    """
    path = require(stage.artifact(reference) / "generator.safetensors", reference.replace("/", "@"))
    model, blueprint = load_model(path)
    check_item(stage, reference, blueprint)
    return model, blueprint


def check_item(stage: Stage, reference: str, blueprint: Blueprint) -> None:
    """Compare a trained generator with its item in params.yaml; imported networks and generators without an item are
    accepted.

    Raises:
        DataError: if they differ.
    """
    section, _, name = reference.partition("/")
    if section not in TRAINED or section not in stage.params or blueprint.builder == "imported":
        return
    items: Mapping[str, GeneratorItem] = stage.section(TRAINED[section], section).items
    item = items.get(name)
    if item is None or getattr(item, "imported", False) or item.generator_name.startswith("imported"):
        return
    wanted = _wanted(stage, item.generator_name)
    if wanted != blueprint:
        raise DataError(
            f"artifacts/{reference}/generator.safetensors is {_words(blueprint)}, but {section}.items.{name} of "
            f"params.yaml asks for {_words(wanted)}; run `dvc repro {section}@{name}` or `ganpress run`"
        )


def _wanted(stage: Stage, name: str) -> Blueprint:
    try:
        return generator_blueprint(name, canvas_of(read_meta(stage.artifact("prepare"))))
    except ValueError as error:
        raise ConfigError(f"{stage.label}: generator '{name}': {error}") from None


def _words(blueprint: Blueprint) -> str:
    return f"{blueprint.builder}({', '.join(f'{name}={value}' for name, value in blueprint.arguments.items())})"
