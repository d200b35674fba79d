"""Writes single layers as ONNX graphs, node by node, for tables of layer latencies.

torch.onnx takes a second for each graph, as long as for a whole small generator; writing node by node takes
milliseconds. A layer with an unsupported function goes through torch.onnx, as any network does.
"""

from torch import Tensor, nn

from ganpress.edge.graphs.form_operands import NoForm, Value
from ganpress.edge.graphs.graph_writer import OUTPUT, DrawnModule, GraphWriter, input_name
from ganpress.edge.graphs.layer_forms import draw_call
from ganpress.search.layer_runs import LayerNetwork


class DrawnLayer(DrawnModule):
    """A layer that writes its own graph; it computes the same as `layer`."""

    def __init__(self, layer: LayerNetwork, content: bytes) -> None:
        super().__init__()
        self.layer, self._content = layer, content

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.layer(x)
        return result

    def onnx_graph(self) -> bytes:
        """See `DrawnModule`."""
        return self._content


def drawn(layer: LayerNetwork, example: Tensor) -> nn.Module:
    """Return a layer that writes its own graph if all its functions are supported; otherwise return the layer itself.

    Args:
        layer: a layer as a network of its own.
        example: an input (1, …).
    """
    try:
        return DrawnLayer(layer, layer_graph(layer, example))
    except NoForm:
        return layer


def layer_graph(layer: LayerNetwork, example: Tensor) -> bytes:
    """Write the graph of `LayerNetwork`: (batch, …) -> the first value of each sample's result.

    Raises:
        NoForm: if one of its functions is not supported.
    """
    writer = GraphWriter()
    source = name = input_name(example)
    shape = tuple(example.shape)
    for call, constants in layer.steps():
        values: list[Value | Tensor] = []
        for constant, operand in zip(constants, call.operands, strict=True):
            if constant is None and operand.shape != shape:
                name = writer.add("Reshape", name, writer.sizes(-1, *operand.shape[1:]))
            values.append(Value(name, operand.shape) if constant is None else constant)
        arguments, named = call.filled(iter(values))
        name, shape = draw_call(writer, call.name, arguments, named), call.result
    inner = range(1, len(shape))
    first = (writer.sizes(*(0 for _ in inner)), writer.sizes(*(1 for _ in inner)), writer.sizes(*inner))
    writer.add("Slice", name, *first, result=OUTPUT)
    return writer.to_bytes(["batch", *example.shape[1:]], ["batch", *(1 for _ in inner)], source)
