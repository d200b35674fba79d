"""Checks the shapes and types of tensors and arrays in signatures, while the tests run.

jaxtyping's import hook wraps every function of the packages below as they are imported, and beartype compares each call
with its annotations. Only annotations that say a shape are compared: many tests hand over wrong words, numbers and
stand-ins on purpose, to see them refused by the code itself.
"""

from collections.abc import Callable
from typing import Any, get_args, get_origin

from beartype import beartype
from jaxtyping import AbstractArray, install_import_hook

CHECKED = ("models", "ganpress.training", "ganpress.metrics", "ganpress.compression")


def install() -> None:
    """Check these packages in this process from now on; they must not have been imported yet."""
    install_import_hook(CHECKED, f"{__name__}.{checked.__name__}")


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that compares its arrays with the shapes of its annotations; the function itself where it has none."""
    hints = function.__annotations__
    arrays = {name: hint for name, hint in hints.items() if has_array(hint)}
    if not arrays:
        return function
    function.__annotations__ = dict.fromkeys(hints, Any) | arrays
    return beartype(function)


def has_array(hint: Any) -> bool:
    """Whether an annotation says an array's shape, or holds one that does: `dict[str, Float[Tensor, "n"]]`."""
    origin = get_origin(hint)
    if isinstance(hint, type) and origin is None:
        return issubclass(hint, AbstractArray)
    return origin is not Callable and any(has_array(one) for one in get_args(hint))
