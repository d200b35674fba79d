"""The complete params.yaml, for callers that must check all sections together."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from ganpress.config.base import Section, parse, read_yaml
from ganpress.config.bounds import Seed
from ganpress.config.data_section import DataConfig, PrepareConfig, ValidateConfig
from ganpress.config.edge_section import CompressConfig, EvaluateConfig, ExportConfig, ReportConfig
from ganpress.config.gates_section import GatesConfig
from ganpress.config.judge_section import JudgeConfig
from ganpress.config.resources_section import Resources
from ganpress.config.search_section import SearchConfig, SubnetConfig
from ganpress.config.sweep_section import SweepConfig
from ganpress.config.training_section import (
    CandidateConfig,
    ControlConfig,
    GeneratorItem,
    StudentConfig,
    SupernetConfig,
    TeacherConfig,
)
from ganpress.config.translation_section import CONDITIONAL, kind_of_training
from ganpress.registries import METRICS
from models.families import FAMILIES, is_for, split_name


class Params(Section):
    """All sections of params.yaml."""

    seed: Seed
    data: DataConfig
    validate_: ValidateConfig = Field(alias="validate")
    prepare: PrepareConfig
    judge: JudgeConfig
    candidate: CandidateConfig
    teacher: TeacherConfig
    student: StudentConfig
    control: ControlConfig
    supernet: SupernetConfig
    search: SearchConfig
    subnet: SubnetConfig
    compress: CompressConfig
    export: ExportConfig
    sweep: SweepConfig
    evaluate: EvaluateConfig
    report: ReportConfig
    gates: GatesConfig
    resources: Resources = Field(default_factory=dict)
    """Resources of a cluster's node for stages; used only with a cluster."""

    @model_validator(mode="after")
    def _sections_fit(self) -> "Params":
        """Refuse, before any work, settings that would fail only after all training."""
        plain = {"teacher", "subnet"} | _references("student", self.student.items)
        plain |= _references("control", self.control.items)
        for stage, items, known in (
            ("compress", self.compress.items, plain),
            ("export", self.export.items, plain | _references("compress", self.compress.items)),
        ):
            for name, item in items.items():
                if item.generator not in known:
                    allowed = ", ".join(sorted(known))
                    raise ValueError(f"{stage}.items.{name}.generator is '{item.generator}'; generators: {allowed}")
        if self.sweep.generator not in plain:
            raise ValueError(f"sweep.generator is '{self.sweep.generator}'; generators: {', '.join(sorted(plain))}")
        for key in ("kid_subset_size", "is_splits", "neighbours"):
            for name, images in (("evaluate", self.evaluate.images), ("sweep", self.sweep.images)):
                if getattr(self.evaluate, key) >= images:
                    found = f"evaluate.{key} is {getattr(self.evaluate, key)}"
                    raise ValueError(f"{found}; it must be below {name}.images = {images}")
        self._one_kind_of_data()
        self._metrics_can_be_measured()
        joint = any(item.loss == "joint" for item in self.student.items.values())
        objectives = self.student.adversarial.objective, self.candidate.training.objective
        if joint and self.student.adversarial.discriminator != "fresh" and objectives[0] != objectives[1]:
            raise ValueError(
                f"student.adversarial.objective is '{objectives[0]}', but the discriminator that a joint student "
                f"inherits was trained for '{objectives[1]}' (candidate.training.objective); make them equal, "
                "or set student.adversarial.discriminator to fresh"
            )
        return self

    def _one_kind_of_data(self) -> None:
        """Check that all training sections are for the same kind of data, and that losses and generators fit it."""
        kinds = {
            "candidate.training": self.candidate.training,
            "student.training": self.student.training,
            "control.training": self.control.training,
            "supernet.training": self.supernet.training,
            "subnet.fine_tuning": self.subnet.fine_tuning,
        }
        conditional = {name for name, one in kinds.items() if one is not None and kind_of_training(one) == CONDITIONAL}
        plain = {name for name, one in kinds.items() if one is not None} - conditional
        if conditional and plain:
            raise ValueError(
                f"{', '.join(sorted(conditional))} name a framework and train conditional generators, but "
                f"{', '.join(sorted(plain))} do not; give all of them one, or none"
            )
        for name, item in self.student.items.items():
            if (item.loss == "gan_compression") != bool(conditional):
                allowed = "gan_compression" if conditional else "mse or joint"
                raise ValueError(
                    f"student.items.{name}.loss is '{item.loss}'; with this student.training it is {allowed}"
                )
            if conditional and item.distances is not None:
                raise ValueError(
                    f"student.items.{name}.distances belong to students that read latents; the weights of this "
                    "student's loss are in student.training (lambda_recon, lambda_distill and so on)"
                )
        self._known_generators(bool(conditional))

    def _metrics_can_be_measured(self) -> None:
        """Check that the metric that selects generators fits the judge and the kind of data."""
        conditional = kind_of_training(self.candidate.training) == CONDITIONAL
        for name, metric in (("teacher", self.teacher.metric), ("search", self.search.metric)):
            needs = METRICS[metric].needs
            if "label_maps" in needs and self.judge.kind != "segmenter":
                raise ValueError(
                    f"{name}.metric is '{metric}', which needs judge.kind 'segmenter'; it is '{self.judge.kind}'"
                )
            if "truth" in needs and not conditional:
                raise ValueError(f"{name}.metric is '{metric}', which needs data with a target for every source")
        if self.gates.min_class_share is not None and self.judge.kind != "classifier":
            raise ValueError(
                f"gates.min_class_share needs judge.kind 'classifier', which knows the data's classes; it is "
                f"'{self.judge.kind}'"
            )

    def _known_generators(self, conditional: bool) -> None:
        items = {f"{stage}.items.{name}": item.generator_name for stage, name, item in self._generator_items()}
        for where, name in items.items() | {("supernet.family", self.supernet.family)}:
            try:
                family, spec = split_name(name)
            except ValueError as error:
                raise ValueError(f"{where}: {error}") from None
            if not is_for(family, conditional):
                kind = "conditional" if conditional else "unconditional"
                raise ValueError(f"{where} is '{name}', but the training sections are for {kind} data")
            misfit = FAMILIES[family].misfit if family in FAMILIES else None
            problem = misfit(spec, self.prepare.image_size, self.prepare.target_width) if misfit else None
            if problem is not None:
                raise ValueError(f"{where} {problem}")

    def _generator_items(self) -> Iterator[tuple[str, str, GeneratorItem]]:
        for stage, items in (("student", self.student.items), ("control", self.control.items)):
            yield from ((stage, name, item) for name, item in items.items())
        for name, candidate in self.candidate.items.items():
            if not candidate.imported:
                yield "candidate", name, candidate


def _references(stage: str, items: Mapping[str, object]) -> set[str]:
    return {f"{stage}/{item}" for item in items}


def load_params(path: Path) -> Params:
    """Read and check a whole params.yaml.

    Raises:
        ConfigError: if a key is wrong; the message names every wrong key.
    """
    return parse(read_yaml(path), Params, str(path))


def merge_overlay(base: dict[str, Any], overlay: dict[str, Any]) -> dict[str, Any]:
    """Apply a recipe to params: mappings are merged key by key, but `items` and all other values are replaced as a
    whole.

    A recipe with its own candidates or students replaces those of the base, and a training section with its own
    `framework` replaces the keys of another framework.
    """
    merged = dict(base)
    for key, value in overlay.items():
        known = merged.get(key)
        both_merge = key != "items" and isinstance(known, dict) and isinstance(value, dict) and "framework" not in value
        merged[key] = merge_overlay(known or {}, value) if both_merge else value
    return merged
