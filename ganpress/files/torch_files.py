"""Reads files of `torch.save` that may come from a stranger: tensors and plain values, in bounded memory and time.

torch's own restricted reader (`weights_only=True`) runs no code. It trusts the declarations in a file, though:
a record may be compressed a thousandfold, a tensor may claim more than its record holds or show one number a billion
times, and a short program of allowed calls may build a value of any size. So the names and numbers in a file are
checked before torch reads it, records are mapped rather than unpacked, and the result is measured before it is used.
"""

import argparse
import codecs
import collections
import io
import pickletools
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy
import torch
from numpy._core.multiarray import scalar as _scalar
from torch import Tensor

from ganpress.errors import CheckpointError, shown
from ganpress.files.tensor_files import SUFFIX, read_tensor_file

LARGEST_PICKLE_BYTES = 4 * 2**20
"""Largest size of the names and plain values in a file; a tensor takes about 200 bytes of it."""
MOST_RECORDS = 50_000
"""Largest number of tensors and other entries of the archive."""
LONGEST_NUMBER_BYTES = 16
"""Largest number of bytes of an integer in a file."""
MOST_SHARING = 8
"""Largest ratio of the total size of the tensors to the size of the file, because tied weights are stored once."""
MOST_VALUES = 2_000_000
"""Largest total number of entries of all lists, tuples and dicts in a file."""
DEEPEST_VALUE = 64
"""Largest nesting depth of lists, tuples and dicts."""
ZIP_MAGIC = b"PK\x03\x04"
LEGACY_PICKLES = 5
"""Number of pickles in a file from before PyTorch 1.6: magic number, version, machine, content, keys of the tensors;
their bytes follow."""
KNOWN_CALLS = frozenset(
    (
        *("collections OrderedDict", "torch Size", "torch device", "torch Tensor"),
        *("torch.nn.parameter Parameter", "torch.nn.parameter Buffer", "torch._tensor _rebuild_from_type_v2"),
        *(f"torch._utils _rebuild_{name}" for name in ("tensor", "tensor_v2", "parameter", "parameter_with_state")),
    )
)
"""Names that a file of tensors and plain values may contain, besides number types and storages."""
BESIDE_WEIGHTS: dict[str, Any] = {
    "argparse Namespace": argparse.Namespace,
    "collections defaultdict": collections.defaultdict,
    "_codecs encode": codecs.encode,
    "numpy dtype": numpy.dtype,
    **{f"numpy.{core}.multiarray scalar": _scalar for core in ("core", "_core")},
}
"""Names in common checkpoints besides tensors, for settings and scores; none of them runs code when it is read."""


class ForeignCode(CheckpointError):
    """A file refers to classes of another program, for example because it is a whole pickled module."""


class _Refused(Exception):
    """Reason why a file is refused."""


class _Foreign(_Refused):
    """Placeholder for a name of a program that is not run."""


def is_archive(path: Path) -> bool:
    """Return whether a file has the format of torch.save since PyTorch 1.6, by its first bytes."""
    try:
        with path.open("rb") as file:
            return file.read(len(ZIP_MAGIC)) == ZIP_MAGIC
    except OSError:
        return False


def read_torch_file(path: Path, checkpoint: bool = False) -> object:
    """Load tensors and plain values, refusing pickled code; the tensors are copies, not parts of the file.

    Args:
        path: a file of `torch.save`, or safetensors.
        checkpoint: whether the harmless names of `BESIDE_WEIGHTS` are accepted, too.

    Raises:
        ForeignCode: if it refers to any other name.
        CheckpointError: if the file is missing, truncated, contains anything else, or its content is too large.
    """
    if path.suffix == SUFFIX:
        return read_tensor_file(path)[0]
    try:
        archived = is_archive(path)
        more = BESIDE_WEIGHTS if checkpoint else {}
        _check_archive(path, more) if archived else _check_legacy(path, more)
        allowed = [(one, name.replace(" ", ".")) for name, one in more.items()]
        dtypes = [type(numpy.dtype(kind)) for kind in numpy.sctypeDict.values()] if more else []
        with torch.serialization.safe_globals([*allowed, *dtypes]):
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=archived)
        return _Detached(path.stat().st_size).copy(content)
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist") from None
    except _Foreign as error:
        raise ForeignCode(f"{path} is damaged or not a weights file: {error}") from None
    except _Refused as error:
        raise CheckpointError(f"{path} is damaged or not a weights file: {error}") from None
    except Exception:
        # torch raises many types of errors for damaged files, and its messages advise to read the file unprotected.
        reason = "it holds no tensors and plain values that can be read; save `model.state_dict()`"
        raise CheckpointError(f"{path} is damaged or not a weights file: {reason}") from None


