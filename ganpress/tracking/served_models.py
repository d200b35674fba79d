"""Describes an edge file for serving by MLflow: signature, example input, and a description with its scores."""

from collections.abc import Mapping
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


def signature_of(proto: Any) -> Any:
    """Return the signature of an ONNX model: name, type and shape of each tensor.

    With it MLflow refuses other tensors; without it MLflow accepts a table of numbers as the tensor, and answers with
    one number per row (mlflow/mlflow#25942).
    """
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    sides = ([TensorSpec(_dtype(one), _shape(one), one.name) for one in tensors] for tensors in _tensors(proto))
    return ModelSignature(*(Schema(specs) for specs in sides))


def example_of(proto: Any, card: Path | None) -> dict[str, NDArray[Any]]:
    """Return example inputs of a model by name: latents (2, Z), or one source (1, C, H, W), always the same.

    Args:
        proto: the ONNX model.
        card: the file beside it, where it has one; of label maps it says that a pixel belongs to one label.
    """
    draw = np.random.default_rng(0)
    labels = _label_inputs(card)
    found: dict[str, NDArray[Any]] = {}
    for tensor in _tensors(proto)[0]:
        first, *rest = _shape(tensor)
        batch = (2 if len(rest) == 1 else 1) if first == OPEN else first
        shape = (batch, *(OPEN_SIDE if side == OPEN else side for side in rest))
        if len(rest) == 1:
            numbers = draw.standard_normal(shape)
        elif tensor.name in labels:
            numbers = np.moveaxis(np.eye(shape[1])[draw.integers(0, shape[1], (batch, *shape[2:]))], -1, 1)
        else:
            numbers = draw.uniform(-1, 1, shape)
        found[tensor.name] = numbers.astype(_dtype(tensor))
    return found


def description_of(reference: str, row: Mapping[str, float], serves: bool) -> str:
    """Return a version's description in MLflow: its kind, quality, size and speed.

    Args:
        reference: the generator, e.g. `export/subnet-int8`.
        row: measurements of the generator.
        serves: whether MLflow itself can load it.
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
    how = "`mlflow.pyfunc.load_model` and `mlflow models serve` take a dictionary of the tensors of its signature."
    return " ".join(
        [
            *facts,
            how
            if serves
            else "MLflow cannot open it; use `ganpress apply`, or its own runtime (see the card beside it).",
        ]
    )


def _tensors(proto: Any) -> tuple[list[Any], list[Any]]:
    """Return the inputs, without the weights that older files list among them, and the outputs."""
    weights = {one.name for one in proto.graph.initializer}
    return [one for one in proto.graph.input if one.name not in weights], list(proto.graph.output)


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
