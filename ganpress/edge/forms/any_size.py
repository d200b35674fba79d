"""Writes files that accept pictures of any height and width.

A generator's graph is written for two sizes, and the graphs are compared. If only the declared sizes differ, no shape,
constant or scale depends on the size, and the declared sizes are left open.
"""

import tempfile
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from ganpress.edge.forms.choice import WrittenForm
from ganpress.edge.forms.float_forms import Form
from ganpress.edge.targets.target import Target, UnsupportedGenerator
from ganpress.errors import ConfigError
from ganpress.structure.receptive_field import receptive_field

SIZES = ("height", "width")
"""Names of the open axes in the file."""


def other_size(model: nn.Module, inputs: Tensor) -> Tensor:
    """Resize inputs to another size that the generator accepts: higher by one stride, wider by two.

    If the stride is not known, as for quantized generators, height and width are doubled.

    Raises:
        ConfigError: if the generator reads latents.
    """
    if inputs.dim() != 4:
        raise ConfigError("any_size is for generators that read pictures; this one reads latents")
    height, width = inputs.shape[2:]
    field = receptive_field(model, inputs)
    known = field.reach is not None or field.stride > 1
    size = (height + max(4, field.stride), width + 2 * max(4, field.stride)) if known else (2 * height, 2 * width)
    return functional.interpolate(inputs, size=size, mode="nearest")


def free_size(target: Target, model: nn.Module, made: WrittenForm, example: Tensor, number_type: str) -> None:
    """Leave height and width open in a file that was written for the example's size.

    Raises:
        UnsupportedGenerator: if the target's files have a fixed size, or the generator's graph depends on the size.
        ConfigError: as `other_size`.
    """
    if number_type not in target.any_size_types:
        raise UnsupportedGenerator(
            f"the target '{target.name}' writes {number_type} files of one size; leave any_size out: `ganpress apply` "
            "processes larger pictures in tiles"
        )
    target.open_sizes(model, made.files, example, number_type, made.form)


def open_onnx_sizes(
    target: Target, model: nn.Module, files: tuple[Path, ...], example: Tensor, number_type: str, form: Form
) -> None:
    """Leave height and width open in an ONNX file; see `Target.open_sizes`."""
    import onnx

    (path,) = files
    with tempfile.TemporaryDirectory(prefix=".sizes-", dir=path.parent) as folder:
        second = Path(folder) / path.name
        target.write(model, second, other_size(model, example), number_type, None, form)
        graphs = [onnx.load(one) for one in (path, second)]
    for graph in graphs:
        _open_sizes(graph)
    if graphs[0].SerializeToString(deterministic=True) != graphs[1].SerializeToString(deterministic=True):
        raise UnsupportedGenerator(
            f"the generator's graph depends on the size of the picture ({_first_difference(*graphs)}); leave any_size "
            "out: `ganpress apply` processes larger pictures in tiles"
        )
    path.write_bytes(graphs[0].SerializeToString(deterministic=True))


def _open_sizes(graph: Any) -> None:
    """Replace height and width of input and output by names; nothing else in a graph declares sizes."""
    for value, suffix in ((graph.graph.input[0], ""), (graph.graph.output[0], "_drawn")):
        for dimension, name in zip(value.type.tensor_type.shape.dim[2:], SIZES, strict=True):
            dimension.dim_param = name + suffix


def _first_difference(one: Any, other: Any) -> str:
    constants = [{tensor.name: tensor for tensor in graph.graph.initializer} for graph in (one, other)]
    for first, second in zip(one.graph.node, other.graph.node, strict=False):
        of_constants = [
            name for name in first.input if name in constants[0] and constants[0].get(name) != constants[1].get(name)
        ]
        if first != second or of_constants:
            return f"its first {first.op_type} of a fixed size writes '{first.output[0]}'"
    return "it has another number of operators"
