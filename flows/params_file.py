"""Edits params.yaml and keeps its comments and its order."""

import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ganpress.basics.whole_files import write_whole
from ganpress.config.data_section import DataConfig

ABSENT = object()


def data_values(config: DataConfig) -> dict[str, Any]:
    """Return the values that the data section should have, by dotted key."""
    return {f"data.{key}": value for key, value in config.model_dump(mode="json").items()}


def read_values(root: Path, keys: Iterable[str]) -> dict[str, Any]:
    """Return the present values of dotted keys; keys that are not in params.yaml are left out."""
    content = _loaded(root)
    found = {key: _found(content, key) for key in keys}
    return {key: value for key, value in found.items() if value is not ABSENT}


def set_values(root: Path, values: Mapping[str, Any]) -> list[str]:
    """Write values into params.yaml, by dotted key; no section is added, and no key whose value is the default.

    Returns:
        One line for each key that changed; the file is not written if none changed.
    """
    content = _loaded(root)
    changes = []
    for key, value in values.items():
        former = _found(content, key)
        *sections, name = key.split(".")
        section = _found(content, ".".join(sections))
        if former == value or section is ABSENT or (former is ABSENT and _is_default(key, value)):
            continue
        section[name] = _in_one_line(value)
        changes.append(f"params.yaml: {key} {_words(former)} -> {_words(value)}")
    if changes:
        buffer = io.StringIO()
        _yaml().dump(content, buffer)
        write_whole(root / "params.yaml", buffer.getvalue())
    return changes


def _yaml() -> Any:
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    return yaml


def _loaded(root: Path) -> Any:
    return _yaml().load((root / "params.yaml").read_text(encoding="utf-8"))


def _found(content: Any, key: str) -> Any:
    for one in key.split("."):
        if not isinstance(content, Mapping) or one not in content:
            return ABSENT
        content = content[one]
    return content


def _is_default(key: str, value: Any) -> bool:
    section, _, name = key.partition(".")
    return section == "data" and DataConfig.model_fields[name].default == value


def _in_one_line(value: Any) -> Any:
    """Return a list that is written as `[1, 3]`, and other values as they are."""
    if not isinstance(value, list):
        return value
    from ruamel.yaml.comments import CommentedSeq

    flat = CommentedSeq(value)
    flat.fa.set_flow_style()
    return flat


def _words(value: object) -> str:
    return "null" if value is None or value is ABSENT else str(value)
