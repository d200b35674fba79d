"""Files of `torch.export.save`: looked at before torch opens them, because it would unpickle some of what they hold.

An exported program is a program: it runs as the user, who names it. What is refused here is what no plain network needs
and what would run while the file is only opened: pickled weights, constants and objects, and expressions that torch
would evaluate as Python.
"""

import re
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ganpress.errors import CheckpointError, shown
from ganpress.files.checkpoint import load_weights_only
from ganpress.files.plain_values import LARGEST_JSON_BYTES, parse_json

NAMES = "Symbol|Integer|Add|Mul|Pow|Max|Min|Mod|FloorDiv|positive|integer|nonnegative|negative|nonzero|True|False"
EXPRESSION = re.compile(rf"(?>\b(?:{NAMES})\b|'?[a-z]\d++'?|[-\d\s(),=+*/])*+")
"""Sizes that depend on each other, as sympy writes them."""
OPERATOR = re.compile(
    r"torch\.ops\.(?:aten|prims)\.\w+(?:\.\w+)?|torch\.ops\.higher_order\.wrap_with_\w+|torch\.sym_\w+"
    r"|_operator\.(?:getitem|add|sub|mul|floordiv|truediv|mod|pow|neg|eq|ne|lt|le|gt|ge|and_|or_)"
)
"""Pattern of operators that a graph may call, because torch would look up and call any name."""


def load_exported(path: Path) -> Any:
    """Open an exported program, once it is known that nothing of it runs while it is opened.

    Raises:
        CheckpointError: if it is damaged, or would run code.
    """
    import torch

    check_exported(path)
    try:
        return torch.export.load(path)
    except Exception as error:  # torch raises many types for damaged files
        raise CheckpointError(f"{path} is a .pt2 program that cannot be read ({shown(error, 120)})") from None


def check_exported(path: Path) -> None:
    """Refuse an exported program that would run code while it is opened.

    Raises:
        CheckpointError: saying what it holds.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            for record in archive.infolist():
                _check_record(archive, record, path)
    except CheckpointError:
        raise
    except Exception:  # a damaged zip raises many types
        raise CheckpointError(f"{path} is no segmentation network: it is no whole .pt2 file") from None


def _check_record(archive: zipfile.ZipFile, record: zipfile.ZipInfo, path: Path) -> None:
    name = record.filename
    if record.compress_type != zipfile.ZIP_STORED or record.file_size > path.stat().st_size:
        raise CheckpointError(f"{path}: {shown(name)} is compressed, which torch.export.save never does; save it again")
    if name.endswith(".json"):
        if record.file_size > LARGEST_JSON_BYTES:
            raise CheckpointError(f"{path}: {shown(name)} has more than {LARGEST_JSON_BYTES:,} bytes")
        for key, value in _entries(parse_json(archive.read(record))):
            _check_entry(key, value, path)
    elif name.endswith(".pt"):  # example inputs, and the weights of earlier versions
        with tempfile.TemporaryDirectory() as folder:
            inner = Path(folder) / "inner.pt"
            inner.write_bytes(archive.read(record))
            load_weights_only(inner)


def _entries(value: Any) -> Iterator[tuple[str, Any]]:
    """Every name with its value, at any depth; JSON that was parsed is not nested without end."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            yield from one.items()
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one


def _check_entry(key: str, value: object, path: Path) -> None:
    wrong = (
        (key == "use_pickle" and value is not False)
        or (key == "path_name" and str(value).startswith(("custom_obj", "opaque_obj")))
        or (key == "expr_str" and not EXPRESSION.fullmatch(str(value)))
        or (key == "target" and isinstance(value, str) and "." in value and not OPERATOR.fullmatch(value))
        or (key == "guards_code" and bool(value))
    )
    if wrong:
        raise CheckpointError(
            f"{path} holds more than a plain network ({shown(key)}: {shown(value)}), which could run code while it is "
            "opened; save the network with torch.jit.save as .pt"
        )
