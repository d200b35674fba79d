"""Checks values from files against the type hints of dataclasses and functions.

The content of a foreign file is checked here once, before it is used; a wrong value is a `ValueError` that says where
it is, what is expected and what was found.
"""

import dataclasses
import inspect
import json
import math
import types
import typing
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from ganpress.errors import shown

LARGEST_JSON_BYTES = 64 * 2**20
"""Largest size of a file of facts that is read as a whole."""
T = TypeVar("T")


def read_json(path: Path, largest: int = LARGEST_JSON_BYTES) -> Any:
    """Read a JSON file of bounded size.

    Raises:
        OSError: if it cannot be opened.
        ValueError: if it is too large, not UTF-8 or not JSON.
    """
    return parse_json(read_bounded(path, largest))


def read_bounded(path: Path, largest: int = LARGEST_JSON_BYTES) -> bytes:
    """Read a file whole.

    Raises:
        OSError: if it cannot be opened.
        ValueError: if it is too large.
    """
    with path.open("rb") as file:
        content = file.read(largest + 1)
    if len(content) > largest:
        raise ValueError(f"it has more than {largest:,} bytes")
    return content


def parse_json(content: bytes) -> Any:
    """Read JSON.

    Raises:
        ValueError: if it is not UTF-8, not JSON, nested too deeply, has a number that is too long or not finite, or a
            duplicate name.
    """
    try:
        return json.loads(content.decode("utf-8"), parse_constant=_refuse_constant, object_pairs_hook=_named_once)
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8 (byte {error.start:,})") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON: line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ValueError as error:
        reason = "it has a number that is too long" if "digits" in str(error) else str(error)
        raise ValueError(reason) from None


def _named_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    named = dict(pairs)
    if len(named) < len(pairs):
        raise ValueError("it has a duplicate name")
    return named


def _refuse_constant(name: str) -> float:
    raise ValueError(f"it has the number {name}")


def dataclass_of(kind: type[T], content: object, where: str = "the file") -> T:
    """Build a frozen dataclass, including nested ones, from the content of a JSON file.

    Raises:
        ValueError: if a field is missing, unknown or of another type.
    """
    made: T = fit(content, kind, where)
    return made


def arguments_of(function: Callable[..., object], content: Mapping[str, object]) -> None:
    """Check that the signature of `function` allows `function(**content)`.

    Raises:
        ValueError: if an argument is missing, unknown or of another type.
    """
    parameters = _parameters(function)
    for name, value in content.items():
        if name not in parameters:
            raise ValueError(f"it has the argument '{shown(name)}', known are {', '.join(parameters)}")
        fit(value, parameters[name].annotation, f"argument '{name}'")
    for name, parameter in parameters.items():
        if parameter.default is parameter.empty and name not in content:
            raise ValueError(f"it lacks the argument '{name}'")


@lru_cache(maxsize=64)
def _parameters(function: Callable[..., object]) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(function).parameters


def fit(value: object, hint: Any, where: str) -> Any:
    """Check a value against a type hint.

    Args:
        value: value from JSON or torch: numbers, texts, lists, dicts.
        hint: its type; lists become tuples, and dicts dataclasses, according to it.
        where: name of the value in messages.

    Returns:
        the value of that type.

    Raises:
        ValueError: if it does not fit.
    """
    if hint is Any or hint is object or isinstance(hint, str | typing.ForwardRef):
        return value
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _fit_dataclass(value, hint, where)
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _fit_union(value, inner, where)
    if origin is typing.Literal:
        if not any(value == one and type(value) is type(one) for one in inner):
            raise _misfit(value, " or ".join(map(repr, inner)), where)
        return value
    if origin is not None:
        return _fit_container(value, origin, inner, where)
    return _fit_scalar(value, hint, where)


def _fit_scalar(value: object, hint: Any, where: str) -> Any:
    if hint is float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not _is_finite(value):
            raise _misfit(value, "a finite number", where)
        return value
    if hint is None or hint is type(None):
        if value is not None:
            raise _misfit(value, "nothing", where)
        return None
    names = {int: "a whole number", str: "text", bool: "true or false"}
    if type(value) is not hint:
        raise _misfit(value, names.get(hint, getattr(hint, "__name__", str(hint))), where)
    return value


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _fit_union(value: object, kinds: tuple[Any, ...], where: str) -> Any:
    reasons = []
    for kind in kinds:
        try:
            return fit(value, kind, where)
        except ValueError as error:
            reasons.append(str(error))
    raise ValueError(reasons[0] if len(kinds) == 2 and type(None) in kinds else _misfit(value, "something else", where))


def _fit_container(value: object, origin: Any, inner: tuple[Any, ...], where: str) -> Any:
    if issubclass(origin, Mapping):
        if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
            raise _misfit(value, "names with values", where)
        return {name: fit(one, inner[-1], f"{where}.{shown(name)}") for name, one in value.items()}
    if not isinstance(value, list | tuple):
        raise _misfit(value, "a list", where)
    if origin is tuple and not (len(inner) == 2 and inner[1] is Ellipsis):
        if len(value) != len(inner):
            raise _misfit(value, f"a list of {len(inner)}", where)
        return tuple(fit(one, kind, f"{where}[{n}]") for n, (one, kind) in enumerate(zip(value, inner, strict=True)))
    made = [fit(one, inner[0], f"{where}[{number}]") for number, one in enumerate(value)]
    return tuple(made) if origin is tuple else made


def _fit_dataclass(value: object, kind: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise _misfit(value, "names with values", where)
    hints, fields = _hints(kind), {field.name: field for field in dataclasses.fields(kind)}
    for name in value:
        if name not in fields:
            raise ValueError(f"{where} has the field '{shown(name)}', which is not known")
    for name, field in fields.items():
        if name not in value and field.default is field.default_factory is dataclasses.MISSING:
            raise ValueError(f"{where} lacks the field '{name}'")
    return kind(**{name: fit(one, hints[name], f"'{name}'") for name, one in value.items()})


@lru_cache(maxsize=64)
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _misfit(value: object, wanted: str, where: str) -> ValueError:
    kinds = {dict: "names with values", list: "a list", tuple: "a list", str: "text", bool: "true or false"}
    found = "nothing" if value is None else kinds.get(type(value)) or type(value).__name__
    if isinstance(value, float) or (type(value) is int and abs(value) < 10**12):
        found = str(value)
    return ValueError(f"{where} must be {wanted}, found {found}")
