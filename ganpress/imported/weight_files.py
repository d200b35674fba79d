"""Reads files with weights: identifies each by its first bytes, and returns its content.

Only tensors and plain values are read. A whole pickled module is a program, which is run only if the user trusts the
file.
"""

import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ganpress.errors import CheckpointError, shown
from ganpress.files.plain_values import read_json
from ganpress.files.tensor_files import SUFFIX, read_tensor_file
from ganpress.files.torch_files import ForeignCode, is_archive, read_torch_file
from ganpress.metrics.judges.exported_programs import load_exported

INDEX = ".index.json"
LARGEST_INDEX_BYTES = 64 * 2**20
MOST_SHARDS = 1_000
HEAD_BYTES = 512
FOLDER_FILES = (
    "diffusion_pytorch_model.safetensors.index.json", "model.safetensors.index.json",
    "diffusion_pytorch_model.safetensors", "model.safetensors", "diffusion_pytorch_model.bin", "pytorch_model.bin",
)  # fmt: skip
"""Names of the weights file in the folder of a published model; the first that exists is used."""
SUFFIXES = frozenset({SUFFIX, ".bin", ".ckpt", ".pt", ".pth"})

SAVE = "save `model.state_dict()` with torch.save"
FOREIGN: tuple[tuple[bytes, str], ...] = (
    (b"<", "a web page, not weights: the address leads to a page or asks for a login; download the file itself"),
    (b"version https://git-lfs", "a pointer of Git LFS, not weights: run `git lfs pull` where it comes from"),
    (b"\x89HDF", f"an HDF5 file, of Keras for one: load it into the torch module and {SAVE}"),
    (b"\x93NUMPY", f"one NumPy array, not named tensors: {SAVE}"),
    (b"\x1f\x8b", "a gzip archive: unpack it"),
    (b"7z\xbc\xaf", "a 7z archive: unpack it"),
    (b"{", f"text of JSON, not weights: give the file of tensors, or its {INDEX}"),
)
ONNX_WORDS = "an ONNX graph, whose weights have no names of layers: give the torch module's own weights"
NPZ_WORDS = "NumPy's .npz: `torch.save({name: torch.from_numpy(a) for name, a in numpy.load(FILE).items()}, 'w.pt')`"


def read_weights_file(path: Path, trusted: bool = False) -> object:
    """Read the content of a file, or of the folder of a published model.

    Args:
        path: torch's own files, safetensors whole or in shards, TorchScript, exported programs, or a folder of these.
        trusted: whether code in a pickled module may be run.

    Returns:
        Mappings and sequences of tensors and plain values.

    Raises:
        CheckpointError: if it is missing, damaged, or another kind of file; the message says which, and how to convert
            it.
    """
    if path.is_dir():
        path = _inside(path)
    if path.name.endswith(INDEX):
        return _shards(path)
    head = _head(path)
    if path.suffix == SUFFIX or head[8:9] == b"{":
        return read_tensor_file(path)[0]
    _refuse_others(path, head)
    if is_archive(path):
        kind = _archive_kind(path)
        if kind is not None:
            return kind
    try:
        return read_torch_file(path, checkpoint=True)
    except ForeignCode as error:
        if not trusted:
            raise CheckpointError(
                f"{error}; or, if you trust the file as you trust a program, add --trust, which runs its code"
            ) from None
    return _run(path)


def _inside(folder: Path) -> Path:
    for name in FOLDER_FILES:
        if (folder / name).is_file():
            return folder / name
    files = sorted(one for one in folder.iterdir() if one.suffix in SUFFIXES)
    if len(files) != 1:
        names = ", ".join(one.name for one in files[:8]) or "none"
        raise CheckpointError(f"{folder} is a folder with several files of weights or none ({names}); name the file")
    return files[0]


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(HEAD_BYTES)
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from None


def _refuse_others(path: Path, head: bytes) -> None:
    text = head.lstrip()
    words = next((words for magic, words in FOREIGN if text.startswith(magic)), None)
    if path.suffix == ".onnx" or (head[:1] == b"\x08" and b"onnx" in head.lower()):
        words = ONNX_WORDS
    if head[257:262] == b"ustar" and path.suffix != ".pt":
        words = "a tar archive: unpack it"
    if words is not None:
        raise CheckpointError(f"{path} is {words}")


def _shards(index: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of all files that an index names, which are beside it."""
    try:
        content = read_json(index, LARGEST_INDEX_BYTES)
        places = content["weight_map"]
        names = sorted({str(one) for one in places.values()})
    except FileNotFoundError:
        raise CheckpointError(f"{index} does not exist") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{index} is no index of shards ({shown(error)})") from None
    if len(names) > MOST_SHARDS or any(Path(name).name != name for name in names):
        raise CheckpointError(f"{index} names more than {MOST_SHARDS:,} files, or files that do not lie beside it")
    state: dict[str, torch.Tensor] = {}
    for name in names:
        part = read_weights_file(index.parent / name)
        state |= part if isinstance(part, dict) else {}
    missing = sorted(set(places) - set(state))
    if missing:
        raise CheckpointError(f"{index}: its files lack {len(missing)} tensors, the first is '{shown(missing[0])}'")
    return state


def _archive_kind(path: Path) -> object | None:
    """Return the content of an archive that is not from `torch.save`; None for one that is."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except Exception:  # a damaged directory raises many types, names that are no UTF-8 among them
        return None  # The reader of torch's files reports the error.
    ends = [name.rpartition("/")[2] for name in names]
    if ends and all(name.endswith(".npy") for name in ends):
        raise CheckpointError(f"{path} is {NPZ_WORDS} makes it readable")
    if "constants.pkl" in ends:
        return _script_state(path)
    if path.suffix == ".pt2" or "serialized_exported_program.json" in ends or "archive_format" in ends:
        return _program_state(path)
    if "data.pkl" not in ends:
        raise CheckpointError(f"{path} is a zip archive of other files ({shown(names[:3])}): unpack it")
    return None


def _script_state(path: Path) -> object:
    """Return the weights of a TorchScript file, without running its program."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that TorchScript is superseded
            program: Any = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
        return dict(program.state_dict())
    except Exception as error:
        raise CheckpointError(f"{path} is TorchScript that cannot be read ({shown(error, 120)}); {SAVE}") from None


def _program_state(path: Path) -> object:
    """Return the weights of an exported program."""
    return dict(load_exported(path).state_dict)


def _run(path: Path) -> object:
    """Unpickle a file that the user trusts, running its code; modules become their weights."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=False)
    except Exception as error:
        raise CheckpointError(
            f"{path} cannot be unpickled: {shown(f'{type(error).__name__}: {error}', 200)}; "
            "the modules that it names must be importable from here"
        ) from None
    return _without_modules(content)


def _without_modules(value: Any) -> Any:
    if isinstance(value, nn.Module):
        return dict(value.state_dict())
    if isinstance(value, Mapping):
        return {name: _without_modules(one) for name, one in value.items()}
    return value