def _check_archive(path: Path, more: Mapping[str, Any]) -> None:
    with zipfile.ZipFile(path) as archive:
        records = archive.infolist()
        if len(records) > MOST_RECORDS:
            raise _Refused(f"it has {len(records):,} records, but only {MOST_RECORDS:,} are allowed")
        if any(record.compress_type != zipfile.ZIP_STORED for record in records):
            raise _Refused("its records are compressed, which torch.save never does; save it again")
        total, size = sum(record.file_size for record in records), path.stat().st_size
        if total > size:
            raise _Refused(f"its records declare {total:,} bytes, but the file has {size:,}")
        pickles = [record for record in records if record.filename.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise _Refused("it has no record data.pkl")
        if pickles[0].file_size > LARGEST_PICKLE_BYTES:
            raise _too_large(pickles[0].file_size)
        _check_pickle(io.BytesIO(archive.read(pickles[0])), more)


def _check_legacy(path: Path, more: Mapping[str, Any]) -> None:
    """Check a file from before PyTorch 1.6, which is a sequence of pickles."""
    with path.open("rb") as file:
        for _ in range(LEGACY_PICKLES):
            _check_pickle(file, more)


def _too_large(size: int) -> _Refused:
    return _Refused(f"its names and values take {size:,} bytes, {LARGEST_PICKLE_BYTES:,} are allowed")


def _check_pickle(file: Any, more: Mapping[str, Any]) -> None:
    """Parse the opcodes of one pickle up to its end without executing any."""
    start = file.tell()
    for operation, argument, position in pickletools.genops(file):
        if position is not None and position - start > LARGEST_PICKLE_BYTES:
            raise _too_large(position - start)
        if operation.name == "GLOBAL" and not _is_known(str(argument)) and str(argument) not in more:
            name = shown(str(argument).replace(" ", "."))
            raise _Foreign(f"it contains {name}, but only tensors and plain values are read; save `model.state_dict()`")
        if operation.name.startswith("LONG") and abs(int(argument or 0)).bit_length() > 8 * LONGEST_NUMBER_BYTES:
            raise _Refused(f"it contains a number of more than {LONGEST_NUMBER_BYTES} bytes")


def _is_known(name: str) -> bool:
    module, _, own = name.partition(" ")
    if module in ("torch", "torch.storage") and own.endswith("Storage"):
        return True
    return name in KNOWN_CALLS or (module == "torch" and isinstance(getattr(torch, own, None), torch.dtype))


class _Detached:
    """Copies and measures the loaded values: each stored block once, and the values around it.

    Args:
        file_bytes: size of the file, which its tensors can exceed only by sharing storage.
    """

    def __init__(self, file_bytes: int) -> None:
        self._file_bytes = file_bytes
        self._stored = self._shown = self._values = 0
        self._blocks: dict[tuple[int, int], torch.UntypedStorage] = {}
        self._copies: dict[int, Tensor] = {}
        """Copies by identity, because a dict in two places is visited twice."""

    def copy(self, value: Any, depth: int = 0) -> Any:
        """Return the same value with copied tensors."""
        if isinstance(value, Tensor):
            return self._copy_tensor(value)
        if not isinstance(value, dict | list | tuple):
            return value
        self._values += len(value)
        if depth > DEEPEST_VALUE or self._values > MOST_VALUES:
            raise _Refused(f"its values are nested deeper than {DEEPEST_VALUE}, or more than {MOST_VALUES:,}")
        if isinstance(value, dict):
            for key, one in value.items():
                if isinstance(key, Tensor):
                    raise _Refused("it has a tensor as a name")
                value[key] = self.copy(one, depth + 1)
            return value
        return type(value)(self.copy(one, depth + 1) for one in value) if type(value) in (list, tuple) else value

    def _copy_tensor(self, tensor: Tensor) -> Tensor:
        if id(tensor) in self._copies:
            return tensor
        self._check(tensor)
        storage = tensor.untyped_storage()
        place = storage.data_ptr(), storage.nbytes()
        if place not in self._blocks:
            self._stored += storage.nbytes()
            if self._stored > self._file_bytes:
                raise _Refused(f"its tensors declare more than the {self._file_bytes:,} bytes of the file")
            self._blocks[place] = storage.clone()  # type: ignore[no-untyped-call]
        copied = torch.empty(0, dtype=tensor.dtype)
        copied.set_(self._blocks[place], tensor.storage_offset(), tensor.shape, tensor.stride())
        if isinstance(tensor, torch.nn.Parameter):
            copied = torch.nn.Parameter(copied, tensor.requires_grad)
        self._copies[id(copied)] = copied
        return copied

    def _check(self, tensor: Tensor) -> None:
        if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
            raise _Refused("it contains a sparse, quantized or empty kind of tensor; save plain ones")
        size = tensor.numel() * tensor.element_size()
        self._shown += size
        if size > tensor.untyped_storage().nbytes():
            raise _Refused(
                f"a tensor of {tuple(tensor.shape)} refers to the same numbers several times; save "
                f"it with .contiguous()"
            )
        if self._shown > MOST_SHARING * self._file_bytes:
            raise _Refused(f"its tensors are more than {MOST_SHARING} times as large as the file")
