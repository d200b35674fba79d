"""The only reader of YAML that a user can write: bounded in size, without tags, and with the same values as DVC's
parser.

DVC also reads params.yaml, with another parser (ruamel.yaml, YAML 1.2). Plain text that common parsers read as
different values (`010`, `1_000`, `yes`, `1:30`, `0b1`, dates) is refused; in quotes it is text. libyaml gives events
and the tree is built here, because a loader builds the whole tree before its size can be limited.
"""

import math
import os
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ganpress.errors import ConfigError

MAX_BYTES = 2**20
"""Limits of a file that a user writes, or of the value of `--set`."""
MAX_BYTES_OF_DVC = 2**26
"""Limits of a file that DVC writes; dvc.lock grows with the number of stages."""
MAX_DEPTH = 32
"""Largest nesting depth of mappings and lists."""
MAX_NODES = 100_000
"""Largest number of values and keys; an alias counts as everything that it refers to."""
MAX_NODES_OF_DVC = 5_000_000
MAX_DIGITS = 40
"""Largest number of characters of a number; the bounds of fields are far below."""

Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's parser if PyYAML was built with it."""

NULLS = frozenset({"", "~", "null", "Null", "NULL"})
BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
INT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
FLOAT = re.compile(r"[-+]?(?:[0-9]+\.[0-9]*(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+|\.[0-9]+(?:[eE][-+][0-9]+)?)")
NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
NUMBER_OF_SOME = re.compile(
    r"[-+]?(?:0[bB][01_]+|0[oO]?[0-7_]+|0[xX][0-9a-fA-F_]+|[0-9._][0-9._:]*(?:[eE][-+]?[0-9_]+)?)"
)
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")
CONTROL_OF_DVC = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
"""DVC's own files may contain commands of several lines."""


class YamlRefused(Exception):
    """Reason why a text is refused; the reader adds the place."""

    def __init__(self, why: str, mark: Any = None) -> None:
        super().__init__(why)
        self.mark = mark


@dataclass(frozen=True)
class _Limits:
    nodes: int
    control: "re.Pattern[str]"
    strict: bool
    """Whether plain text that parsers read differently is refused; otherwise it is text, as it must be in files of
    DVC."""


OF_THE_USER = _Limits(MAX_NODES, CONTROL, True)
OF_DVC = _Limits(MAX_NODES_OF_DVC, CONTROL_OF_DVC, False)


