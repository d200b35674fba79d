"""Typed, frozen configuration: how sections are declared and read."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from ganpress.config.bounds import PATTERNS
from ganpress.config.yaml_text import parse_yaml, quoted, read_text
from ganpress.errors import ConfigError


class Section(BaseModel):
    """A section of params.yaml: frozen, every key declared, unknown keys and values of another type refused.

    Types are strict: `true` is not a number, 3.0 is not an integer, "3" is neither; 3 is accepted as a float, NaN and
    infinity are not.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        protected_namespaces=(),
        strict=True,
        allow_inf_nan=False,
        str_max_length=4096,
    )
    RENAMED: ClassVar[Mapping[str, str]] = {}
    """Former names of keys, with their present names."""


SectionT = TypeVar("SectionT", bound=Section)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping.

    Raises:
        ConfigError: if the file is missing, is not YAML, or is not a mapping.
    """
    try:
        content = parse_yaml(read_text(path), str(path))
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist; run from the project's root or name an existing file") from None
    if not isinstance(content, dict):
        found = "nothing" if content is None else type(content).__name__
        raise ConfigError(f"{path} must contain a mapping of sections, found {found}")
    return content


def parse_section(content: Mapping[str, Any], name: str, section: type[SectionT], origin: str) -> SectionT:
    """Parse section `name` of `content` into `section`.

    Raises:
        ConfigError: if a key is wrong; the message names every wrong key, its value and what is allowed.
    """
    if name not in content:
        raise ConfigError(f"{origin} has no section '{name}'; sections found: {', '.join(content) or 'none'}")
    return parse(content[name], section, f"{origin}: {name}")


def parse(content: Any, section: type[SectionT], origin: str) -> SectionT:
    """Parse `content` into `section`; the message of a `ConfigError` begins with `origin`."""
    try:
        return section.model_validate(content)
    except ValidationError as error:
        reasons = list(dict.fromkeys(filter(None, (_explain(item, section) for item in error.errors()))))
        more = [f"and {len(reasons) - MAX_REASONS} more"] if len(reasons) > MAX_REASONS else []
        raise ConfigError(f"{origin}: {'; '.join([*reasons[:MAX_REASONS], *more])}") from None


MAX_REASONS = 8
"""Largest number of errors that one message lists."""
TAGS = frozenset({"conditional", "unconditional", "[key]"})
"""Parts of pydantic's locations that are not keys: members of a union, or the marker of a key itself."""


def _explain(item: Any, section: type[BaseModel]) -> str | None:
    """Return the text of an error; None if another error of the same section reports it."""
    where = quoted(".".join(str(part) for part in item["loc"] if part not in TAGS), 200)[1:-1]
    if item["type"] == "value_error":  # Our validators' own message; pydantic's input would be the whole section.
        return f"{where}: {item['ctx']['error']}" if where else str(item["ctx"]["error"])
    if item["type"] in ("extra_forbidden", "missing"):
        return _explain_key(item, where, _section_at(item["loc"], section))
    pattern = item.get("ctx", {}).get("pattern")
    return f"'{where}' is {quoted(item['input'])}: {PATTERNS.get(pattern, item['msg'])}"


def _explain_key(item: Any, where: str, section: type[BaseModel]) -> str | None:
    """Return the message for a key that is missing, unknown or renamed."""
    key, renamed = str(item["loc"][-1]), getattr(section, "RENAMED", {})
    if item["type"] == "missing":
        is_renamed = isinstance(item["input"], dict) and any(
            old in item["input"] for old, new in renamed.items() if new == key
        )
        return None if is_renamed else f"key '{where}' is missing"
    if key in renamed:
        above = where.removesuffix(key)
        return f"'{where}' is called '{above}{renamed[key]}' now; rename the key"
    return f"unknown key '{where}' (allowed here: {', '.join(sorted(section.model_fields))})"


def _section_at(location: tuple[str | int, ...], section: type[BaseModel]) -> type[BaseModel]:
    """Return the section that holds the last part of `location`, walking through nested sections and dicts."""
    current: Any = section
    for part in location[:-1]:
        if isinstance(current, type) and issubclass(current, BaseModel):
            if str(part) not in current.model_fields:
                break
            current = current.model_fields[str(part)].annotation
        arguments = getattr(current, "__args__", ())
        models = [one for one in arguments if isinstance(one, type) and issubclass(one, BaseModel)]
        current = models[0] if models else current
    return current if isinstance(current, type) and issubclass(current, BaseModel) else section
