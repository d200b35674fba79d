"""The whole of params.yaml, for those who must check it at once."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from ganpress.config.base import Section, parse, read_yaml
from ganpress.config.data import DataConfig, PrepareConfig, ValidateConfig
from ganpress.config.edge import CompressConfig, EvaluateConfig, ExportConfig, ReportConfig
from ganpress.config.judge import JudgeConfig
from ganpress.config.search import SearchConfig, SubnetConfig
from ganpress.config.training import (
    CandidateConfig,
    ControlConfig,
    StudentConfig,
    SupernetConfig,
    TeacherConfig,
)


class Params(Section):
    """All sections of params.yaml."""

    seed: int = Field(ge=0)
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
    evaluate: EvaluateConfig
    report: ReportConfig

    @model_validator(mode="after")
    def _sections_fit(self) -> "Params":
        """Refuse before any work what would fail after all training."""
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
        for key in ("kid_subset_size", "is_splits", "neighbours"):
            if getattr(self.evaluate, key) >= self.evaluate.images:
                found = f"evaluate.{key} is {getattr(self.evaluate, key)}"
                raise ValueError(f"{found}; it must be below evaluate.images = {self.evaluate.images}")
        joint = any(item.loss == "joint" for item in self.student.items.values())
        objectives = self.student.adversarial.objective, self.candidate.training.objective
        if joint and objectives[0] != objectives[1]:
            raise ValueError(
                f"student.adversarial.objective is '{objectives[0]}', but the discriminator that a joint student "
                f"inherits was trained for '{objectives[1]}' (candidate.training.objective); make them equal"
            )
        return self


def _references(stage: str, items: Mapping[str, object]) -> set[str]:
    return {f"{stage}/{item}" for item in items}


def load_params(path: Path) -> Params:
    """Read and check a whole params.yaml.

    Raises:
        ConfigError: naming every wrong key.
    """
    return parse(read_yaml(path), Params, str(path))


def merge_overlay(base: dict[str, Any], overlay: dict[str, Any]) -> dict[str, Any]:
    """Lay a recipe over params: mappings merge key by key, but `items` and everything else is replaced whole.

    A recipe that names its own candidates or students does not want the base's beside them.
    """
    merged = dict(base)
    for key, value in overlay.items():
        known = merged.get(key)
        both_merge = key != "items" and isinstance(known, dict) and isinstance(value, dict)
        merged[key] = merge_overlay(known or {}, value) if both_merge else value
    return merged
