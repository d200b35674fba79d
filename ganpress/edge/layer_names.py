"""Which layer of a generator an operator belongs to, for messages."""

import re

import torch
from torch import Tensor, nn

NAMED_OPERATOR = re.compile(r"(?:aten|prims)(?:::|\.)(\w+)")


def blame(model: nn.Module, example: Tensor, message: str) -> str | None:
    """Find the operator that a tool's message names and the layer that runs it.

    Args:
        model: a generator.
        example: an input that it can run.
        message: what a tool said, e.g. `aten.special_bessel_j0.default is not supported`.

    Returns:
        E.g. `the operator special_bessel_j0 of layer 'head'`; None where the message names no operator of the model.
    """
    named = set(NAMED_OPERATOR.findall(message))
    layers = layers_by_operator(model, example) if named else {}
    for operator, layer in layers.items():
        if operator in named or any(operator.endswith(f"_{name}") for name in named):  # prims have shorter names
            return f"the operator {operator} of layer '{layer}'"
    return None


def layers_by_operator(model: nn.Module, example: Tensor) -> dict[str, str]:
    """Dotted name of the first layer that runs each operator, by the operator's name, e.g. `conv2d`.

    Empty where the model cannot be traced.
    """
    try:
        with torch.no_grad():
            program = torch.export.export(model, (example,))
    except Exception:  # the tracer raises many types; the caller has a message of its own
        return {}
    layers: dict[str, str] = {}
    for graph in (program.graph, program.run_decompositions().graph):
        for node in graph.nodes:
            modules = list(node.meta.get("nn_module_stack", {}).values())
            if node.op == "call_function" and modules:
                operator = str(node.target).removeprefix("aten.").partition(".")[0]
                layers.setdefault(operator, str(modules[-1][0]) or type(model).__name__)
    return layers
