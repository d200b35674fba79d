"""Reads generators from single files: programs of `torch.export` (.pt2), and ONNX.

Nothing in such a file is run while it is read. It becomes a network of layers (`graph_layers`), which is quantized,
exported and verified like any other generator.
"""

import operator
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call
from torch.nn import functional
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from ganpress.errors import CheckpointError, ConfigError, shown
from ganpress.imported.graph_layers import (
    GraphBuilder,
    batch_norm,
    convolution,
    dense,
    group_norm,
    instance_norm,
    prelu,
)
from ganpress.imported.onnx_networks import read_onnx
from ganpress.imported.onnx_translation import MOST_VALUES
from ganpress.metrics.judges.exported_programs import load_exported

PROGRAM_SUFFIXES = frozenset({".pt2", ".onnx"})
SHAPED = frozenset({"view", "reshape", "expand", "_unsafe_view"})
"""Functions that take a shape, in which an exported program may hold the batch as a number."""
IGNORED = frozenset({"_guards_fn", "_assert_tensor_metadata", "_assert_scalar", "sym_constrain_range_for_size"})


def is_program(source: object) -> bool:
    """Return whether a source is the file of an exported program."""
    return isinstance(source, str) and Path(source).suffix in PROGRAM_SUFFIXES


def read_program(path: Path) -> tuple[nn.Module, tuple[int, ...] | None]:
    """Read a program's file.

    Returns:
        The network in eval mode on the processor, and the shape of one input (1, …); None where that is left open.

    Raises:
        CheckpointError: if the file is missing, damaged, or would run code while it is read.
        ConfigError: if an operation has no counterpart here, or something else is not supported; the message names it.
    """
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist")
    return read_onnx(path) if path.suffix == ".onnx" else _read_exported(path)


def _read_exported(path: Path) -> tuple[nn.Module, tuple[int, ...] | None]:
    graph = load_exported(path).module()
    assert isinstance(graph, fx.GraphModule)
    inputs = [node for node in graph.graph.nodes if node.op == "placeholder"]
    if len(inputs) != 1:
        raise ConfigError(f"{path} reads {len(inputs)} tensors; export a program that reads one")
    value = inputs[0].meta.get("val")
    shape = None if value is None else (1, *(int(one) if isinstance(one, int) else 0 for one in value.shape[1:]))
    network = _ExportedGraph(graph, path).network()
    known = None if shape is None or 0 in shape else shape
    if known is not None:
        _check_sizes(network, known, path)
    return network, known


