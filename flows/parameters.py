"""What a flow takes from whoever started it: a command line of this machine, or a server, where any client can ask."""

import math
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, StrictBool, StrictFloat, StrictInt, StrictStr, field_validator

from flows.environment import main_root
from flows.options import MAX_JOBS
from flows.worktree import find_recipe
from ganpress.config.base import Section, parse
from ganpress.errors import ConfigError

MAX_TEXTS = 1000
"""Stages or settings of one run."""
Text = Annotated[StrictStr, Field(min_length=1, max_length=10_000)]
Texts = Annotated[list[Text], Field(max_length=MAX_TEXTS)]


class FlowParameters(Section):
    """The parameters of `ganpress_pipeline`, each of its own type: nothing is converted."""

    stages: Texts | None = None
    from_stage: Text | None = None
    force: StrictBool = False
    recipe: Text | None = None
    settings: Texts | None = None
    jobs: Annotated[StrictInt, Field(ge=1, le=MAX_JOBS)] | None = None
    stage_timeout_s: StrictFloat | StrictInt | None = None
    replace_data: StrictBool = False

    @field_validator("stage_timeout_s")
    @classmethod
    def _is_time(cls, value: float | None) -> float | None:
        if value is not None and not (0 < value < math.inf):
            raise ValueError(f"stage_timeout_s is {value}; it must be a positive number of seconds")
        return value


def check_parameters(root: Path, served: bool, **given: Any) -> None:
    """Check what a flow was asked to do, before anything is started.

    Args:
        root: the project's root.
        served: whether a server started the flow; then recipes come from inside the project only.
        given: the parameters by name.

    Raises:
        ConfigError: if one is of the wrong type, out of its bounds, or names a recipe that may not be read.
    """
    parameters = parse(given, FlowParameters, "parameters of the flow")
    if parameters.stages and parameters.from_stage:
        raise ConfigError("stages and from_stage exclude each other; give one of them")
    if served:
        check_recipe_inside(root, parameters.recipe)


def check_recipe_inside(root: Path, recipe: str | None) -> None:
    """Refuse a recipe that a server may not name.

    Raises:
        ConfigError: if there is no such recipe, or it lies outside of the project.
    """
    if recipe is None:
        return
    main = main_root(root).resolve()
    try:
        path = find_recipe(main, recipe).resolve()
    except (OSError, ValueError) as error:  # a name that is too long, or holds a NUL
        raise ConfigError(f"no recipe {recipe[:100]!r} ({error}); name one of recipes/") from None
    if not path.is_relative_to(main):
        raise ConfigError(
            f"recipe {recipe} lies outside of the project, and a server starts runs with recipes from inside only; "
            f"copy it to {main / 'recipes'} and name it there"
        )
