"""Writes ExecuTorch programs: rewrites a network into operators that XNNPACK takes, lowers it, and checks its
kernels.
"""

import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ganpress.basics.whole_files import whole_files
from ganpress.edge.layer_names import blame
from ganpress.edge.quiet import quiet
from ganpress.edge.targets.executorch_quantization import quantized
from ganpress.edge.targets.executorch_runtime import known_operators
from ganpress.edge.targets.executorch_surgery import rewrite_
from ganpress.edge.targets.first_trial import is_sound
from ganpress.edge.targets.target import UnsupportedGenerator

LARGEST_BATCH = 64
"""Largest batch of latents in one call. Memory is planned for it, and larger batches are split. Programs for pictures
take one picture, because XNNPACK cannot slice a tensor with an open shape.
"""


def write_executorch(model: nn.Module, path: Path, example: Tensor, calibration: Tensor | None) -> tuple[Path, ...]:
    """Write a generator in its form as one program, in integers if there are calibration inputs.

    Raises:
        UnsupportedGenerator: if ExecuTorch cannot run an operator.
    """
    rewritten = lowerable(model)
    try:
        with quiet():
            content = _lower(_rewritten(rewritten, example, calibration))
    except Exception as error:  # the lowering raises many types
        reason = blame(rewritten, example, str(error)) or " ".join(str(error).split())[:300]
        raise UnsupportedGenerator(f"ExecuTorch cannot run {type(model).__name__}: {reason}") from None
    _check_kernels(content, rewritten, example)
    with whole_files(path) as place:
        place.write_bytes(content.buffer)
    is_sound(content.buffer)
    return (path,)


def lowerable(model: nn.Module) -> nn.Module:
    """Give batch normalisations without weights weights of one, because the lowering fails without them."""
    model = copy.deepcopy(model).eval().requires_grad_(False)
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d) and not norm.affine:
            norm.weight, norm.bias = (
                nn.Parameter(torch.ones(norm.num_features)),
                nn.Parameter(torch.zeros(norm.num_features)),
            )
            norm.affine = True
    return model


def _rewritten(model: nn.Module, example: Tensor, calibration: Tensor | None) -> Any:
    """Export a generator as a program of operators that XNNPACK takes, in integers if there are calibration inputs."""
    graph: Any = _export(model, example).module()
    rewrite_(graph)
    return _export(graph if calibration is None else quantized(graph, calibration), example)


def _export(model: nn.Module, example: Tensor) -> Any:
    if example.dim() == 4:
        inputs, shapes = example[:1], None
    else:
        inputs = example[:2] if len(example) > 1 else example.expand(2, *example.shape[1:])
        shapes = ({0: torch.export.Dim("batch", min=1, max=LARGEST_BATCH)},)
    with torch.no_grad():
        return torch.export.export(model, (inputs.contiguous(),), dynamic_shapes=shapes)


def _lower(program: Any) -> Any:
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    return to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()]).to_executorch()


def _check_kernels(content: Any, model: nn.Module, example: Tensor) -> None:
    """Refuse a program with an operator for which the runtime has no kernel.

    Raises:
        UnsupportedGenerator: naming the operator and its layer.
    """
    known = known_operators()
    for plan in content.executorch_program.execution_plan:
        for one in plan.operators:
            name = f"{one.name}.{one.overload}" if one.overload else one.name
            if name not in known:
                where = blame(model, example, name) or f"the operator {name}"
                raise UnsupportedGenerator(
                    f"ExecuTorch cannot run {type(model).__name__}: it has no kernel for {where}"
                )
