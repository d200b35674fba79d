"""Packed model files of quantized generators: b bits a weight, then entropy coding; decoded at load, bit for bit.

    b"GANPACK2" | length of the header, 4 bytes | header | tensors, one after the other | sha256 of all before

The header is compressed JSON: blueprint, and of each tensor its name, shape and coding. Weights whose codes have b bits
are stored in the shortest of two ways: b bits each, or entropy-coded bytes. The coder is Zstandard (RFC 8878), whose
Huffman codes come within a few percent of the order-0 entropy of codes; docs/compression.md compares it with LZMA.
"""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
import zstandard
from torch import Tensor, nn

from ganpress.basics.whole_files import write_whole
from ganpress.compression.packed.packed_header import Entry, read_header
from ganpress.errors import CheckpointError, ConfigError, shown
from ganpress.files.blueprint_files import build_checked, check_shapes, read_blueprint, shapes_of
from ganpress.files.frames import decode_frame, largest_content
from models.builders import Blueprint
from models.quantized import QuantizedLayer
from models.quantized_layers import QuantizedConv

MAGIC = b"GANPACK2"
DIGEST_BYTES = 32
LEVEL = 22
"""The slowest of Zstandard: a second for a million weights."""


def pack_codes(codes: Tensor, bits: int) -> bytes:
    """Write codes with `bits` bits each, most significant first, padded with zeros to whole bytes.

    Before them stands the smallest code of each output channel, one byte each, unless all codes are symmetric ones.

    Args:
        codes: (O, …) int8, at most 2^bits - 1 from the smallest to the largest of an output channel.
        bits: 2 to 8.

    Raises:
        ConfigError: if a code does not fit.
    """
    if not codes.numel():
        return b""
    values = codes.numpy().astype(np.int16).reshape(len(codes), -1)
    lowest = np.full(len(values), -(2 ** (bits - 1) - 1), np.int16)
    offsets = b""
    if not is_symmetric(codes, bits):
        lowest = values.min(1)
        offsets = lowest.astype(np.int8).tobytes()
    steps = values - lowest[:, None]
    if steps.max() > 2**bits - 1:
        raise ConfigError(
            f"codes of {bits} bits have {2**bits} levels in a channel, found {values.min()} … {values.max()}"
        )
    shifts = np.arange(bits - 1, -1, -1, dtype=np.int16)
    return offsets + np.packbits((steps.reshape(-1)[:, None] >> shifts) & 1).tobytes()


def unpack_codes(content: bytes, bits: int, shape: Sequence[int]) -> Tensor:
    """Read what `pack_codes` wrote: int8, shaped."""
    count = math.prod(shape)
    length = math.ceil(count * bits / 8)
    lowest = np.frombuffer(content[:-length], np.int8).astype(np.int16) if count else np.zeros(0, np.int16)
    if not lowest.size:
        lowest = np.full(shape[0], -(2 ** (bits - 1) - 1), np.int16)
    packed_bits = np.frombuffer(content, np.uint8)[-length or None :]
    spread = np.unpackbits(packed_bits, count=count * bits).reshape(count, bits)
    steps = spread.astype(np.int16) @ (1 << np.arange(bits - 1, -1, -1)).astype(np.int16)
    values = steps.reshape(shape[0], -1) + lowest[:, None] if count else steps
    return torch.from_numpy(values.astype(np.int8)).reshape(tuple(shape))


def is_symmetric(codes: Tensor, bits: int) -> bool:
    """Whether codes int8 lie within -(2^(bits-1) - 1) … 2^(bits-1) - 1."""
    return not codes.numel() or int(codes.to(torch.int16).abs().max()) <= 2 ** (bits - 1) - 1


def check_levels(model: nn.Module) -> None:
    """Check that a result of b bits is one: that each output channel of each layer has at most 2^b different weights.

    Raises:
        ConfigError: naming the first layer and channel that has more.
    """
    state = model.state_dict()
    for name, bits in code_bits(model).items():
        for place, channel in enumerate(state[name]):
            levels = len(channel.unique())
            if levels > 2**bits:
                raise ConfigError(
                    f"'{name}' is to have {bits} bits, but channel {place} has {levels} different weights"
                )


