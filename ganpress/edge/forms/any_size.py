"""Files that take pictures of any height and width.

A graph is free of the size where it is the same graph for two sizes: no shape, no constant and no scale in it depends
on the size. So it is written for both and compared; where nothing but the declared sizes differs, those are left open.
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
"""Names of the open sizes in the file."""


def other_size(model: nn.Module, inputs: Tensor) -> Tensor:
    """The inputs, resized to another size that the generator takes: higher by one stride, wider by two.

    Where the stride is not known, as of generators in integers, they are twice as high and wide.

    Raises:
        ConfigError: if it draws from latents.
    """
    if inputs.dim() != 4:
        raise ConfigError("any_size is for generators that read pictures; this one draws from latents of one length")
    height, width = inputs.shape[2:]
    field = receptive_field(model, inputs)
    known = field.reach is not None or field.stride > 1
    size = (height + max(4, field.stride), width + 2 * max(4, field.stride)) if known else (2 * height, 2 * width)
    return functional.interpolate(inputs, size=size, mode="nearest")


def free_size(target: Target, model: nn.Module, made: WrittenForm, example: Tensor, number_type: str) -> None:
    """Leave height and width open in a file that was written for the example's.

    Raises:
        UnsupportedGenerator: if the target's files are of one size, or the generator's graph depends on the size.
        ConfigError: as `other_size`.
    """
    if number_type not in target.any_size_types:
        raise UnsupportedGenerator(
            f"the target '{target.name}' writes {number_type} files of one size; leave any_size out: `ganpress apply` "
            "draws larger pictures in tiles"
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
            "out: `ganpress apply` draws larger pictures in tiles"
        )
    path.write_bytes(graphs[0].SerializeToString(deterministic=True))


def _open_sizes(graph: Any) -> None:
    """Name height and width of input and output in place of their numbers; nothing else of a graph declares sizes."""
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
