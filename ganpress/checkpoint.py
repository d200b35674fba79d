"""Model files: weights and the blueprint that rebuilds them, never a pickled module."""

import hashlib
import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from ganpress.errors import CheckpointError
from models.builders import Blueprint

FORMAT = "ganpress-model"
FORMAT_VERSION = 1


def save_model(path: Path, model: nn.Module, blueprint: Blueprint) -> None:
    """Write `model` as state_dict + builder name + arguments + format version + their digest, atomically."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    content = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "builder": blueprint.builder,
        "arguments": blueprint.arguments,
        "state_dict": state,
        "sha256": _content_digest(blueprint, state),
    }
    save_atomically(path, content)


def load_model(path: Path, expected_builder: str | None = None) -> tuple[nn.Module, Blueprint]:
    """Read a model file and rebuild its module in eval mode, on the CPU.

    Raises:
        CheckpointError: if the file is missing, damaged, changed since it was written, of another format or version,
            was made by another builder than `expected_builder`, or its weights do not fit (the first mismatching tensor
            is named).
    """
    content = load_weights_only(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(f"{path} is not a ganpress model file (no '{FORMAT}' header)")
    if content["version"] != FORMAT_VERSION:
        raise CheckpointError(f"{path} has format version {content['version']}, this program reads {FORMAT_VERSION}")
    blueprint = Blueprint(content["builder"], content["arguments"])
    if expected_builder is not None and blueprint.builder != expected_builder:
        raise CheckpointError(f"{path} holds a '{blueprint.builder}', but a '{expected_builder}' is needed here")
    try:
        model = blueprint.build()
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{path} cannot be rebuilt: {error}") from None
    load_weights_(model, content["state_dict"], str(path))
    # torch does not look at the checksums of its archive: without this a flipped bit would go unseen.
    expected = content.get("sha256")  # files of before have none
    if expected is not None and expected != _content_digest(blueprint, content["state_dict"]):
        raise CheckpointError(f"{path} was changed after it was written: its digest does not fit; make it again")
    return model.eval(), blueprint


def _content_digest(blueprint: Blueprint, state: Mapping[str, torch.Tensor]) -> str:
    """sha256 of what rebuilds a model and of every tensor: name, type, shape and bytes."""
    digest = hashlib.sha256(json.dumps([blueprint.builder, blueprint.arguments]).encode())
    for name, tensor in state.items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def load_weights_(model: nn.Module, state: dict[str, torch.Tensor], origin: str) -> None:
    """Copy `state` into `model`, in place.

    Raises:
        CheckpointError: naming the first tensor that is missing, unexpected or of another shape.
    """
    own = model.state_dict()
    for name, tensor in own.items():
        if name not in state:
            raise CheckpointError(f"{origin} lacks '{name}' {tuple(tensor.shape)}; it belongs to another architecture")
        if state[name].shape != tensor.shape:
            found, needed = tuple(state[name].shape), tuple(tensor.shape)
            raise CheckpointError(f"{origin}: '{name}' is {found}, this architecture needs {needed}")
    for name in state:
        if name not in own:
            raise CheckpointError(f"{origin} holds '{name}', which this architecture does not have")
    model.load_state_dict(state)


def load_weights_only(path: Path) -> object:
    """Load tensors and plain values from a torch file, refusing pickled code.

    Raises:
        CheckpointError: if the file is missing, truncated or holds anything else.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist") from None
    except Exception as error:  # torch raises many types for damaged files
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path} is damaged or not a weights file: {reason}") from None


def save_atomically(path: Path, content: object) -> None:
    """`torch.save` to a neighbour, then rename, so that neither a kill nor a full disk leaves half a file.

    Written through a buffer: same content gives the same bytes (torch writes a file's path into its archive), and a
    full disk is an `OSError` that says so (torch's own writer hides it).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    torch.save(content, buffer)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(buffer.getbuffer())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def file_digest(path: Path, algorithm: Literal["md5", "sha256"]) -> str:
    """Hex digest of a file's content, read in pieces; md5 is what dvc.lock writes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()
