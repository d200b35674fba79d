"""Programs of ExecuTorch that a backend for another processor runs as a whole: written, and read back part by part.

Such a program holds one *delegate*: bytes that the backend's compiler made of the whole network. Its runtime is not on
this system, so a reader of these bytes computes what stands in them (`vulkan_program`, `executorch_coreml_target`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ganpress.basics.whole_files import write_whole
from ganpress.edge.layer_names import blame
from ganpress.edge.onnx_runtime import as_float32
from ganpress.edge.quiet import quiet
from ganpress.edge.targets.executorch_lowering import lowerable
from ganpress.edge.targets.executorch_surgery import rewrite_
from ganpress.edge.targets.mil_operators import NoOperator
from ganpress.edge.targets.target import UnsupportedGenerator
from ganpress.errors import CheckpointError, shown
from ganpress.files.frames import read_content
from ganpress.performance.latency import torch_threads


class BadDelegate(Exception):
    """A program that is damaged, or of another form than those that ganpress writes; the text says why."""


@dataclass(frozen=True)
class Delegate:
    """What a backend gets."""

    content: bytes
    constants: Mapping[str, bytes]
    """Weights that lie beside it in the program, by their keys."""


def write_delegated(
    model: nn.Module, path: Path, example: Tensor, make_partitioner: Callable[[], Any], title: str, rewritten: bool
) -> tuple[Path, ...]:
    """Write a generator in its form as a program of one delegate, which takes one input a call.

    Args:
        model: a generator in floats.
        path: the file.
        example: inputs (N, …); the shape of one becomes the program's.
        make_partitioner: makes the backend's partitioner, which says what the backend takes.
        title: name of the backend for people.
        rewritten: whether normalisations and borders are written as plain operators first.

    Raises:
        UnsupportedGenerator: if the backend does not take the whole network.
    """
    from executorch.exir import to_edge_transform_and_lower

    model, one = lowerable(model), example[:1].contiguous()
    try:
        with quiet(), torch.no_grad():
            program = torch.export.export(model, (one,))
            if rewritten:
                graph: Any = program.module()
                rewrite_(graph)
                program = torch.export.export(graph, (one,))
            lowered = to_edge_transform_and_lower(program, partitioner=[make_partitioner()])
            left = _left_over(lowered)
            content = lowered.to_executorch().buffer
    except Exception as error:  # the lowering raises many types
        reason = blame(model, one, str(error)) or " ".join(str(error).split())[:300]
        raise UnsupportedGenerator(f"{title} cannot run {type(model).__name__}: {reason}") from None
    if left:
        where = blame(model, one, " ".join(left)) or f"the operator {left[0]}"
        raise UnsupportedGenerator(f"{title} cannot run {type(model).__name__}: it does not take {where}")
    write_whole(path, content)
    return (path,)


def _left_over(lowered: Any) -> list[str]:
    """Operators that no delegate took, e.g. `aten.cumsum.default`."""
    nodes = lowered.exported_program().graph.nodes
    names = [str(getattr(node.target, "_op", node.target)) for node in nodes if node.op == "call_function"]
    return [name for name in names if "executorch_call_delegate" not in name and "getitem" not in name]


def read_delegate(content: bytes, backend: str) -> Delegate:
    """Read the delegate of a program.

    Args:
        content: of the file.
        backend: the delegate's name in it.

    Raises:
        BadDelegate: if the program is damaged, or not one delegate of this backend.
    """
    from executorch.exir._serialize._program import deserialize_pte_binary

    try:
        with quiet():
            file = deserialize_pte_binary(content)
        (plan,) = file.program.execution_plan
        (delegate,) = plan.delegates
        place = delegate.processed.index
        data = bytes(file.program.backend_delegate_data[place].data)
        named = file.named_data
        keys = (
            {}
            if named is None
            else {key: bytes(named.buffers[one.buffer_index]) for key, one in named.pte_data.items()}
        )
    except Exception as error:  # the reader raises many types for damaged files
        raise BadDelegate(f"it is no program of one delegate ({type(error).__name__})") from None
    if delegate.id != backend or plan.operators:
        raise BadDelegate(f"it is no program of {backend} alone")
    return Delegate(data, keys)


class DelegatedGenerator:
    """Latents (N, Z) or pictures (N, C, H, W) -> images (N, C, H, W), float32, computed by ganpress on the CPU."""

    def __init__(
        self, path: Path, threads: int, read: Callable[[bytes], tuple[Callable[[Tensor], Tensor], tuple[int, ...]]]
    ) -> None:
        """Load the file.

        Args:
            path: a program, plain or packed.
            threads: cores to use.
            read: from the content of the file to what computes one input, and the shape of one input.

        Raises:
            CheckpointError: if the file is missing, damaged, or not a generator.
        """
        if not path.exists():
            raise CheckpointError(f"{path} does not exist; export the generator first")
        try:
            self._run, self.input_shape = read(read_content(path))
        except BadDelegate as error:
            raise CheckpointError(f"{path} cannot be loaded: {shown(error, 200)}; export it again") from None
        self.path, self._threads = path, threads

    def __call__(self, inputs: Tensor) -> Tensor:
        """Run a batch of any size, one input after the other: the program takes one.

        Raises:
            ConfigError: if `inputs` is not (N, *input_shape) with N >= 1.
            CheckpointError: if the program does not compute.
        """
        values = torch.from_numpy(as_float32(inputs, self.input_shape, f"{self.path.name} takes"))
        try:
            with torch.no_grad(), torch_threads(self._threads):
                return torch.cat([self._run(values[place : place + 1]) for place in range(len(values))])
        except (NoOperator, RuntimeError, IndexError, KeyError, TypeError, ValueError) as error:
            reason = shown(" ".join(str(error).split()), 200)
            raise CheckpointError(f"{self.path} does not compute: {reason}; export it again") from None
