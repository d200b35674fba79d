"""Interprets the folders and tables of a user's pictures: enclosing folders, splits, classes, and skipped files."""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from ganpress.data.raw.file_tree import FileTree
from ganpress.data.raw.image_files import is_image_name
from ganpress.data.raw.limits import LARGEST_TEXT_BYTES
from ganpress.data.raw.raw_images import SPLIT_FOLDERS
from ganpress.errors import DataError, shown

SPLIT_WORDS = {**{name: name for name in SPLIT_FOLDERS}, "training": "train", "testing": "test"}
"""Common names of the folders of splits, in lower case, with their names here."""
TABLES = ("metadata.csv", "metadata.jsonl", "labels.csv", "dataset.json")
"""Files with labels beside the pictures: Hugging Face's image folders, plain tables, StyleGAN's `dataset.json`."""
NAME_COLUMNS = ("file_name", "filename", "file", "image", "path", "name")
LABEL_COLUMNS = ("label", "class", "class_name", "category", "labels")


@dataclass(frozen=True)
class Pictures:
    """Layout of a user's pictures for packing."""

    members: list[tuple[str, str]]
    """(name to write, name in the tree), sorted by the former: `train/<class>/x.png`, `<class>/x.png` or `x.png`."""
    notes: list[str]
    """Notes for the user: where the classes come from, and which files were left out."""


def find_pictures(tree: FileTree) -> Pictures:
    """Find splits and classes from the folders and tables of a tree, without decoding any picture.

    Raises:
        DataError: if a table of labels can't be read, or labels only a part of the pictures.
    """
    rooted = unwrapped(tree)
    names = [name for name in rooted.names if is_image_name(name)]
    labels, notes = _labels(rooted, set(names))
    written = {name: _labelled(_plain_split(name), labels.get(name)) for name in names}
    notes += left_out(name for name in rooted.names if name not in written and PurePosixPath(name).name not in TABLES)
    prefix = tree.names[0].removesuffix(rooted.names[0]) if tree.names else ""
    return Pictures(sorted((new, prefix + old) for old, new in written.items()), notes)


def unwrapped(tree: FileTree) -> FileTree:
    """Return the tree relative to the deepest folder that all pictures share, but above a folder of a split."""
    names = [name for name in tree.names if is_image_name(name)] or tree.names
    while names and all("/" in name for name in names):
        top = names[0].split("/", 1)[0]
        if top.lower() in SPLIT_WORDS or not all(name.startswith(f"{top}/") for name in names):
            break
        names, tree = [name.split("/", 1)[1] for name in names], tree.below(top)
    return tree


def _plain_split(name: str) -> str:
    top, slash, rest = name.partition("/")
    return f"{SPLIT_WORDS[top.lower()]}/{rest}" if slash and top.lower() in SPLIT_WORDS else name


def _labelled(name: str, label: str | None) -> str:
    if label is None:
        return name
    top, slash, rest = name.partition("/")
    split, inside = (f"{top}/", rest) if slash and top in SPLIT_FOLDERS else ("", name)
    return f"{split}{class_folder(label)}/{inside.replace('/', '_')}"


def class_folder(label: str) -> str:
    """Return a class's name as a folder name."""
    return label.replace("/", "_").replace("\\", "_").strip(". ") or "_"


def left_out(names: Iterable[str]) -> list[str]:
    """Return a line that counts files by their suffix; empty if there are no files."""
    kinds = Counter(PurePosixPath(name).suffix.lower() or "without suffix" for name in names)
    if not kinds:
        return []
    counted = ", ".join(f"{count:,} {kind}" for kind, count in kinds.most_common(6))
    more = f" and {len(kinds) - 6} further kinds" if len(kinds) > 6 else ""
    files = "1 file was" if kinds.total() == 1 else f"{kinds.total():,} files were"
    return [f"{files} left out, because they are not supported pictures: {counted}{more}"]


def _labels(tree: FileTree, pictures: set[str]) -> tuple[dict[str, str], list[str]]:
    """Read the labels of every table of the tree.

    Returns:
        The label of each picture by its name, empty if there is no table, and a note about it.
    """
    found: dict[str, str] = {}
    tables = [name for name in tree.names if PurePosixPath(name).name in TABLES and name.count("/") <= 1]
    notes = []
    for table in tables:
        folder = table.rpartition("/")[0]
        content = _read_table(tree, table)
        named = ((f"{folder}/{name}" if folder else name, label) for name, label in _labelled_rows(content))
        rows = {name: label for name, label in named if name in pictures}
        found |= rows
        if rows:
            notes.append(f"the labels of {table} give {len(set(rows.values()))} classes to {len(rows):,} pictures")
        else:
            notes.append(f"{table} labels no picture: {_why_not(content)}")
    absent = sorted(pictures - set(found))
    if found and absent:
        raise DataError(
            f"{tree.where}: {', '.join(tables)} label {len(found):,} of {len(pictures):,} pictures, and not "
            f"{shown(absent[0])}; label all of them or none"
        )
    return found, notes


def _read_table(tree: FileTree, table: str) -> list[dict[str, Any]]:
    """Read the rows of a table.

    Raises:
        DataError: if it is too large or damaged.
    """
    where = f"{tree.where}: {table}"
    content = tree.read(table)
    if len(content) > LARGEST_TEXT_BYTES:
        raise DataError(f"{where} has more than the {LARGEST_TEXT_BYTES:,} bytes that are allowed for a table")
    try:
        text = content.decode("utf-8-sig")
        rows = list(_json_rows(text, table)) if table.endswith(("json", "jsonl")) else _csv_rows(text)
        if not all(isinstance(row, dict) for row in rows):
            raise ValueError("a row is not an object")
    except (ValueError, RecursionError, csv.Error, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{where} cannot be read ({shown(error, 120)}); fix it or remove it") from None
    return rows


def _csv_rows(text: str) -> list[dict[str, Any]]:
    """Return the rows of a table whose columns are separated by commas, semicolons or tabs, whichever is most frequent
    in its first line.
    """
    first = text.partition("\n")[0]
    return list(csv.DictReader(io.StringIO(text), delimiter=max(",;\t", key=first.count)))


def _labelled_rows(rows: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Yield (picture, label) of each row that has both."""
    for row in rows:
        name, label = _first(row, NAME_COLUMNS), _first(row, LABEL_COLUMNS)
        if isinstance(name, str) and isinstance(label, str | int) and str(label).strip():
            yield name.strip(), str(label).strip()


def _why_not(rows: list[dict[str, Any]]) -> str:
    columns = list(dict.fromkeys(str(name) for row in rows[:100] for name in row))
    for wanted, what in ((NAME_COLUMNS, "file names"), (LABEL_COLUMNS, "labels")):
        if not set(wanted) & set(columns):
            return f"it has no column of {what} ({', '.join(wanted)}); it has {', '.join(columns[:8]) or 'no row'}"
    return "its file names match no picture, or its labels are empty"


def _json_rows(text: str, table: str) -> Iterator[dict[str, Any]]:
    if table.endswith("jsonl"):
        yield from (json.loads(line) for line in text.splitlines() if line.strip())
    else:
        yield from ({"file_name": name, "label": label} for name, label in json.loads(text).get("labels") or ())


def _first(row: dict[str, Any], columns: tuple[str, ...]) -> object:
    return next((row[column] for column in columns if row.get(column) is not None), None)
