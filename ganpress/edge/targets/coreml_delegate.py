"""Packages of Core ML inside programs of ExecuTorch.

A delegate is the files of a package one behind the other and, behind them, a table of the files as JSON whose bytes are
in reverse order, so that it can be read from the end. The table lists nodes with a place and the numbers of their
children, the root last.
Layout: `backends/apple/coreml/runtime/inmemoryfs` of ExecuTorch.
"""

import json
from collections.abc import Callable
from typing import Any

from ganpress.edge.targets.coreml_runtime import MODEL, WEIGHTS
from ganpress.edge.targets.executorch_delegates import BadDelegate, Delegate
from ganpress.edge.targets.mil_operators import NoOperator
from ganpress.edge.targets.mil_program import BadProgram, MilProgram, read_program

BACKEND = "CoreMLBackend"
PACKAGE = "model.mlpackage"


def partitioner(number_type: str) -> Callable[[], Any]:
    """What makes the backend's partitioner for a number type, `float32` or `float16`."""
    import coremltools
    from executorch.backends.apple.coreml.compiler import CoreMLBackend
    from executorch.backends.apple.coreml.partition import CoreMLPartitioner

    precision = coremltools.precision
    specs = CoreMLBackend.generate_compile_specs(
        compute_precision=precision.FLOAT32 if number_type == "float32" else precision.FLOAT16,
        minimum_deployment_target=coremltools.target.iOS16,
    )
    return lambda: CoreMLPartitioner(compile_specs=specs)


def read_package(delegate: Delegate) -> MilProgram:
    """Read the program of a delegate of the Core ML backend.

    Raises:
        BadDelegate: if it is damaged, or holds what is not computed here.
    """
    data = delegate.content
    try:
        table, _ = json.JSONDecoder().raw_decode(data[::-1].decode("latin-1"))
        model, weights = (_file(data, table["nodes"], f"{PACKAGE}/{name}") for name in (MODEL, WEIGHTS))
    except (ValueError, KeyError, IndexError, TypeError, RecursionError) as error:
        raise BadDelegate(f"it holds no package of Core ML ({type(error).__name__})") from None
    try:
        program = read_program(model, weights)
    except (BadProgram, NoOperator) as error:
        raise BadDelegate(str(error)) from None
    unknown = program.unknown()
    if unknown:
        raise BadDelegate(f"it holds the operator {unknown[0].kind}, which is not computed here")
    return program


def _file(data: bytes, nodes: list[Any], path: str) -> bytes:
    """A file of the table, from the root on; empty where it does not stand there."""
    node = nodes[-1]
    for name in path.split("/"):
        if name not in node["children"]:
            return b""
        node = nodes[node["children"][name]]
    place = node["dataRegion"]
    return data[place["offset"] : place["offset"] + place["size"]]