def save_packed(path: Path, model: nn.Module, blueprint: Blueprint) -> None:
    """Write a generator, whole or not at all.

    Raises:
        ConfigError: if a layer's codes have more levels than its bits allow.
    """
    write_whole(path, packed(model, blueprint))


def packed(model: nn.Module, blueprint: Blueprint) -> bytes:
    """The content of a packed file.

    Raises:
        ConfigError: if a layer's codes have more levels than its bits allow.
    """
    check_levels(model)
    widths = code_bits(model)
    entries, contents = [], []
    for name, tensor in model.state_dict().items():
        entry, content = _encode(name, tensor.detach().cpu().contiguous(), widths.get(name))
        entries.append(entry)
        contents.append(content)
    described = {"blueprint": asdict(blueprint), "tensors": [list(asdict(entry).values()) for entry in entries]}
    header = _compress(json.dumps(described, separators=(",", ":")).encode())
    whole = b"".join((MAGIC, len(header).to_bytes(4, "little"), header, *contents))
    return whole + hashlib.sha256(whole).digest()


def coded_bytes(codes: Tensor, bits: int) -> int:
    """Bytes that codes (O, …) int8 take in a packed file."""
    return _encode("", codes, bits)[0].length


def load_packed(path: Path) -> tuple[nn.Module, Blueprint]:
    """Read a packed generator, in eval mode; every tensor is the one that was saved.

    Raises:
        CheckpointError: if the file is missing, truncated, changed, no packed generator, or larger inside than
            `ganpress.files.frames.largest_content` allows a file of its size.
    """
    try:
        whole = path.read_bytes()
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from None
    content, digest = whole[:-DIGEST_BYTES], whole[-DIGEST_BYTES:]
    if not whole.startswith(MAGIC):
        raise CheckpointError(f"{path} is no packed generator (no '{MAGIC.decode()}' at its start)")
    if hashlib.sha256(content).digest() != digest:
        raise CheckpointError(f"{path} is truncated or was changed: its digest does not fit; pack it again")
    try:
        return _decoded(content, str(path))
    except ValueError as error:
        raise CheckpointError(f"{path} cannot be decoded: {error}; pack it again") from None


def _decoded(content: bytes, origin: str) -> tuple[nn.Module, Blueprint]:
    builder, arguments, entries, start = read_header(content, len(MAGIC))
    largest = largest_content(len(content))
    total = sum(entry.plain_bytes for entry in entries)
    if total > largest:
        raise ValueError(f"it decodes to {total:,} bytes, {largest:,} are allowed for a file of this size")
    blueprint = read_blueprint(builder, arguments, origin)
    stored = {entry.name: (getattr(torch, entry.dtype), entry.shape) for entry in entries}
    model = build_checked(blueprint, stored, origin)
    check_shapes(shapes_of(model), stored, origin)
    state = model.state_dict()
    for entry in entries:  # one after the other, so that no second copy of all of them is needed
        state[entry.name].copy_(_decode(entry, content[start : start + entry.length]))
        start += entry.length
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
        if len(content) - entry.packed_bytes not in (0, entry.shape[0] if entry.shape else 0):
            raise ValueError(f"'{shown(entry.name)}' has not the bytes of its codes")
        return unpack_codes(content, entry.bits, entry.shape)
    plain = decode_frame(content, entry.plain_bytes) if entry.entropy_coded else content
    if len(plain) != entry.plain_bytes:
        raise ValueError(f"'{shown(entry.name)}' has {len(plain):,} bytes, its shape needs {entry.plain_bytes:,}")
    values = np.frombuffer(plain, entry.dtype).reshape(entry.shape)
    return torch.from_numpy(values.copy())


def _compress(content: bytes) -> bytes:
    compressed: bytes = zstandard.ZstdCompressor(level=LEVEL).compress(content)
    return compressed
