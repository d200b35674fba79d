"""Packed model files of quantized generators: b bits a weight, then entropy coding; decoded at load, bit for bit.

    b"GANPACK1" | length of the header, 4 bytes | header | tensors, one after the other | sha256 of all before

The header is compressed JSON: blueprint, and of each tensor its name, shape and coding. Weights whose codes have b bits
are stored in the shortest of two ways: b bits each, or entropy-coded bytes. LZMA's range coder comes within a few
percent of the order-0 entropy of dense codes, and below it where pruning left runs of zeros.
"""

import hashlib
import json
import lzma
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ganpress.checkpoint import load_weights_
from ganpress.errors import CheckpointError, ConfigError
from models.builders import Blueprint
from models.quantized import QuantizedLayer
from models.quantized_layers import QuantizedConv

MAGIC = b"GANPACK1"
DIGEST_BYTES = 32
FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9, "lc": 0, "lp": 0, "pb": 0}]
"""Neighbouring codes tell nothing of each other: no context."""


@dataclass(frozen=True)
class Entry:
    """How one tensor is stored."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    """Of numpy: `float32`, `int8`, `uint8`, `int64`."""
    bits: int | None
    """Of each code where they are packed, else None."""
    entropy_coded: bool
    length: int
    """Bytes in the file."""


def pack_codes(codes: Tensor, bits: int) -> bytes:
    """Write signed codes with `bits` bits each, most significant first, padded with zeros to whole bytes.

    Args:
        codes: (O, …) int8 within -(2^(bits-1) - 1) … 2^(bits-1) - 1, so that no channel has more than 2^bits levels.
        bits: 2 to 8.

    Raises:
        ConfigError: if a code does not fit.
    """
    highest_code = 2 ** (bits - 1) - 1
    values = codes.numpy().astype(np.int16).reshape(-1)
    if values.size and np.abs(values).max() > highest_code:
        raise ConfigError(
            f"codes of {bits} bits lie within -{highest_code} … {highest_code}, found {values.min()} … {values.max()}"
        )
    shifts = np.arange(bits - 1, -1, -1, dtype=np.int16)
    return np.packbits(((values[:, None] + highest_code) >> shifts) & 1).tobytes()


def unpack_codes(content: bytes, bits: int, shape: Sequence[int]) -> Tensor:
    """Read what `pack_codes` wrote: int8, shaped."""
    count = math.prod(shape)
    spread = np.unpackbits(np.frombuffer(content, np.uint8), count=count * bits).reshape(count, bits)
    weights = (1 << np.arange(bits - 1, -1, -1)).astype(np.int16)
    values = spread.astype(np.int16) @ weights - (2 ** (bits - 1) - 1)
    return torch.from_numpy(values.astype(np.int8)).reshape(tuple(shape))


def save_packed(path: Path, model: nn.Module, blueprint: Blueprint) -> None:
    """Write a generator, whole or not at all.

    Raises:
        ConfigError: if a layer's codes have more levels than its bits allow.
    """
    widths = code_bits(model)
    entries, contents = [], []
    for name, tensor in model.state_dict().items():
        entry, content = _encode(name, tensor.detach().cpu().contiguous(), widths.get(name))
        entries.append(entry)
        contents.append(content)
    described = {"blueprint": asdict(blueprint), "tensors": [list(asdict(entry).values()) for entry in entries]}
    header = _compress(json.dumps(described, separators=(",", ":")).encode())
    content = b"".join((MAGIC, len(header).to_bytes(4, "little"), header, *contents))
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_bytes(content + hashlib.sha256(content).digest())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def load_packed(path: Path) -> tuple[nn.Module, Blueprint]:
    """Read a packed generator, in eval mode; every tensor is the one that was saved.

    Raises:
        CheckpointError: if the file is missing, truncated, changed, or not a packed generator.
    """
    try:
        whole = path.read_bytes()
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist") from None
    content, digest = whole[:-DIGEST_BYTES], whole[-DIGEST_BYTES:]
    if not whole.startswith(MAGIC):
        raise CheckpointError(f"{path} is no packed generator (no '{MAGIC.decode()}' at its start)")
    if hashlib.sha256(content).digest() != digest:
        raise CheckpointError(f"{path} is truncated or was changed: its digest does not fit; pack it again")
    start = len(MAGIC) + 4
    end = start + int.from_bytes(content[len(MAGIC) : start], "little")
    described = json.loads(_decompress(content[start:end]))
    blueprint, state = Blueprint(**described["blueprint"]), {}
    for values in described["tensors"]:
        entry = Entry(*values)
        state[entry.name] = _decode(entry, content[end : end + entry.length])
        end += entry.length
    model = blueprint.build()
    load_weights_(model, state, str(path))
    return model.eval(), blueprint


def code_bits(model: nn.Module) -> dict[str, int]:
    """Bits of each weight tensor that holds codes, by its name in the state."""
    return {
        f"{name}.weight" if name else "weight": layer.weight_bits
        for name, layer in model.named_modules()
        if isinstance(layer, QuantizedLayer | QuantizedConv) and layer.weight_bits is not None
    }


def _encode(name: str, tensor: Tensor, bits: int | None) -> tuple[Entry, bytes]:
    plain = tensor.numpy().tobytes() if bits is None else pack_codes(tensor, bits)
    coded = _compress(tensor.numpy().tobytes())
    shortest = min(plain, coded, key=len)
    shape, kind = tuple(tensor.shape), str(tensor.numpy().dtype)
    return Entry(name, shape, kind, bits, shortest is coded, len(shortest)), shortest


def _decode(entry: Entry, content: bytes) -> Tensor:
    if entry.bits is not None and not entry.entropy_coded:
        return unpack_codes(content, entry.bits, entry.shape)
    plain = _decompress(content) if entry.entropy_coded else content
    values = np.frombuffer(plain, entry.dtype).reshape(entry.shape)
    return torch.from_numpy(values.copy())


def _compress(content: bytes) -> bytes:
    return lzma.compress(content, lzma.FORMAT_RAW, filters=FILTERS)


def _decompress(content: bytes) -> bytes:
    return lzma.decompress(content, lzma.FORMAT_RAW, filters=FILTERS)