def read_text(path: Path, max_bytes: int = MAX_BYTES) -> str:
    """Read a text file of at most `max_bytes`.

    Raises:
        FileNotFoundError: if the file does not exist.
        ConfigError: if it is not a regular file, cannot be read, is too large, or is not UTF-8.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116 (opening a pipe would wait for its other end)
            found = "a folder" if path.is_dir() else "a device or pipe"
            raise ConfigError(f"{path} is {found}, not a file; name a YAML file")
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{quoted(path)} cannot be read ({reason}); fix this, or name another file") from None
    if len(content) > max_bytes:
        raise ConfigError(f"{path} is larger than {max_bytes:,} bytes, the limit; shorten it")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{path}, line {line}: byte 0x{content[error.start]:02x} is not UTF-8; save the file as UTF-8"
        ) from None


def parse_yaml(text: str, origin: str, limits: _Limits = OF_THE_USER, wrong: str = "is not valid YAML") -> Any:
    """Parse one YAML document into mappings, lists, text, numbers, booleans and None.

    Args:
        text: the document.
        origin: start of an error message: the file or the option that `text` came from.
        limits: `OF_THE_USER`, or `OF_DVC` for dvc.yaml, dvc.lock and pins, which DVC writes.
        wrong: text of the message if `text` is not YAML at all.

    Raises:
        ConfigError: with line and column, if it is not YAML, exceeds a limit, or has a tag, a duplicate key, a key
            that is not text, an alias inside its own anchor, several documents, or plain text that parsers read
            differently.
    """
    if text.startswith("\ufeff"):
        raise ConfigError(f"{origin} starts with a byte order mark; save it as UTF-8 without one")
    try:
        text.encode("utf-8")
        return _Builder(limits).build(text)
    except YamlRefused as error:
        raise ConfigError(f"{origin}{_place(error.mark)}: {error}") from None
    except UnicodeEncodeError:
        raise ConfigError(f"{origin} is not UTF-8; write it in UTF-8") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        reason = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
        place = _place(mark).removeprefix(", ")
        reason = " ".join(reason.split())
        raise ConfigError(f"{origin} {wrong}: {f'{place}: ' if place else ''}{reason}") from None
    except RecursionError:  # Only PyYAML's own parser recurses; it is used if libyaml is missing.
        raise ConfigError(f"{origin}: mappings and lists are nested deeper than {MAX_DEPTH} levels") from None


def plain_value(text: str) -> Any:
    """Return the value of unquoted text, as in YAML 1.2 and DVC.

    Raises:
        YamlRefused: if parsers read it differently, or no parser should accept it.
    """
    if text in NULLS:
        return None
    if text in BOOLEANS:
        return BOOLEANS[text]
    if INT.fullmatch(text):
        return int(_short(text))
    if FLOAT.fullmatch(text) and math.isfinite(float(_short(text))):
        return float(text)
    if FLOAT.fullmatch(text) or NOT_FINITE.fullmatch(text):
        raise YamlRefused(f"{quoted(text)} is not a finite number; write a finite one, or null if the key has no value")
    if NUMBER_OF_SOME.fullmatch(text) or _is_value_of_some(text):
        raise YamlRefused(
            f"{quoted(text)} has different values in different YAML parsers; write numbers in plain decimals, "
            "booleans as true or false, and put text in quotes"
        )
    return text


def dump_yaml(content: Any) -> str:
    """Write values as YAML that `parse_yaml` and DVC read back as the same."""
    return str(yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True))


def quoted(value: object, limit: int = 80) -> str:
    """Return a value as Python writes it, text in quotes: on one line, no longer than `limit` characters."""
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 300:
        return f"a number of about {int(value.bit_length() * 0.30103) + 1:,} digits"
    if isinstance(value, Path):
        text = str(value)
    else:
        text = YAML_WORDS.get(repr(value), "") if value is None or isinstance(value, bool) else _repr(value)
    text = CONTROL.sub("?", text)
    return text if len(text) <= limit else f"{text[: limit - 20]}… ({len(text):,} characters)"


YAML_WORDS = {"True": "true", "False": "false", "None": "null"}


def _repr(value: object) -> str:
    try:
        return repr(value)
    except ValueError:  # A number inside it is too long for Python to print.
        return f"a {type(value).__name__} with a number of thousands of digits"


def _short(digits: str) -> str:
    if len(digits) > MAX_DIGITS:
        raise YamlRefused(f"this number has {len(digits):,} characters; write at most {MAX_DIGITS}")
    return digits


def _is_value_of_some(text: str) -> bool:
    """Return whether PyYAML, which most programs use, reads plain `text` as anything but text."""
    resolvers = yaml.SafeLoader.yaml_implicit_resolvers.get(text[:1], ())
    return text != "<<" and any(regexp.match(text) for _, regexp in resolvers)


def _place(mark: Any) -> str:
    return "" if mark is None else f", line {mark.line + 1}, column {mark.column + 1}"


@dataclass
class _Frame:
    """A mapping or list that is being read."""

    content: Any
    mark: Any
    anchor: str | None
    nodes_before: int
    key: Any = None
    has_key: bool = False
    lines: dict[str, int] = field(default_factory=dict)
    merged: list[Any] = field(default_factory=list)
    height: int = 1
    """Number of nesting levels of its content, including itself."""


@dataclass(frozen=True)
class _Anchored:
    content: Any
    nodes: int
    height: int


class _Builder:
    """Builds the tree of one document from parser events, within limits."""

    def __init__(self, limits: _Limits) -> None:
        self._limits = limits
        self._frames: list[_Frame] = []
        self._anchors: dict[str, _Anchored | None] = {}
        """Content of each anchor; None while it is still being read."""
        self._nodes = 0
        self._documents = 0
        self._result: Any = None

    def build(self, text: str) -> Any:
        take: dict[type, Callable[[Any], None]] = {
            yaml.ScalarEvent: self._scalar,
            yaml.AliasEvent: self._alias,
            yaml.MappingStartEvent: self._open,
            yaml.SequenceStartEvent: self._open,
            yaml.MappingEndEvent: self._close,
            yaml.SequenceEndEvent: self._close,
            yaml.DocumentStartEvent: self._document,
        }
        for event in self._events(text):
            handler = take.get(type(event))
            if handler:
                handler(event)
        return self._result

    def _events(self, text: str) -> Iterator[Any]:
        yield from yaml.parse(text, Loader=Loader)

    def _document(self, event: Any) -> None:
        self._documents += 1
        if self._documents > 1:
            raise YamlRefused("a second document begins here; keep one document in a file", event.start_mark)
        if event.version or event.tags:
            raise YamlRefused("directives (%YAML, %TAG) are not allowed; leave them out", event.start_mark)

    def _scalar(self, event: Any) -> None:
        self._check_tag(event)
        self._count(1, event)
        text = event.value
        if self._limits.control.search(text):
            found = quoted(self._limits.control.search(text)[0])  # type: ignore[index]
            raise YamlRefused(f"text holds the control character {found}; leave it out", event.start_mark)
        value = self._plain(text, event) if event.implicit[0] else text
        if text == "<<" and not (event.implicit[0] and self._awaits_key()):
            raise YamlRefused("<< is the key that merges mappings, and nothing else", event.start_mark)
        self._name(event, _Anchored(value, 1, 0))
        self._add(value, 0, event)

    def _plain(self, text: str, event: Any) -> Any:
        try:
            return plain_value(text)
        except YamlRefused as error:
            if not self._limits.strict:
                return text
            raise YamlRefused(str(error), event.start_mark) from None

    def _name(self, event: Any, anchored: _Anchored | None) -> None:
        if event.anchor in self._anchors:
            raise YamlRefused(
                f"anchor &{event.anchor} is defined here for the second time; rename it", event.start_mark
            )
        if event.anchor:
            self._anchors[event.anchor] = anchored

    def _alias(self, event: Any) -> None:
        if event.anchor not in self._anchors:
            raise YamlRefused(f"alias *{event.anchor} refers to no anchor above it", event.start_mark)
        anchored = self._anchors[event.anchor]
        if anchored is None:
            raise YamlRefused(
                f"alias *{event.anchor} is inside its own anchor; write the content out", event.start_mark
            )
        self._count(anchored.nodes, event)
        self._check_depth(len(self._frames) + anchored.height, event)
        self._add(anchored.content, anchored.height, event)

    def _open(self, event: Any) -> None:
        self._check_tag(event)
        if self._awaits_key():
            raise YamlRefused("a key must be text, not a list or mapping", event.start_mark)
        content: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
        before = self._nodes
        self._count(1, event)
        self._name(event, None)
        self._frames.append(_Frame(content, event.start_mark, event.anchor, before))
        self._check_depth(len(self._frames), event)

    def _close(self, event: Any) -> None:
        frame = self._frames.pop()
        for merged in frame.merged:
            for key, value in merged.items():
                frame.content.setdefault(key, value)
        if frame.anchor:
            self._anchors[frame.anchor] = _Anchored(frame.content, self._nodes - frame.nodes_before, frame.height)
        self._add(frame.content, frame.height, event)

    def _add(self, value: Any, height: int, event: Any) -> None:
        if not self._frames:
            self._result = value
            return
        frame = self._frames[-1]
        frame.height = max(frame.height, height + 1)
        if isinstance(frame.content, list):
            frame.content.append(value)
        elif not frame.has_key:
            frame.key, frame.has_key = self._checked_key(frame, value, event), True
        else:
            frame.has_key = False
            if frame.key == "<<":
                frame.merged += self._merged(value, event)
            else:
                frame.content[frame.key] = value

    def _checked_key(self, frame: _Frame, key: Any, event: Any) -> str:
        if not isinstance(key, str):
            raise YamlRefused(f"a key must be text, found {quoted(key)}; put it in quotes", event.start_mark)
        if key in frame.lines:
            raise YamlRefused(
                f"key {quoted(key)} occurs here for the second time (first in line {frame.lines[key]}); keep one",
                event.start_mark,
            )
        frame.lines[key] = event.start_mark.line + 1
        return key

    def _merged(self, value: Any, event: Any) -> list[Any]:
        values = value if isinstance(value, list) else [value]
        if not all(isinstance(one, dict) for one in values):
            raise YamlRefused("<< needs an alias of a mapping, or a list of them", event.start_mark)
        return values

    def _awaits_key(self) -> bool:
        return bool(self._frames) and isinstance(self._frames[-1].content, dict) and not self._frames[-1].has_key

    def _check_tag(self, event: Any) -> None:
        if event.tag is not None:
            raise YamlRefused(
                f"tag {quoted(event.tag)} is not allowed; write the value without a tag", event.start_mark
            )

    def _count(self, nodes: int, event: Any) -> None:
        self._nodes += nodes
        if self._nodes > self._limits.nodes:
            raise YamlRefused(
                f"more than {self._limits.nodes:,} values (with aliases written out) are not allowed; shorten it",
                event.start_mark,
            )

    def _check_depth(self, depth: int, event: Any) -> None:
        if depth > MAX_DEPTH:
            raise YamlRefused(
                f"mappings and lists are nested deeper than {MAX_DEPTH} levels; flatten them", event.start_mark
            )


class _Dumper(yaml.SafeDumper):
    """Quotes text wherever a parser could read it as another value."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    try:
        is_plain = plain_value(text) == text and not CONTROL.search(text)
    except YamlRefused:
        is_plain = False
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if is_plain and text != "<<" else '"')


_Dumper.add_representer(str, _represent_text)
