"""The pages that are made from code: parameters, commands, library.

    python -m docs.site.reference_pages

writes them into docs/reference; tests/test_documentation.py compares them with the code.
"""

import ast
import inspect
import textwrap
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

LIBRARY = (
    "ganpress.direct.generator",
    "ganpress.direct.library",
    "ganpress.direct.compressing",
    "ganpress.direct.edge_folder",
    "ganpress.applied.exported_on_pictures",
    "ganpress.training.distillation",
    "ganpress.training.feature_distillation",
    "ganpress.training.supernet_training",
    "ganpress.compression.quantization",
    "ganpress.compression.compressor",
    "ganpress.edge.targets.target",
    "ganpress.edge.proven_export",
    "ganpress.metrics.metric",
    "ganpress.files.checkpoint",
    "models.family",
)
"""Modules that a program of a user's would call."""


def pages() -> dict[str, str]:
    """The content of each page by its file's name."""
    return {"parameters.md": parameters_page(), "commands.md": commands_page(), "library.md": library_page()}


def main() -> None:
    """Write them."""
    folder = Path(__file__).resolve().parents[1] / "reference"
    folder.mkdir(exist_ok=True)
    for name, content in pages().items():
        (folder / name).write_text(content, encoding="utf-8")


def library_page() -> str:
    """Each module's public names with their docstrings."""
    return "# Library\n\n" + "\n\n".join(f"::: {module}" for module in LIBRARY) + "\n"


def parameters_page() -> str:
    """Each key of params.yaml with its type, range, default and meaning."""
    from ganpress.config.params import Params

    lines = ["# Parameters", "", "Every key of `params.yaml`. A recipe is a file that holds some of them.", ""]
    for name, field in Params.model_fields.items():
        key = field.alias or name
        lines += [f"## {key}", ""]
        sections = list(sections_of(field.annotation))
        if not sections:
            lines += [f"Type: `{plain_type(field)}`.", ""]
        for section in sections:
            lines += table_of(section, key)
    return "\n".join(lines) + "\n"


def table_of(section: type[BaseModel], key: str) -> list[str]:
    """The fields of a section, and behind them the sections inside it."""
    lines = [f"### `{key}`: {first_line(section)}", "", "| key | type and range | default | |", "|---|---|---|---|"]
    inner: list[str] = []
    words = meanings(section)
    for name, field in section.model_fields.items():
        own = field.alias or name
        sections = list(sections_of(field.annotation))
        default = "needed" if field.is_required() else f"`{shown(field.default)}`"
        kind = "a section, below" if sections else f"`{plain_type(field)}`".replace("|", "\\|")
        lines.append(f"| `{own}` | {kind} | {default} | {words.get(name, '')} |")
        many = ".<item>" if typing.get_origin(field.annotation) is dict else ""
        for one in sections:
            inner += table_of(one, f"{key}.{own}{many}")
    return [*lines, "", *inner]


def first_line(section: type[BaseModel]) -> str:
    """The first sentence of a class's docstring."""
    return (inspect.getdoc(section) or section.__name__).splitlines()[0]


def shown(default: Any) -> str:
    """A default as one would write it in YAML."""
    return "null" if default is None else str(default).lower() if isinstance(default, bool) else str(default)


def sections_of(annotation: Any) -> Iterator[type[BaseModel]]:
    """The sections that a type is made of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        return
    for part in typing.get_args(annotation):
        yield from sections_of(part)


def plain_type(field: FieldInfo) -> str:
    """A type and its bounds in one line."""
    bounds = [str(one) for one in field.metadata if type(one).__module__ == "annotated_types"]
    return "; ".join([type_name(field.annotation), *map(bound_name, bounds)])


def bound_name(bound: str) -> str:
    """`Ge(ge=16)` as `at least 16`."""
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below", "multiple_of": "a multiple of"}
    words |= {"min_length": "at least this long:", "max_length": "at most this long:"}
    inner = bound.partition("(")[2].rstrip(")")
    name, _, value = inner.partition("=")
    return f"{words[name]} {value}" if name in words else bound


def type_name(annotation: Any) -> str:
    """A type in words of Python, without what only validators read."""
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        bounds = [bound_name(str(one)) for one in parts[1:] if type(one).__module__ == "annotated_types"]
        inside = [one for meta in parts[1:] if isinstance(meta, FieldInfo) for one in meta.metadata]
        bounds += [bound_name(str(one)) for one in inside if type(one).__module__ == "annotated_types"]
        return "; ".join([type_name(parts[0]), *bounds])
    if origin is typing.Literal:
        return " | ".join(map(str, parts))
    if origin in (typing.Union, types.UnionType):
        return " | ".join("null" if one is type(None) else type_name(one) for one in parts)
    if origin is not None:
        return f"{origin.__name__}[{', '.join(type_name(one) for one in parts if one is not Ellipsis)}]"
    return getattr(annotation, "__name__", str(annotation))


def meanings(section: type[BaseModel]) -> dict[str, str]:
    """The docstring behind each field, of the section and those that it is made from."""
    found: dict[str, str] = {}
    for cls in reversed(section.__mro__):
        if not (issubclass(cls, BaseModel) and cls.__module__.startswith(("ganpress", "models"))):
            continue
        tree = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
        assert isinstance(tree, ast.ClassDef)
        for field, words in zip(tree.body, tree.body[1:], strict=False):
            told = isinstance(words, ast.Expr) and isinstance(words.value, ast.Constant)
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and told:
                found[field.target.id] = " ".join(str(words.value.value).split()).replace("|", "\\|")
    return found


def commands_page() -> str:
    """What `--help` says of each command."""
    import typer

    from flows.__main__ import app

    group: Any = typer.main.get_command(app)
    lines = ["# Commands", "", "What the user can fix ends in one line and exit code 2.", ""]
    for name, command in sorted(group.commands.items()):
        for path, one in flattened(f"ganpress {name}", command):
            lines += [f"## `{path}`", "", (one.help or "").split("\n\f")[0], "", *options_of(one)]
    return "\n".join(lines) + "\n"


def flattened(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    """A command, or those of a group."""
    if hasattr(command, "commands"):
        for name, one in sorted(command.commands.items()):
            yield from flattened(f"{path} {name}", one)
    else:
        yield path, command


def options_of(command: Any) -> list[str]:
    """A table of arguments and options."""
    rows = []
    for one in command.params:
        is_option = one.param_type_name == "option"
        name = ", ".join((*one.opts, *one.secondary_opts)) if is_option else one.metavar or one.name.upper()
        default = "" if one.default in (None, False, ()) or callable(one.default) else f"`{one.default}`"
        rows.append(f"| `{name}` | {default} | {(one.help or '').replace('|', chr(92) + '|')} |")
    return ["| | default | |", "|---|---|---|", *rows, ""] if rows else [""]


if __name__ == "__main__":
    main()
