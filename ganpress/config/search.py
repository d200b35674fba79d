"""Sections about finding and extracting a sub-generator."""

from typing import Literal

from pydantic import Field, model_validator

from ganpress.config.base import Section
from ganpress.config.training import DistillationTraining


class SearchConfig(Section):
    """Search over sub-generators under a hard budget (systems.md section 2)."""

    metric: Literal["is", "fid"]
    images: int = Field(ge=2)
    """Images that each sub-generator is scored on, against the validation split."""
    calibration_images: int = Field(ge=2)
    """Latents that re-calibrate the normalisation statistics of each sub-generator."""
    max_macs: int | None = Field(default=None, ge=1)
    max_parameters: int | None = Field(default=None, ge=1)
    exhaustive_limit: int = Field(ge=1)
    """Spaces up to this size are searched exhaustively, larger ones by NSGA-II."""
    population: int = Field(ge=4)
    generations: int = Field(ge=1)

    @model_validator(mode="after")
    def _budget(self) -> "SearchConfig":
        if self.max_macs is None and self.max_parameters is None:
            raise ValueError("a budget is needed: max_macs, max_parameters or both")
        return self


class SubnetConfig(Section):
    """Extraction of the best sub-generator."""

    fine_tuning: DistillationTraining | None = None
    """Continue distillation of the extracted network alone; None extracts it bit for bit."""
