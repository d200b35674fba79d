"""Records the tensor functions that a network calls in one forward pass, as a graph.

`torch.export` makes such graphs as well, but imports the compiler, which takes longer than everything else for a small
generator. Functions are recorded at Python's level, where a convolution, a normalisation or a resizing is one call,
whether a module or the network itself calls it.
"""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

SAME = {
    "radd": "add", "iadd": "add", "rmul": "mul", "imul": "mul", "concat": "cat", "concatenate": "cat",
    "dropout2d": "dropout", "feature_dropout": "dropout", "alpha_dropout": "dropout",
}  # fmt: skip
"""Other names of functions."""
SHAPED = frozenset(f"{kind}_like" for kind in ("zeros", "ones", "full", "empty")) | frozenset(
    f"new_{kind}" for kind in ("zeros", "ones", "full", "empty", "tensor")
)
"""Functions that use only the shape and number type of their input."""
DECIDING = frozenset({"__bool__", "__float__", "__int__", "__index__", "item", "tolist", "numpy"})
"""Functions that return values of a tensor to Python, where they could influence control flow; those that only change
the number type, as `x.float()` does, are called the same without underscores."""


class Untraceable(Exception):
    """The functions of a network may depend on the values of its input."""


def trace_functions(network: nn.Module, example: Tensor) -> fx.Graph:
    """Run a network once in eval mode and record its calls.

    Args:
        network: a network of one tensor; it is not changed.
        example: an input that it can run; on the meta device nothing is computed.

    Returns:
        A graph of `placeholder` (the input), `get_attr` (parameters and buffers by dotted name; other constants have
        the empty name), `call_method` (functions by name, arguments as they were given) and `output`. Each node's
        `meta` has its tensor as `value`, whether it depends on the input as `computed`, and a call's `function`.

    Raises:
        Untraceable: if the network reads values of computed tensors.
    """
    network = copy.deepcopy(network).eval()
    tracer = _Tracer(network, example)
    with torch.no_grad(), tracer:
        result = network(example)
    tracer.graph.output(tracer.node(result))
    return tracer.graph


def argument(node: fx.Node, place: int, name: str, default: Any = None) -> Any:
    """Return an argument of a call, given by position or by name."""
    return node.args[place] if len(node.args) > place else node.kwargs.get(name, default)


def shape_of(node: fx.Node) -> tuple[int, ...]:
    """Return the shape of a node's result."""
    return tuple(node.meta["value"].shape)


class _Tracer(TorchFunctionMode):
    def __init__(self, network: nn.Module, example: Tensor) -> None:
        super().__init__()
        self.graph = fx.Graph()
        self._nodes: dict[int, fx.Node] = {}
        self._alive: list[Tensor] = []  # otherwise an id could be reused for another tensor
        self._keep(example, self.graph.placeholder("input"), computed=True)
        for name, tensor in (*network.named_parameters(), *network.named_buffers()):
            self._keep(tensor, self.graph.create_node("get_attr", name), computed=False)

    def node(self, tensor: Tensor) -> fx.Node:
        """Return the node that computes a tensor; unknown constants get a new node."""
        if id(tensor) not in self._nodes:
            self._keep(tensor, self.graph.create_node("get_attr", ""), computed=False)
        return self._nodes[id(tensor)]

    def _keep(self, tensor: Tensor, node: fx.Node, computed: bool) -> None:
        node.meta.update(value=tensor, computed=computed)
        self._nodes[id(tensor)] = node
        self._alive.append(tensor)

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call one function and record it."""
        kwargs = kwargs or {}
        known = [self._nodes[id(one)] for one in pytree.tree_leaves((args, kwargs)) if id(one) in self._nodes]
        if not known:
            return func(*args, **kwargs)
        called = getattr(func, "__name__", str(func))
        name = called.strip("_")
        computed = name not in SHAPED and any(one.meta["computed"] for one in known)
        if computed and called in DECIDING:
            raise Untraceable(f"it reads numbers of what it computes ({name})")
        # The nodes are looked up before the call, which may work in place.
        arguments, named = pytree.tree_map_only(Tensor, self.node, (args, kwargs))
        result = func(*args, **kwargs)
        made = [one for one in pytree.tree_leaves(result) if isinstance(one, Tensor)]
        if made:
            node = self.graph.create_node("call_method", SAME.get(name, name), tuple(arguments), dict(named))
            node.meta.update(function=func, value=made[0], computed=computed)
            for place, tensor in enumerate(made):
                part = node if tensor is result else self.graph.create_node("call_method", "part", (node, place))
                self._keep(tensor, part, computed)
        return result
