"""Finds the layer of a generator that an operator belongs to, for messages."""

import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ganpress.structure.function_graph import SAME

NAMED_OPERATOR = re.compile(r"(?:aten|prims)(?:::|\.)(\w+)")


def blame(model: nn.Module, example: Tensor, message: str) -> str | None:
    """Find the operator that a tool's message names and the layer that runs it.

    Args:
        model: a generator.
        example: an input that it can run.
        message: the tool's message, e.g. `aten.special_bessel_j0.default is not supported`.

    Returns:
        E.g. `the operator special_bessel_j0 of layer 'head'`; None where the message names no operator of the model.
    """
    named = set(NAMED_OPERATOR.findall(message))
    layers = layers_by_operator(model, example) if named else {}
    for operator, layer in layers.items():
        if operator in named or any(operator.endswith(f"_{name}") for name in named):  # names of prims are shorter
            return f"the operator {operator} of layer '{layer}'"
    return None


def layer_calling(model: nn.Module, example: Tensor, function: str) -> str | None:
    """Return the dotted name of the first layer that calls a torch function; None if no layer calls it.

    Args:
        model: a generator.
        example: an input that it can run.
        function: the function's name in `ganpress.structure.function_graph`, e.g. `max_pool2d`.
    """
    running: list[str] = []

    def enter(name: str) -> Callable[..., None]:
        return lambda *_: running.append(name)

    hooks = []
    for name, module in model.named_modules():
        hooks += [
            module.register_forward_pre_hook(enter(name)),
            module.register_forward_hook(lambda *_: _left(running)),
        ]
    finder = _Finder(function, running)
    try:
        with torch.no_grad(), finder:
            model(example)
    finally:
        for hook in hooks:
            hook.remove()
    return finder.layer


def _left(running: list[str]) -> None:
    running.pop()


class _Finder(TorchFunctionMode):
    """Records which layer is running when a function is called for the first time."""

    def __init__(self, function: str, running: list[str]) -> None:
        super().__init__()
        self.layer: str | None = None
        self._function, self._running = function, running

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = getattr(func, "__name__", str(func)).strip("_")
        if self.layer is None and SAME.get(name, name) == self._function and self._running:
            self.layer = self._running[-1] or None
        return func(*args, **(kwargs or {}))


def layers_by_operator(model: nn.Module, example: Tensor) -> dict[str, str]:
    """Return the dotted name of the first layer that runs each operator, by the operator's name, e.g. `conv2d`.

    The result is empty if the model cannot be traced.
    """
    try:
        with torch.no_grad():
            program = torch.export.export(model, (example,))
    except Exception:  # the tracer raises many types; the caller has its own message
        return {}
    layers: dict[str, str] = {}
    for graph in (program.graph, program.run_decompositions().graph):
        for node in graph.nodes:
            modules = list(node.meta.get("nn_module_stack", {}).values())
            if node.op == "call_function" and modules:
                operator = str(node.target).removeprefix("aten.").partition(".")[0]
                layers.setdefault(operator, str(modules[-1][0]) or type(model).__name__)
    return layers
