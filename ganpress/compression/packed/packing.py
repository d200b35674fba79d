"""Packed model files of quantized generators: safetensors of b-bit integers in Zstandard frames.

`zstd -d` restores the plain safetensors file. Its metadata has one entry, `ganpress`, which is JSON: format, blueprint,
and bits and shape of each packed tensor (see `codes`; such a tensor is uint8). Integers that Zstandard (RFC 8878)
compresses below b bits are stored as plain int8. Its Huffman coding is within a few percent of the order-0 entropy;
docs/compression.md compares it with LZMA. Header, floats and integers have separate frames, because their statistics
differ: in a common frame, 4-bit integers take a tenth more.
"""

import math
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int8
from torch import Tensor, nn

from ganpress.basics.whole_files import write_whole
from ganpress.compression.packed import ganpack2
from ganpress.compression.packed.codes import pack_codes, unpack_codes
from ganpress.errors import CheckpointError, ConfigError, shown
from ganpress.files.blueprint_files import build_checked, read_blueprint
from ganpress.files.checkpoint import load_weights_
from ganpress.files.frames import MAGIC, decode_frames, frame_of, largest_content
from ganpress.files.plain_values import fit
from ganpress.files.tensor_files import MOST_DIMENSIONS, parts_by_type, read_tensors, tensor_bytes
from models.builders import Blueprint
from models.former_wdcgan import converted
from models.quantized_layers import QuantizedConv

FORMAT, FORMAT_VERSION = "ganpress-packed", 3


def check_levels(model: nn.Module) -> None:
    """Check that each output channel of each layer with b bits has at most 2^b different weights.

    Raises:
        ConfigError: if a channel has more; the message names the first one and its layer.
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
    """Write a generator, completely or not at all.

    Raises:
        ConfigError: if a layer's codes have more levels than its bits allow.
    """
    write_whole(path, packed(model, blueprint))


def packed(model: nn.Module, blueprint: Blueprint) -> bytes:
    """Return the content of a packed file.

    Raises:
        ConfigError: if a layer's codes have more levels than its bits allow.
    """
    check_levels(model)
    widths, codes = code_bits(model), {}
    state = model.state_dict()
    for name, bits in widths.items():
        content, coded = _both_codings(state[name], bits)
        if len(content) < len(coded):
            codes[name] = (bits, *state[name].shape)
            state[name] = torch.from_numpy(np.frombuffer(content, np.uint8).copy())
    facts = {"format": FORMAT, "version": FORMAT_VERSION, **asdict(blueprint), "codes": codes}
    return b"".join(map(_framed, parts_by_type(tensor_bytes(state, facts))))


def _framed(tensors: list[bytes]) -> bytes:
    """Compress all tensors in one frame, or each in its own, whichever is shorter."""
    return min(frame_of(b"".join(tensors)), b"".join(map(frame_of, tensors)), key=len)


def coded_bytes(codes: Int8[Tensor, "o ..."], bits: int) -> int:
    """Return the number of bytes of codes in a packed file."""
    return min(map(len, _both_codings(codes, bits)))


def _both_codings(codes: Int8[Tensor, "o ..."], bits: int) -> tuple[bytes, bytes]:
    codes = codes.detach().cpu().contiguous()
    return pack_codes(codes, bits), frame_of(codes.numpy().tobytes())


def load_packed(path: Path) -> tuple[nn.Module, Blueprint]:
    """Read a packed generator, in eval mode; every tensor is the one that was saved.

    Raises:
        CheckpointError: if the file is missing, truncated, changed or not a packed generator, or its content is larger
            than `ganpress.files.frames.largest_content` allows for a file of its size.
    """
    try:
        stored = path.read_bytes()
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from None
    if not stored.startswith((MAGIC, ganpack2.MAGIC)):
        raise CheckpointError(f"{path} is no packed generator (no Zstandard frame at its start)")
    try:
        return _decoded(stored, str(path))
    except ValueError as error:
        raise CheckpointError(f"{path} cannot be decoded: {error}; pack it again") from None


def _decoded(stored: bytes, origin: str) -> tuple[nn.Module, Blueprint]:
    codes: dict[str, tuple[int, ...]] = {}
    if stored.startswith(ganpack2.MAGIC):
        builder, arguments, state = ganpack2.read_ganpack2(stored)
    else:
        largest = largest_content(len(stored))
        state, facts = read_tensors(decode_frames(stored, largest))
        if not isinstance(facts, dict) or (facts.get("format"), facts.get("version")) != (FORMAT, FORMAT_VERSION):
            raise ValueError(f"it holds no generator in the format {FORMAT} {FORMAT_VERSION}")
        builder, arguments, codes = facts.get("builder"), facts.get("arguments"), _checked_codes(facts, state, largest)
    blueprint = read_blueprint(builder, arguments, origin)
    shapes = {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in state.items()}
    shapes |= {name: (torch.int8, tuple(shape)) for name, (_, *shape) in codes.items()}
    model = build_checked(blueprint, shapes, origin)
    for name, (bits, *shape) in codes.items():
        state[name] = unpack_codes(state[name].numpy().tobytes(), bits, shape, shown(name))
    load_weights_(model, state, origin)
    return converted(model.eval(), blueprint)


def _checked_codes(facts: dict[str, object], state: dict[str, Tensor], largest: int) -> dict[str, tuple[int, ...]]:
    """Return the shape of each packed tensor, after a check of its bits and size."""
    codes: dict[str, tuple[int, ...]] = fit(facts.get("codes"), dict[str, tuple[int, ...]], "'codes'")
    for name, described in codes.items():
        if name not in state or state[name].dtype != torch.uint8 or not _may_be_codes(*described):
            raise ValueError(f"its header describes '{shown(name)}' by values that no codes have")
    total = sum(math.prod(shape) for _, *shape in codes.values())
    if total > largest:
        raise ValueError(f"its codes are {total:,}, {largest:,} are allowed for a file of this size")
    return codes


def _may_be_codes(bits: int = 0, *shape: int) -> bool:
    return 2 <= bits <= 8 and 1 <= len(shape) <= MOST_DIMENSIONS and all(0 <= size < 2**31 for size in shape)


def code_bits(model: nn.Module) -> dict[str, int]:
    """Return the bits of each quantized weight tensor, by its name in the state."""
    return {
        f"{name}.weight" if name else "weight": layer.weight_bits
        for name, layer in model.named_modules()
        if isinstance(layer, QuantizedConv) and layer.weight_bits is not None
    }
