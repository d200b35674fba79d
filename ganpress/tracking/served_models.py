"""Describes an edge file for serving by MLflow: signature, example input, and a description with its scores."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganpress.errors import ConfigError
from ganpress.files.plain_values import read_json
from ganpress.metrics.metric_names import read_name
from ganpress.metrics.ranking import find_metric, half_width, quality_order

OPEN = -1
"""Size of a dimension that may have any value."""
OPEN_SIDE = 64
"""Height and width in pixels of an example for a file that accepts pictures of any size."""
ONE_HOT = "one-hot labels"
"""Kind of input on a card that has one channel for each label."""


@dataclass(frozen=True)
class Tensor:
    """A tensor that a model reads or writes."""

    name: str
    dtype: "np.dtype[Any]"
    shape: tuple[int, ...]
    """`OPEN` for a side that may have any size."""


Tensors = tuple[list[Tensor], list[Tensor]]
"""Inputs and outputs of a model."""


def tensors_of_card(card: Path) -> Tensors | None:
    """Return the tensors of an exported file by its card; None if the card cannot be read."""
    try:
        content = read_json(card)
        inputs, outputs = (
            [
                Tensor(
                    str(one["name"]),
                    np.dtype(str(one["dtype"])),
                    tuple(side if isinstance(side, int) else OPEN for side in one["shape"]),
                )
                for one in content[kind]
            ]
            for kind in ("inputs", "outputs")
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return (inputs, outputs) if inputs and outputs else None


def signature_of(tensors: Tensors) -> Any:
    """Return the signature of a model: name, type and shape of each tensor.

    With it MLflow refuses other tensors; without it MLflow accepts a table of numbers as the tensor, and answers with
    one number per row (mlflow/mlflow#25942).
    """
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    sides = ([TensorSpec(one.dtype, one.shape, one.name) for one in side] for side in tensors)
    return ModelSignature(*(Schema(specs) for specs in sides))


def example_of(tensors: Tensors, card: Path | None) -> dict[str, NDArray[Any]]:
    """Return example inputs of a model by name: latents (2, Z), or one source (1, C, H, W), always the same.

    Args:
        tensors: what the model reads and writes.
        card: the file beside it, where it has one; of label maps it says that a pixel belongs to one label.
    """
    draw = np.random.default_rng(0)
    labels = _label_inputs(card)
    found: dict[str, NDArray[Any]] = {}
    for tensor in tensors[0]:
        first, *rest = tensor.shape
        batch = (2 if len(rest) == 1 else 1) if first == OPEN else first
        shape = (batch, *(OPEN_SIDE if side == OPEN else side for side in rest))
        if len(rest) == 1:
            numbers = draw.standard_normal(shape)
        elif tensor.name in labels:
            numbers = np.moveaxis(np.eye(shape[1])[draw.integers(0, shape[1], (batch, *shape[2:]))], -1, 1)
        else:
            numbers = draw.uniform(-1, 1, shape)
        found[tensor.name] = numbers.astype(tensor.dtype)
    return found


def description_of(reference: str, row: Mapping[str, float], serves: bool) -> str:
    """Return a version's description in MLflow: its kind, quality, size and speed.

    Args:
        reference: the generator, e.g. `export/subnet-int8`.
        row: measurements of the generator.
        serves: whether MLflow opens it without ganpress.
    """
    facts = [f"Edge file of `{reference}`, verified against torch."]
    table = {reference: row}
    for family in quality_order(list(row)):
        try:
            name = find_metric(table, family)
        except ConfigError:
            continue
        known = read_name(name)
        spread = half_width(row, name)
        title = known.metric.title if known is not None else name
        facts.append(f"{title} {row[name]:.4g}{f' ± {spread:.3g}' if spread else ''} (`{name}`).")
    if "size_bytes" in row:
        facts.append(f"{row['size_bytes']:,.0f} bytes.")
    if "latency_ms_p50" in row:
        facts.append(f"{row['latency_ms_p50']:.3g} ms a picture (median, one core).")
    call = "`mlflow.pyfunc.load_model` and `mlflow models serve` take a dictionary of the tensors of its signature"
    needs = "" if serves else ", where ganpress and the file's own runtime are installed"
    return " ".join([*facts, f"{call}{needs}."])


def tensors_of_onnx(proto: Any) -> Tensors:
    """Return the tensors of an ONNX model, without the weights that older files list among the inputs."""
    weights = {one.name for one in proto.graph.initializer}
    inputs = [one for one in proto.graph.input if one.name not in weights]
    read, written = (
        [Tensor(one.name, _dtype(one), _shape(one)) for one in side] for side in (inputs, proto.graph.output)
    )
    return read, written


def _dtype(tensor: Any) -> "np.dtype[Any]":
    from onnx import helper

    found: np.dtype[Any] = helper.tensor_dtype_to_np_dtype(tensor.type.tensor_type.elem_type)
    return found


def _shape(tensor: Any) -> tuple[int, ...]:
    dims = tensor.type.tensor_type.shape.dim
    return tuple(one.dim_value if one.HasField("dim_value") else OPEN for one in dims)


def _label_inputs(card: Path | None) -> set[str]:
    if card is None:
        return set()
    try:
        inputs = read_json(card).get("inputs", [])
        return {str(one["name"]) for one in inputs if str(one.get("meaning") or "").startswith(ONE_HOT)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return set()
