"""Typed, frozen configuration: how sections are declared and read."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from ganpress.config.yaml_text import parse_yaml, read_text, shown
from ganpress.errors import ConfigError


class Section(BaseModel):
    """A section of params.yaml: frozen, every key declared, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


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
        raise ConfigError(f"{path} must hold a mapping of sections, found {found}")
    return content


def parse_section(content: Mapping[str, Any], name: str, section: type[SectionT], origin: str) -> SectionT:
    """Parse section `name` of `content` into `section`.

    Raises:
        ConfigError: naming every wrong key, what was found there and what is allowed.
    """
    if name not in content:
        raise ConfigError(f"{origin} has no section '{name}'; sections found: {', '.join(content) or 'none'}")
    return parse(content[name], section, f"{origin}: {name}")


def parse(content: Any, section: type[SectionT], origin: str) -> SectionT:
    """Parse `content` into `section`; `origin` opens the message of a `ConfigError`."""
    try:
        return section.model_validate(content)
    except ValidationError as error:
        raise ConfigError(f"{origin}: {'; '.join(_explain(item, section) for item in error.errors())}") from None


TAGS = frozenset({"conditional", "unconditional"})
"""Parts of pydantic's locations that name a member of a union and no key."""


def _explain(item: Any, section: type[BaseModel]) -> str:
    location = tuple(part for part in item["loc"] if part not in TAGS)
    where = ".".join(str(part) for part in location)
    if item["type"] == "value_error":  # our own words; pydantic's input would be the whole section
        return f"{where}: {item['ctx']['error']}" if where else str(item["ctx"]["error"])
    if item["type"] == "extra_forbidden":
        return f"unknown key '{where}' (allowed here: {', '.join(_siblings(item['loc'], section))})"
    if item["type"] == "missing":
        return f"key '{where}' is missing"
    return f"'{where}' is {item['input']!r}: {item['msg']}"


def _siblings(location: tuple[str | int, ...], section: type[BaseModel]) -> list[str]:
    """Return the keys allowed beside the last part of `location`, walking through nested sections and dicts."""
    current: Any = section
    for part in location[:-1]:
        if isinstance(current, type) and issubclass(current, BaseModel):
            if str(part) not in current.model_fields:
                break
            current = current.model_fields[str(part)].annotation
        arguments = getattr(current, "__args__", ())
        models = [one for one in arguments if isinstance(one, type) and issubclass(one, BaseModel)]
        current = models[0] if models else current
    fields = getattr(current, "model_fields", section.model_fields)
    return sorted(fields)
