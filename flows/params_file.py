"""Edits of params.yaml that keep its comments and its order."""

import io
from pathlib import Path

from ganpress.basics.whole_files import write_whole
from ganpress.config.data_section import DataConfig


def set_data(root: Path, config: DataConfig) -> list[str]:
    """Let the data section of params.yaml say what `config` says.

    Returns:
        One line for each key that changed; the file is not written where there is none.
    """
    from ruamel.yaml import YAML

    path = root / "params.yaml"
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    content = yaml.load(path.read_text(encoding="utf-8"))
    section = content.setdefault("data", {})
    changes = []
    for key, value in config.model_dump().items():
        former = section.get(key)
        if former != value:
            section[key] = value
            changes.append(f"params.yaml: data.{key} {_words(former)} -> {_words(value)}")
    if changes:
        buffer = io.StringIO()
        yaml.dump(content, buffer)
        write_whole(path, buffer.getvalue())
    return changes


def _words(value: object) -> str:
    return "null" if value is None else str(value)
