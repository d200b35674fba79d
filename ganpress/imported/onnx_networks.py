"""Reads ONNX files as networks of layers, and compares them with ONNX Runtime."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from ganpress.errors import CheckpointError, ConfigError, shown
from ganpress.files.onnx_files import read_onnx as read_content
from ganpress.imported.onnx_operators import FLOATS, OPERATORS
from ganpress.imported.onnx_translation import BATCH, Translation

RELATIVE_TOLERANCE = 1e-3
"""Largest difference from ONNX Runtime's results, as a share of the largest value."""


def read_onnx(path: Path) -> tuple[nn.Module, tuple[int, ...] | None]:
    """Read an ONNX generator; returns and raises as `program_files.read_program`."""
    import onnx

    content = read_content(path)
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:
        raise CheckpointError(f"{path} is no ONNX file that can be read ({shown(error, 120)})") from None
    graph = model.graph
    weights = {one.name for one in graph.initializer}
    inputs = [one for one in graph.input if one.name not in weights]
    if len(inputs) != 1 or len(graph.output) < 1:
        raise ConfigError(f"{path} reads {len(inputs)} tensors; give a file that reads one")
    sizes = [one.dim_value for one in inputs[0].type.tensor_type.shape.dim][1:]
    if inputs[0].type.tensor_type.elem_type not in FLOATS:
        raise ConfigError(f"{path} reads whole numbers; give a file that reads latents or pictures")
    if not sizes or not all(size > 0 for size in sizes):
        raise ConfigError(
            f"{path} leaves the size of its input open; export it with fixed sizes, at most the batch open"
        )
    translation = Translation(path, OPERATORS, inputs[0].name, torch.Size([BATCH, *sizes]))
    for one in graph.initializer:
        translation.constant(one.name, onnx.numpy_helper.to_array(one))
    for node in graph.node:
        translation.translate(node, onnx.helper, onnx.numpy_helper)
    network = translation.finish(graph.output[0].name)
    _check(path, content, network, (1, *sizes))
    return network, (1, *sizes)


def _check(path: Path, content: bytes, network: nn.Module, shape: tuple[int, ...]) -> None:
    """Compare the network with ONNX Runtime on one input."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        given = session.get_inputs()[0]
        x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        number_type = np.float16 if given.type == "tensor(float16)" else np.float32
        wanted = session.run(None, {given.name: x.numpy().astype(number_type)})[0].astype(np.float32)
    except Exception as error:
        raise CheckpointError(f"{path} is no ONNX file that ONNX Runtime can run ({shown(error, 160)})") from None
    with torch.no_grad():
        found = network(x).numpy()
    scale = float(np.abs(wanted).max()) or 1.0
    if found.shape != wanted.shape or float(np.abs(found - wanted).max()) > RELATIVE_TOLERANCE * scale:
        raise ConfigError(
            f"{path}: what was made of it does not compute what ONNX Runtime does, so it is not used; give the module "
            "that it was exported from"
        )