class _Sizes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records the size of the largest tensor that is made while it is active."""

    largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for one in pytree.tree_leaves(made):
            if isinstance(one, Tensor):
                self.largest = max(self.largest, one.numel())
        return made


def _check_sizes(network: nn.Module, shape: tuple[int, ...], path: Path) -> None:
    """Refuse a program that would make more numbers than memory holds: a file of a few bytes may ask for any."""
    tensors = {key: one.to("meta") for key, one in (*network.named_parameters(), *network.named_buffers())}
    try:
        with torch.no_grad(), torch.device("meta"), _Sizes() as sizes:  # type: ignore[no-untyped-call]
            functional_call(network, tensors, (torch.zeros(shape),))
    except Exception as error:
        raise ConfigError(f"{path} cannot be run on an input of {shape}: {shown(error, 160)}") from None
    if sizes.largest > MOST_VALUES:
        raise ConfigError(
            f"{path} makes {sizes.largest:,} numbers in one of its results, of which {MOST_VALUES:,} are allowed"
        )


class _ExportedGraph:
    """Translates one exported graph."""

    def __init__(self, source: fx.GraphModule, path: Path) -> None:
        self._source, self._path = source, path
        self._built = GraphBuilder()
        self._nodes: dict[fx.Node, Any] = {}
        self._tensors: dict[fx.Node, Tensor] = {}
        self._names: dict[fx.Node, str] = {}
        self._input: fx.Node | None = None

    def network(self) -> nn.Module:
        for node in self._source.graph.nodes:
            if node.op == "output":
                results = self._mapped(node.args[0])
                return self._built.finish(results[0] if isinstance(results, list) and len(results) == 1 else results)
            self._nodes[node] = self._translated(node)
        raise ConfigError(f"{self._path}: the program has no output")

    def _translated(self, node: Any) -> Any:
        if node.op == "placeholder":
            self._input = self._built.input(node.name)
            return self._input
        if node.op == "get_attr":
            value = operator.attrgetter(str(node.target))(self._source)
            self._tensors[node], self._names[node] = value.detach(), str(node.target)
            return None  # becomes a layer's, or a constant when it is asked for
        if node.op == "call_module" or str(node.target).partition(".")[2].partition(".")[0] in IGNORED:
            return None
        name = _function_name(node.target)
        if name in LAYERS and not isinstance(node.args[0], fx.Node):
            raise ConfigError(f"{self._path}: '{name}' reads no tensor")
        layer = LAYERS[name](self, node) if name in LAYERS else None
        if layer is not None:
            return layer
        return self._called(node, name)

    def _called(self, node: Any, name: str) -> Any:
        args = [self._mapped(one) for one in node.args]
        kwargs = {key: self._mapped(one) for key, one in node.kwargs.items() if key not in ("device", "pin_memory")}
        if name in SHAPED and isinstance(args[1], list) and args[1] and args[1][0] == 1 and self._reads_input(node):
            batch = self._built.method("size", self._input, 0)  # type: ignore[arg-type]
            args[1] = [batch, *args[1][1:]]
        if name == "getitem":
            return self._built.call(operator.getitem, *args)
        if name in WRITTEN:
            return self._built.call(WRITTEN[name], *args, **kwargs)
        if isinstance(node.target, torch._ops.OpOverload):
            for place in (torch, functional):
                if hasattr(place, name):
                    return self._built.call(getattr(place, name), *args, **kwargs)
            if hasattr(Tensor, name):
                return self._built.method(name, *args, **kwargs)
        if callable(node.target) and getattr(node.target, "__module__", "") in ("_operator", "math"):
            return self._built.call(node.target, *args, **kwargs)
        raise ConfigError(
            f"{self._path}: the operation '{shown(node.target)}' of '{shown(node.name)}' has no counterpart here"
        )

    def _reads_input(self, node: Any) -> bool:
        return any(self._mapped(one) is not None and one not in self._tensors for one in node.all_input_nodes)

    def _mapped(self, value: Any) -> Any:
        if isinstance(value, fx.Node):
            if self._nodes.get(value) is None and value in self._tensors:
                self._nodes[value] = self._built.constant(self._names[value], self._tensors[value])
            return self._nodes.get(value)
        if isinstance(value, list | tuple):
            return [self._mapped(one) for one in value]
        return value

    def weight(self, node: Any, place: int) -> Tensor | None:
        """Return the tensor of the file that an argument is; None where it is none."""
        value = node.args[place] if len(node.args) > place else None
        return self._tensors.get(value) if isinstance(value, fx.Node) else None

    def is_weight(self, node: Any, place: int) -> bool:
        """Whether an argument is a tensor of the file, or left out."""
        value = node.args[place] if len(node.args) > place else None
        return value is None or value in self._tensors

    def add(self, node: Any, place: int, layer: nn.Module) -> Any:
        """Add a layer, named by the weight at a place of the arguments, or by its node."""
        value = node.args[place] if len(node.args) > place else None
        known = self._names.get(value) if isinstance(value, fx.Node) else None
        name = node.name if known is None else known.rpartition(".")[0] or known
        return self._built.layer(name, layer, self._mapped(node.args[0]))


def _function_name(target: Any) -> str:
    if isinstance(target, torch._ops.OpOverload):
        return target._schema.name.partition("::")[2]
    return getattr(target, "__name__", str(target))


def _pair(value: Any, count: int) -> tuple[int, ...]:
    numbers = tuple(value) if isinstance(value, list | tuple) else (value,)
    return numbers * count if len(numbers) == 1 else numbers


def _argument(node: Any, place: int, default: Any) -> Any:
    return node.args[place] if len(node.args) > place else default


def _convolution(of: _ExportedGraph, node: Any) -> Any:
    weight = of.weight(node, 1)
    padding = _argument(node, 4, 0)
    if weight is None or not of.is_weight(node, 2) or isinstance(padding, str):
        return None
    axes = weight.dim() - 2
    numbers = (_pair(_argument(node, 3, 1), axes), _pair(padding, axes), _pair(_argument(node, 5, 1), axes))
    return of.add(node, 1, convolution(weight, of.weight(node, 2), *numbers, _argument(node, 6, 1)))


def _transposed(of: _ExportedGraph, node: Any) -> Any:
    weight = of.weight(node, 1)
    if weight is None or not of.is_weight(node, 2):
        return None
    axes = weight.dim() - 2
    stride, padding, more = (
        _pair(_argument(node, place, default), axes) for place, default in ((3, 1), (4, 0), (5, 0))
    )
    groups, dilation = _argument(node, 6, 1), _pair(_argument(node, 7, 1), axes)
    return of.add(node, 1, convolution(weight, of.weight(node, 2), stride, padding, dilation, groups, more))


def _any_convolution(of: _ExportedGraph, node: Any) -> Any:
    weight = of.weight(node, 1)
    if weight is None or not of.is_weight(node, 2):
        return None
    stride, padding, dilation, transposed, more, groups = node.args[3:9]
    made = convolution(
        weight, of.weight(node, 2), tuple(stride), tuple(padding), tuple(dilation), groups,
        tuple(more) if transposed else None,
    )  # fmt: skip
    return of.add(node, 1, made)


def _dense(of: _ExportedGraph, node: Any) -> Any:
    weight = of.weight(node, 1)
    return None if weight is None else of.add(node, 1, dense(weight, of.weight(node, 2)))


def _batch_norm(of: _ExportedGraph, node: Any) -> Any:
    mean, variance = of.weight(node, 3), of.weight(node, 4)
    if mean is None or variance is None or (_function_name(node.target) == "batch_norm" and node.args[5]):
        return None
    eps = node.args[7] if _function_name(node.target) == "batch_norm" else node.args[6]
    axes = node.args[0].meta["val"].dim() - 2
    made = of.add(node, 1, batch_norm(of.weight(node, 1), of.weight(node, 2), mean, variance, eps, axes))
    return made if _function_name(node.target) == "batch_norm" else (made, None, None)


def _instance_norm(of: _ExportedGraph, node: Any) -> Any:
    if not node.args[5]:  # statistics of its own are a batch normalisation's
        return None
    value = node.args[0].meta["val"]
    made = instance_norm(value.shape[1], of.weight(node, 1), of.weight(node, 2), node.args[7], value.dim() - 2)
    return of.add(node, 1, made)


def _group_norm(of: _ExportedGraph, node: Any) -> Any:
    channels = node.args[0].meta["val"].shape[1]
    weight, bias, eps = of.weight(node, 2), of.weight(node, 3), _argument(node, 4, 1e-5)
    return of.add(node, 2, group_norm(node.args[1], channels, weight, bias, eps))


def _prelu(of: _ExportedGraph, node: Any) -> Any:
    slopes = of.weight(node, 1)
    return None if slopes is None else of.add(node, 1, prelu(slopes))


LAYERS: dict[str, Callable[[_ExportedGraph, Any], Any]] = {
    "conv1d": _convolution,
    "conv2d": _convolution,
    "conv3d": _convolution,
    "conv_transpose1d": _transposed,
    "conv_transpose2d": _transposed,
    "convolution": _any_convolution,
    "linear": _dense,
    "batch_norm": _batch_norm,
    "_native_batch_norm_legit_no_training": _batch_norm,
    "instance_norm": _instance_norm,
    "group_norm": _group_norm,
    "prelu": _prelu,
    "_prelu_kernel": _prelu,
}
"""Functions that become layers, where their weights stand in the file."""


def _upsample_nearest(x: Tensor, size: list[int] | None, scales: list[float] | None) -> Tensor:
    return functional.interpolate(x, size, scales, "nearest")


def _upsample_bilinear(x: Tensor, size: list[int] | None, align: bool, scales: list[float] | None = None) -> Tensor:
    return functional.interpolate(x, size, scales, "bilinear", align)


def _upsample_bicubic(x: Tensor, size: list[int] | None, align: bool, scales: list[float] | None = None) -> Tensor:
    return functional.interpolate(x, size, scales, "bicubic", align)


def _slice(x: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> Tensor:
    places = [slice(None)] * x.dim()
    places[dim] = slice(start, end, step)
    return x[tuple(places)]


WRITTEN: dict[str, Callable[..., Any]] = {
    "upsample_nearest2d": _upsample_nearest,
    "upsample_bilinear2d": _upsample_bilinear,
    "upsample_bicubic2d": _upsample_bicubic,
    "slice": _slice,
    "view": torch.reshape,
    "_unsafe_view": torch.reshape,
    "dropout": lambda x, *_: x,
    "clone": lambda x, **_: x,
    "contiguous": lambda x, **_: x,
    "alias": lambda x: x,
    "detach": lambda x: x,
    "_to_copy": lambda x, **_: x.float(),
    "sym_size": lambda x, dim: x.size(dim),
    "reflection_pad2d": lambda x, sides: functional.pad(x, sides, mode="reflect"),
    "replication_pad2d": lambda x, sides: functional.pad(x, sides, mode="replicate"),
    "constant_pad_nd": lambda x, sides, value=0: functional.pad(x, sides, value=value),
}
"""Functions whose form in an exported graph is not that of Python's."""
