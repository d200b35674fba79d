"""Model files: safetensors of the weights and the blueprint that rebuilds them, never a pickled module."""

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from ganpress.basics.whole_files import write_whole
from ganpress.errors import CheckpointError, shown
from ganpress.files.blueprint_files import build_checked, check_shapes, read_blueprint, shapes_of
from ganpress.files.tensor_files import read_tensor_file, tensor_bytes
from ganpress.files.torch_files import is_archive, read_torch_file
from models.builders import Blueprint
from models.former_wdcgan import converted

FORMAT = "ganpress-model"
FORMAT_VERSION = 1


def save_model(path: Path, model: nn.Module, blueprint: Blueprint) -> None:
    """Write `model` as state_dict + builder name + arguments + format version + their digest, atomically."""
    state = model.state_dict()
    facts = {"format": FORMAT, "version": FORMAT_VERSION, **asdict(blueprint)}
    write_whole(path, tensor_bytes(state, {**facts, "sha256": _content_digest(blueprint, state)}))


def load_model(path: Path, expected_builder: str | None = None) -> tuple[nn.Module, Blueprint]:
    """Read a model file and rebuild its module in eval mode, on the CPU.

    Raises:
        CheckpointError: if the file is missing, damaged, changed since it was written, of another format or version,
            from a builder other than `expected_builder`, or its weights do not fit (the message names the first
            mismatching tensor).
    """
    content = read_model_file(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(f"{path} is not a ganpress model file (no '{FORMAT}' header)")
    if type(content.get("version")) is not int or content["version"] != FORMAT_VERSION:
        found = shown(content.get("version"))
        raise CheckpointError(f"{path} has format version {found}, but this program reads {FORMAT_VERSION}")
    blueprint = read_blueprint(content.get("builder"), content.get("arguments"), str(path))
    if expected_builder is not None and blueprint.builder != expected_builder:
        raise CheckpointError(f"{path} holds a '{blueprint.builder}', but a '{expected_builder}' is needed here")
    state = named_tensors(content.get("state_dict"), str(path))
    # Checksums of neither format are checked, so without this digest a flipped bit would not be detected.
    expected = content.get("sha256")  # Older files have no digest.
    model = build_checked(blueprint, {name: (one.dtype, tuple(one.shape)) for name, one in state.items()}, str(path))
    load_weights_(model, state, str(path))
    if expected is not None and expected != _content_digest(blueprint, model.state_dict()):
        raise CheckpointError(f"{path} was changed after it was written: its digest does not match; create it again")
    return converted(model.eval(), blueprint)


def read_model_file(path: Path) -> object:
    """Return the facts of a model file, and its tensors as `state_dict`; files from before safetensors are one such
    dict.

    Raises:
        CheckpointError: if the file is missing, truncated or holds anything else.
    """
    if is_archive(path):
        return read_torch_file(path)
    state, facts = read_tensor_file(path)
    return {**facts, "state_dict": state} if isinstance(facts, dict) else facts


def _content_digest(blueprint: Blueprint, state: Mapping[str, torch.Tensor]) -> str:
    """Return the sha256 of a model's blueprint and of every tensor: name, type, shape and bytes."""
    digest = hashlib.sha256(json.dumps([blueprint.builder, blueprint.arguments]).encode())
    for name, tensor in state.items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def named_tensors(content: object, origin: str) -> dict[str, torch.Tensor]:
    """Check that the content of a file is a state_dict.

    Raises:
        CheckpointError: if it has anything but named tensors.
    """
    if not isinstance(content, dict):
        raise CheckpointError(f"{origin} holds no named tensors: save `model.state_dict()`")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise CheckpointError(f"{origin} holds a {type(value).__name__} under '{shown(name)}', not a tensor")
    return content


def load_weights_(model: nn.Module, state: object, origin: str) -> None:
    """Copy `state`, named tensors, into `model`, in place.

    Raises:
        CheckpointError: if a tensor is missing, unexpected, or of another shape or kind of number; the message names
            the first.
    """
    own, state = model.state_dict(), named_tensors(state, origin)
    shapes = {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in state.items()}
    for name, (dtype, shape) in shapes.items():  # Floats of another precision are converted, integers are not.
        if name in own and dtype.is_floating_point and own[name].dtype.is_floating_point:
            shapes[name] = own[name].dtype, shape
    check_shapes(shapes_of(model), shapes, origin)
    model.load_state_dict(state)


def load_weights_only(path: Path) -> object:
    """Load tensors and plain values from a torch file, refusing pickled code; see `ganpress.files.torch_files`.

    Raises:
        CheckpointError: if the file is missing, truncated or holds anything else.
    """
    return read_torch_file(path)


def save_atomically(path: Path, content: object) -> None:
    """Write with `torch.save`, atomically, for values that safetensors cannot store, such as the nested state of an
    optimizer.

    Written through a buffer: same content gives the same bytes (torch writes a file's path into its archive), and a
    full disk is an `OSError` that says so (torch's own writer hides it).
    """
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_whole(path, buffer.getbuffer())


def file_digest(path: Path, algorithm: Literal["md5", "sha256"]) -> str:
    """Return the hex digest of a file's content, read in pieces; dvc.lock uses md5."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()
