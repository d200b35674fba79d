"""The graph that ExecuTorch's Vulkan backend runs, as it stands in a program, computed by torch on the CPU.

A delegate is a header, a flatbuffer (`VkGraph`: values, and calls of operators over them) and weights. Layout:
`backends/vulkan/serialization/schema.fbs` of ExecuTorch.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganpress.edge.targets.executorch_delegates import BadDelegate, Delegate

BACKEND = "VulkanBackend"
LARGEST_TENSOR = 2**28
"""Values of a tensor of a program that is computed here: 1 GiB."""
HEADER_BYTES = 30
LARGEST_NUMBER = torch.finfo(torch.float32).max
"""A bound of this size bounds nothing."""
CONVOLUTIONS = ("aten.convolution.default", "et_vk.conv_with_clamp.default")
MULTIPLYING = (*CONVOLUTIONS, "aten.linear.default", "aten.mm.default", "aten.bmm.default", "aten.addmm.default")


def _clamped_convolution(*arguments: Any) -> Tensor:
    *convolution, low, high = arguments
    found: Tensor = torch.ops.aten.convolution.default(*convolution)
    low, high = (bound if bound is not None and abs(bound) < LARGEST_NUMBER else None for bound in (low, high))
    return found if low is None and high is None else found.clamp(low, high)


def _of_torch(name: str) -> Callable[..., Tensor]:
    """An operator of torch's that takes the values of a call in the order of its schema."""
    packet, _, overload = name.partition(".")
    operator = getattr(getattr(torch.ops.aten, packet), overload)
    expected = operator._schema.arguments

    def run(*values: Any) -> Tensor:
        pairs = list(zip(expected, values, strict=False))
        named = {one.name: value for one, value in pairs if one.kwarg_only and value is not None}
        found: Tensor = operator(*(value for one, value in pairs if not one.kwarg_only), **named)
        return found

    return run


OF_TORCH = """
abs.default add.Tensor add.Scalar addmm.default amax.default amin.default avg_pool2d.default bmm.default cat.default
clamp.default clone.default constant_pad_nd.default convolution.default div.Tensor exp.default expand_copy.default
flip.default gelu.default hardtanh.default leaky_relu.default linear.default maximum.default mean.dim minimum.default
mm.default mul.Tensor mul.Scalar _native_batch_norm_legit_no_training.default neg.default permute_copy.default
pixel_shuffle.default pow.Tensor_Scalar relu.default repeat.default rsqrt.default select_copy.int sigmoid.default
slice_copy.Tensor _softmax.default split_with_sizes_copy.default sqrt.default squeeze_copy.dims sub.Tensor
sum.dim_IntList tanh.default unsqueeze_copy.default upsample_bilinear2d.vec upsample_nearest2d.vec view_copy.default
"""
"""Operators that programs of generators hold and that do nothing but compute."""
OPERATORS: Mapping[str, Callable[..., Any]] = {
    **{f"aten.{name}": _of_torch(name) for name in OF_TORCH.split()},
    "et_vk.conv_with_clamp.default": _clamped_convolution,
    "et_vk.prepack.default": lambda weight: weight,
}


@dataclass(frozen=True)
class Call:
    """One operator over values, which are named by their places in the program."""

    operator: str
    arguments: tuple[int, ...]
    results: tuple[int, ...]


@dataclass(frozen=True)
class VulkanProgram:
    """One input, one output."""

    calls: tuple[Call, ...]
    values: Mapping[int, Any]
    """Numbers, lists of numbers, and weights."""
    lists: Mapping[int, tuple[int, ...]]
    """Lists of other values."""
    source: int
    shape: tuple[int, ...]
    """Of the input, without the batch."""
    output: int

    def run(self, inputs: Tensor) -> Tensor:
        """Compute one input (1, …) float32."""
        known: dict[int, Any] = {**self.values, self.source: inputs}
        for call in self.calls:
            given = [[known[one] for one in self.lists[at]] if at in self.lists else known[at] for at in call.arguments]
            found = OPERATORS[call.operator](*given)
            known.update(zip(call.results, found if len(call.results) > 1 else [found], strict=True))
        image: Tensor = known[self.output]
        return image

    def parts(self) -> Iterator[tuple[str, str, bool, None]]:
        """Each call's operator, number type, whether it multiplies; no times are known."""
        for call in self.calls:
            yield call.operator, "float32", call.operator in MULTIPLYING, None


def read_vulkan(delegate: Delegate) -> VulkanProgram:
    """Read a delegate of the Vulkan backend.

    Raises:
        BadDelegate: if it is damaged, or holds what is not computed here.
    """
    from executorch.backends.vulkan.serialization import vulkan_graph_serialize as serialization

    data = delegate.content
    try:
        header = serialization.VulkanDelegateHeader.from_bytes(data[:HEADER_BYTES])
        start = header.flatbuffer_offset
        graph = serialization.flatbuffer_to_vk_graph(data[start : start + header.flatbuffer_size])
        (source,), (output,) = graph.input_ids, graph.output_ids
        stored = [_weight_bytes(one, data[header.bytes_offset :], delegate.constants) for one in graph.constants]
        contents = dict(enumerate(one.value for one in graph.values))
        lists = {at: tuple(one.items) for at, one in contents.items() if _kind(one) == "ValueList"}
        values = {at: _value(one, stored) for at, one in contents.items() if at not in lists and _is_known(one)}
        calls = tuple(
            Call(one.name, tuple(one.args[:-1]), lists.get(one.args[-1], (one.args[-1],))) for one in graph.chain
        )
        shape = tuple(contents[source].dims[1:])
    except BadDelegate:
        raise
    except Exception as error:  # the reader of flatbuffers and torch raise many types
        raise BadDelegate(f"it is no graph of one input and one output ({type(error).__name__})") from None
    unknown = sorted({call.operator for call in calls} - OPERATORS.keys())
    if unknown:
        raise BadDelegate(f"it holds the operator {unknown[0]}, which is not computed here")
    return VulkanProgram(calls, values, lists, source, shape, output)


def _kind(content: Any) -> str:
    return type(content).__name__


def _is_known(content: Any) -> bool:
    """Whether a value stands in the program; the others are computed.

    Raises:
        BadDelegate: if it is a tensor too large to be computed here, or a size that is only known when it runs.
    """
    if _kind(content) == "SymInt":
        raise BadDelegate("its shapes are open")
    if _kind(content) != "VkTensor":
        return True
    if math.prod(content.dims) > LARGEST_TENSOR:
        raise BadDelegate(f"it holds a tensor of more than {LARGEST_TENSOR:,} values, the limit")
    return bool(content.constant_id >= 0)


def _weight_bytes(place: Any, data: bytes, constants: Mapping[str, bytes]) -> bytes:
    return constants[place.named_key] if place.named_key else data[place.offset : place.offset + place.length]


def _value(content: Any, stored: list[bytes]) -> Any:
    """A number, a list of numbers, or a weight, as operators of torch take it."""
    kind = _kind(content)
    if kind == "VkTensor":
        if content.datatype.name != "FLOAT32":
            raise BadDelegate(f"it holds weights in {content.datatype.name}, which are not computed here")
        weight = np.frombuffer(stored[content.constant_id], np.float32, math.prod(content.dims))
        return torch.from_numpy(weight.copy()).reshape(content.dims)
    if kind == "Null":
        return None
    return list(content.items) if kind.endswith("List") else next(iter(vars(content).values()))
