"""Reads and writes safetensors: named tensors with a JSON header, readable in any language and without code.

The library maps bytes to tensors, and refuses tensors that overlap, leave gaps or exceed the file. It accepts a header
of 100 MB, though, and the last of two entries with the same name, so the header is checked here first.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load, save
from torch import Tensor

from ganpress.errors import CheckpointError, shown
from ganpress.files.plain_values import fit, parse_json

SUFFIX = ".safetensors"
FACTS = "ganpress"
"""The only entry of the header's metadata, which is JSON; several entries would be written in varying order."""
METADATA = "__metadata__"
LENGTH_BYTES = 8
LARGEST_HEADER_BYTES = 16 * 2**20
MOST_DIMENSIONS = 8


def tensor_bytes(state: Mapping[str, Tensor], facts: Mapping[str, object]) -> bytes:
    """Return the content of a file; the same tensors and facts give the same bytes.

    Args:
        state: tensors by name; tied ones are written once each, as a reader of another language expects.
        facts: plain values that JSON supports.
    """
    copies = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
    return save(copies, {FACTS: json.dumps(facts, separators=(",", ":"))})


def read_tensors(content: bytes) -> tuple[dict[str, Tensor], Any]:
    """Return the tensors by name, and the facts that `tensor_bytes` was given; None for a foreign file.

    Raises:
        ValueError: if it is not a complete safetensors file.
    """
    metadata = _header(content).get(METADATA, {})
    facts = fit(metadata, dict[str, str], "the metadata of its header").get(FACTS)
    try:
        state = load(content)
    except Exception as error:  # of the library, of torch, and a KeyError for a number type that torch has not
        raise ValueError(f"it is not a safetensors file ({shown(error)})") from None
    if any(tensor.ndim > MOST_DIMENSIONS for tensor in state.values()):
        raise ValueError(f"it has a tensor of more than {MOST_DIMENSIONS} dimensions")
    return state, None if facts is None else parse_json(facts.encode())


def read_tensor_file(path: Path) -> tuple[dict[str, Tensor], Any]:
    """As `read_tensors`.

    Raises:
        CheckpointError: if the file is missing, damaged or of another format.
    """
    try:
        return read_tensors(path.read_bytes())
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise CheckpointError(f"{path} is damaged or not a weights file: {error}") from None


def parts_by_type(content: bytes) -> list[list[bytes]]:
    """The header alone, then the tensors of each number type: the library lays those of one type side by side."""
    start = LENGTH_BYTES + int.from_bytes(content[:LENGTH_BYTES], "little")
    entries = [entry for name, entry in _header(content).items() if name != METADATA]
    parts = {"": [content[:start]]}
    for entry in sorted(entries, key=lambda entry: entry["data_offsets"]):
        one, other = entry["data_offsets"]
        parts.setdefault(entry["dtype"], []).append(content[start + one : start + other])
    return list(parts.values())


def _header(content: bytes) -> dict[str, Any]:
    length = int.from_bytes(content[:LENGTH_BYTES], "little")
    if length > min(LARGEST_HEADER_BYTES, len(content) - LENGTH_BYTES):
        raise ValueError(
            f"its header is declared to have {length:,} bytes, but only {LARGEST_HEADER_BYTES:,} are allowed"
        )
    header = parse_json(content[LENGTH_BYTES : LENGTH_BYTES + length])
    if not isinstance(header, dict):
        raise ValueError("its header has no names")
    return header
