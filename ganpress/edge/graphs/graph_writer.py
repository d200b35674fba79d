"""A small writer of ONNX graphs; the file holds only what a runtime needs."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from ganpress.edge.graphs.onnx_format import IR_VERSION, OPSET

INPUT, SOURCE, OUTPUT = "z", "source", "images"
"""Names of a generator's input, for latents and for pictures, and of its output."""


class GraphWriter:
    """Collects nodes and constants in order; names are short, equal constants are stored once."""

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._initializers: list[Any] = []

    def constant(self, array: NDArray[Any]) -> str:
        """Store an array and return its name."""
        from onnx import numpy_helper

        array = np.asarray(array, order="C")
        key = (str(array.dtype), array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = f"c{len(self._constants)}"
            self._initializers.append(numpy_helper.from_array(array, self._constants[key]))
        return self._constants[key]

    def sizes(self, *values: int) -> str:
        """Store whole numbers as an int64 vector, the form of shapes, starts and axes, and return its name."""
        return self.constant(np.array(values, np.int64))

    def add(self, operator: str, *inputs: str, result: str | None = None, **attributes: Any) -> str:
        """Append a node with one result and return the result's name."""
        from onnx import helper

        name = result or f"v{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def rename(self, name: str, result: str) -> None:
        """Give the result of a node another name."""
        for node in self._nodes:
            node.input[:] = [result if one == name else one for one in node.input]
            node.output[:] = [result if one == name else one for one in node.output]

    def to_bytes(
        self, input_shape: Sequence[int | str], output_shape: Sequence[int | str], source: str = INPUT
    ) -> bytes:
        """Complete the graph `source` -> images, check it and serialise it; the same graph gives the same bytes."""
        import onnx
        from onnx import TensorProto, helper

        graph = helper.make_graph(
            self._nodes,
            "generator",
            [helper.make_tensor_value_info(source, TensorProto.FLOAT, list(input_shape))],
            [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, list(output_shape))],
            self._initializers,
        )
        opset = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION, producer_name="ganpress")
        onnx.checker.check_model(model, full_check=True)
        content: bytes = model.SerializeToString(deterministic=True)
        return content


class DrawnModule(nn.Module, ABC):
    """A module that writes its own ONNX graph, which saves the seconds that torch.onnx takes."""

    @abstractmethod
    def onnx_graph(self) -> bytes:
        """Return the serialised graph: `input_name` -> `OUTPUT`, with a dynamic batch."""


def input_name(example: Tensor) -> str:
    """Return the name of a generator's input for `example`: latents (N, Z), or pictures (N, C, H, W)."""
    return INPUT if example.dim() == 2 else SOURCE
