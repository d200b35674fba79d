"""Exact rewrites of ONNX graphs, so that ONNX Runtime can load the graph and moves fewer bytes when it runs it.

One of them moves padding: a generator with reflection padding pads the output of an instance normalisation, and a
quantized layer then rounds it. Padding only copies pixels, so rounding first gives the same codes, and the border is
copied as bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ganpress.edge.graphs.graph_code_flows import COPYING_PADS, pad_mode, pass_codes_
from ganpress.edge.graphs.graph_editing import array_of, constant, graph_bytes, insert, read_graph, replace

if TYPE_CHECKING:
    import onnx_ir

PHASES = (64, 16, 4)
"""Phases of sub-pixel layers with factors 8, 4 and 2."""
TILE_BYTES = 100
"""Bytes that a Tile operator takes in a file."""
FUSED = frozenset(
    ["LeakyRelu", "Sigmoid", "Softmax", "AveragePool", "GlobalAveragePool", "Add", "Mul", "Concat"],
)
"""Operators that ONNX Runtime (1.22 to 1.31) fuses with the decoding before and the encoding after them."""


def rewritten(content: bytes) -> bytes:
    """Apply all rewrites to a serialised graph."""
    model = read_graph(content)
    for rewrite_ in REWRITINGS:
        rewrite_(model)
    return graph_bytes(model)


def drop_zeros_(model: onnx_ir.Model) -> None:
    """Remove additions of constant zeros, which `models.quantized_network.take_out_` leaves; shapes stay the same."""
    for node in [one for one in model.graph if one.op_type == "Add"]:
        added = array_of(node.inputs[1])
        if added is not None and not added.any() and not node.outputs[0].is_graph_output():
            assert node.inputs[0] is not None  # an Add has two inputs
            replace(node.outputs[0], node.inputs[0])
            model.graph.remove(node, safe=True)


def share_scale_(model: onnx_ir.Model) -> None:
    """Decode with one scale and one zero point if all channels have the same.

    ONNX Runtime decodes per-channel scales slowly after it has changed the layout to channels last.
    """
    for node in _decoders(model.graph):
        found = [array_of(value) for value in node.inputs[1:]]
        if all(one is not None and one.size > 1 and (one == one.flat[0]).all() for one in found):
            for place, array in enumerate(found, 1):
                assert array is not None  # all() above has checked it
                node.replace_input_with(place, constant(model.graph, np.asarray(array.flat[0])))


def keep_channel_scales_(model: onnx_ir.Model) -> None:
    """Rewrite readers of per-channel codes that the runtime would treat as codes with one scale.

    ONNX Runtime fuses decode, operator and encode into one operator on codes, which has one scale for all channels. It
    does not check the number of scales before it does so, and then fails to load the file. A leaky ReLU is written as a
    PRelu, which is not fused; before any other operator, the first decoding is written out as (code - zero point) *
    scale, the definition of DequantizeLinear.
    """
    channelwise = {node.outputs[0] for node in _decoders(model.graph) if _size(array_of(node.inputs[1])) > 1}
    for node in [one for one in model.graph if one.op_type in FUSED]:
        decoded = [one for one in node.inputs if one is not None and _is_decoded(one)]
        by_channel = [place for place, one in enumerate(node.inputs) if one in channelwise]
        if len(decoded) < len(node.inputs) or not by_channel:
            continue
        if node.op_type == "LeakyRelu":
            slope = constant(model.graph, np.array([node.attributes.get_float("alpha", 0.01)], np.float32))
            replace(node.outputs[0], insert(node, "PRelu", decoded[0], slope))
        else:
            real = _written_out(node, decoded[by_channel[0]].producer())
            for place in by_channel:
                if node.inputs[place] is decoded[by_channel[0]]:
                    node.replace_input_with(place, real)


def _written_out(node: onnx_ir.Node, decoder: Any) -> onnx_ir.Value:
    """Decode for one reader with operators that are not fused; channels are axis 1 of four."""
    from onnx_ir import DataType

    codes, *parameters = decoder.inputs
    scale, zero = (
        constant(decoder.graph, np.asarray(array_of(one), np.float32).reshape(1, -1, 1, 1)) for one in parameters
    )
    real = insert(node, "Cast", codes, attributes={"to": DataType.FLOAT})
    return insert(node, "Mul", insert(node, "Sub", real, zero), scale)


def pad_codes_(model: onnx_ir.Model) -> int:
    """Move each padding of height and width behind the rounding if the rounding is its only reader.

    Args:
        model: changed in place.

    Returns:
        The number of paddings that were moved.
    """
    from onnxscript.rewriter.pattern import RewriteRule, RewriteRuleSet

    def padded_and_encoded(op: Any, x: Any, widths: Any, scale: Any, zero: Any) -> Any:
        padded = op.Pad(x, widths, _allow_other_inputs=True, _allow_other_attributes=True, _outputs=["padded"])
        return op.QuantizeLinear(padded, scale, zero, _allow_other_attributes=True, _outputs=["encoded"])

    def copies_pixels(_: Any, padded: Any, **__: Any) -> bool:
        node = padded.producer()
        widths = array_of(node.inputs[1])
        by_place = len(node.inputs) < 4 or node.inputs[3] is None
        if widths is None or not by_place or pad_mode(node) not in COPYING_PADS:
            return False
        return len(widths) == 8 and not widths[[0, 1, 4, 5]].any()

    def encoded_and_padded(op: Any, x: Any, widths: Any, scale: Any, zero: Any, padded: Any, encoded: Any) -> Any:
        pad, encode = padded.producer(), encoded.producer()
        return op.Pad(op.QuantizeLinear(x, scale, zero, **encode.attributes), widths, **pad.attributes)

    rule = RewriteRule(padded_and_encoded, encoded_and_padded, copies_pixels)
    moved: int = RewriteRuleSet([rule]).apply_to_model(model)
    return moved


def repeat_biases_(model: onnx_ir.Model) -> None:
    """Store a bias that all phases of a sub-pixel layer share once; the runtime repeats it when it loads the file.

    This is done only in layers with quantized weights: ONNX Runtime's own quantizer needs the bias as a stored
    constant.
    """
    for node in [one for one in model.graph if one.op_type == "Conv" and len(one.inputs) == 3]:
        bias = node.inputs[2]
        values = array_of(bias)
        if bias is None or values is None or not _is_decoded(node.inputs[1]) or len(bias.uses()) > 1:
            continue
        count = next(_repetitions(values), 1)
        if count > 1:
            once, times = values[: len(values) // count], np.array([count])
            first = model.graph[0]
            node.replace_input_with(2, insert(first, "Tile", *(constant(model.graph, one) for one in (once, times))))


def part_weights_(model: onnx_ir.Model) -> None:
    """Give each call of a layer its own copy of the quantized weights, if the layer is called several times.

    ONNX Runtime's channels-last kernels store the rearranged weights of each call under one name, and refuse a graph in
    which two calls share them. Compressed, the copies take almost no bytes.
    """
    seen: set[onnx_ir.Value] = set()
    for node in [one for one in model.graph if one.op_type == "DequantizeLinear"]:
        codes = node.inputs[0]
        array = array_of(codes)
        if codes is None or array is None:
            continue
        if codes in seen:
            node.replace_input_with(0, constant(model.graph, array))
        seen.add(codes)


def _decoders(graph: onnx_ir.Graph) -> list[onnx_ir.Node]:
    """Return the nodes that decode activations, not constants."""
    return [one for one in graph if one.op_type == "DequantizeLinear" and array_of(one.inputs[0]) is None]


def _is_decoded(value: onnx_ir.Value | None) -> bool:
    producer = None if value is None else value.producer()
    return producer is not None and producer.op_type == "DequantizeLinear"


def _size(array: NDArray[Any] | None) -> int:
    return 0 if array is None else array.size


def _repetitions(values: NDArray[Any]) -> Iterator[int]:
    """Yield how often a vector repeats one of its parts, largest first, if storing the part once saves bytes."""
    for count in PHASES:
        if len(values) % count == 0 and values.nbytes * (count - 1) // count > TILE_BYTES:
            parts = values.reshape(count, -1)
            if (parts == parts[0]).all():
                yield count


REWRITINGS: tuple[Callable[[onnx_ir.Model], object], ...] = (
    drop_zeros_, share_scale_, pass_codes_, keep_channel_scales_, pad_codes_, repeat_biases_, part_weights_,
)  # fmt: skip
