"""Writes generators as ONNX files: one float32 input, `z` (batch, Z) or `source` (batch, C, H, W), one output `images`.

The batch is dynamic, height and width are fixed.

Networks of supported functions are written function by function. That needs no exporter, which takes seconds to import
and to trace, and the file holds nothing but the graph. Any other module goes through torch.onnx.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ganpress.basics.whole_files import whole_files
from ganpress.edge.forms.pixel_blocks import widen_outputs
from ganpress.edge.graphs.form_operands import NoForm
from ganpress.edge.graphs.graph_passes import rewritten
from ganpress.edge.graphs.graph_writer import OUTPUT, DrawnModule, input_name
from ganpress.edge.graphs.network_graph import network_graph
from ganpress.edge.graphs.onnx_format import OPSET
from ganpress.edge.layer_names import blame
from ganpress.errors import ConfigError
from ganpress.structure.function_graph import Untraceable

LARGEST_FILE_BYTES = 2**31 - 1
"""Limit of protobuf, the format of ONNX files."""


def export_onnx(model: nn.Module, path: Path, example: Tensor) -> None:
    """Write `model` as an ONNX file, completely or not at all.

    Args:
        model: a generator; its eval behaviour is exported.
        path: the file; its folder is created.
        example: inputs (N, …) with which an unknown architecture is traced; the file takes inputs of their shape except
            N.

    Raises:
        ConfigError: if an operator of the model cannot be written as ONNX, or the file would exceed the format's limit.
    """
    write_content(path, graph_content(model, example))


def graph_content(model: nn.Module, example: Tensor) -> bytes:
    """Serialise the graph of a generator; see `export_onnx`."""
    if isinstance(model, DrawnModule):
        return model.onnx_graph()
    return traced_graph(widen_outputs(model, example), example)


def traced_graph(model: nn.Module, example: Tensor) -> bytes:
    """Write any module, function by function or through torch.onnx, and let layers pass quantized values directly.

    Raises:
        ConfigError: with the exporter's reason.
    """
    try:
        content = network_graph(model.eval(), example)
    except (NoForm, Untraceable):
        content = _exported(model, example)
    content = rewritten(content)
    if len(content) > LARGEST_FILE_BYTES:
        raise ConfigError(f"{type(model).__name__} needs {len(content):,} bytes; an ONNX file holds less than 2 GiB")
    return content


def _exported(model: nn.Module, example: Tensor) -> bytes:
    """Return the graph from torch.onnx, stripped of everything that is not computation."""
    batch = torch.export.Dim("batch", min=1)
    if len(example) < 2:
        example = example.expand(2, *example.shape[1:])  # the tracer treats a batch of one as a constant
    try:
        program = torch.onnx.export(
            model.eval(),
            (example[:2],),
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=[input_name(example)],
            output_names=[OUTPUT],
            dynamic_shapes=({0: batch},),
        )
    except torch.onnx.errors.OnnxExporterError as error:
        messages = _messages(error)
        reason, where = " ".join(messages[-1].split())[:300], blame(model, example, " ".join(messages))
        if where is not None:
            raise ConfigError(
                f"{type(model).__name__} cannot be written as ONNX: {where} is not supported there"
            ) from error
        raise ConfigError(f"{type(model).__name__} cannot be written as ONNX: {reason}") from error
    if program is None:
        raise ConfigError(f"{type(model).__name__} cannot be written as ONNX: the exporter returned nothing")
    proto = program.model_proto
    if any(value.type.tensor_type.shape.dim[0].dim_value for value in (*proto.graph.input, *proto.graph.output)):
        raise ConfigError(
            f"{type(model).__name__} cannot be written as ONNX for any batch: its code fixes the batch size, as len(x) "
            "does; read it as x.shape[0] instead"
        )
    _strip_metadata_(proto)
    content: bytes = proto.SerializeToString(deterministic=True)
    return content


def _messages(error: BaseException | None) -> list[str]:
    """Return the messages of an error and of its causes, the first cause last."""
    messages = []
    while error is not None:
        messages.append(str(error))
        error = error.__cause__ or error.__context__
    return messages


def _strip_metadata_(proto: Any) -> None:
    """Remove stack traces, shapes of inner values and long names: they take more bytes than a small model's weights."""
    graph = proto.graph
    del graph.value_info[:]
    boundary = {value.name for value in (*graph.input, *graph.output)}
    names: dict[str, str] = {"": ""} | {name: name for name in boundary}
    for part in (proto, graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        part.ClearField("doc_string")
        del part.metadata_props[:]
    for initializer in graph.initializer:
        initializer.name = names.setdefault(initializer.name, f"c{len(names)}")
    for node in graph.node:
        node.ClearField("name")
        node.input[:] = [names.setdefault(name, f"v{len(names)}") for name in node.input]
        node.output[:] = [names.setdefault(name, f"v{len(names)}") for name in node.output]
    proto.producer_name, proto.producer_version = "ganpress", ""


def write_content(path: Path, content: bytes) -> None:
    """Write a file completely or not at all; its folder is created."""
    with whole_files(path) as place:
        place.write_bytes(content)
