"""The whole of params.yaml, for those who must check it at once."""

from pathlib import Path
from typing import Any

from pydantic import Field

from ganpress.config.base import Section, parse, read_yaml
from ganpress.config.data import DataConfig, PrepareConfig, ValidateConfig
from ganpress.config.edge import CompressConfig, EvaluateConfig, ExportConfig, ReportConfig
from ganpress.config.search import SearchConfig, SubnetConfig
from ganpress.config.training import (
    CandidateConfig,
    ControlConfig,
    JudgeConfig,
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
