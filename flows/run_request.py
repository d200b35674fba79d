"""The request for a run, from a command line of this machine or from a server that any client can use."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from flows.environment import main_root
from flows.options import MAX_JOBS, MAX_RETRIES, MIN_TIMEOUT_S, STAGE_NAME, YEAR_S
from flows.worktree import find_recipe
from ganpress.config.base import Section, parse
from ganpress.config.bounds import LINE, FilePath
from ganpress.errors import ConfigError

MAX_TEXTS = 1000
"""Largest number of stages or settings of one run."""
StageName = Annotated[str, Field(min_length=1, max_length=STAGE_NAME, pattern=LINE)]
Setting = Annotated[str, Field(min_length=1, max_length=2**20, pattern=LINE)]


class RunRequest(Section):
    """The parameters of `flows.pipeline.ganpress_pipeline`, where each is documented; no value is converted."""

    stages: Annotated[list[StageName], Field(max_length=MAX_TEXTS)] | None = None
    from_stage: StageName | None = None
    force: bool = False
    recipe: FilePath | None = None
    settings: Annotated[list[Setting], Field(max_length=MAX_TEXTS)] | None = None
    jobs: Annotated[int, Field(ge=1, le=MAX_JOBS)] | None = None
    stage_timeout_s: Annotated[float, Field(ge=MIN_TIMEOUT_S, le=YEAR_S)] | None = None
    replace_data: bool = False
    strict_versions: bool = False
    retries: Annotated[int, Field(ge=0, le=MAX_RETRIES)] = 0
    overlap: Literal["queue", "cancel"] = "queue"

    @model_validator(mode="after")
    def _one_choice(self) -> Self:
        if self.stages and self.from_stage:
            raise ValueError("stages (--stage) and from_stage (--from) cannot be used together; give one of them")
        return self


def read_request(**given: Any) -> RunRequest:
    """Check the request for a run.

    Raises:
        ConfigError: if a parameter is unknown, of the wrong type or out of its bounds.
    """
    return parse(given, RunRequest, "this run")


def check_recipe_inside(root: Path, recipe: str | None) -> None:
    """Refuse a recipe that a server must not use.

    Raises:
        ConfigError: if there is no such recipe, or it is outside the project.
    """
    if recipe is None:
        return
    main = main_root(root).resolve()
    try:
        path = find_recipe(main, recipe).resolve()
    except (OSError, ValueError) as error:  # The name is too long or contains a NUL.
        raise ConfigError(f"no recipe {recipe[:100]!r} ({error}); name one of recipes/") from None
    if not path.is_relative_to(main):
        raise ConfigError(
            f"recipe {recipe} is outside the project, and a server runs only recipes inside it; "
            f"copy it to {main / 'recipes'} and use its name there"
        )
