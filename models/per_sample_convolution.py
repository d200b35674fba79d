"""Convolutions whose weights differ from sample to sample, as modulated convolutions have them (Karras et al. 2020).

Networks write them as one convolution that lays the samples behind each other in its channels, with as many groups as
there are samples. A number of groups that is the batch has no form in ONNX or any runtime. Here the same numbers come
from matrix products, one for each place of the kernel, which all runtimes have for any batch.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

CONVOLUTIONS = {"conv2d": False, "conv_transpose2d": True}
"""Name of a function -> whether it is transposed."""


class PerSample(TorchFunctionMode):
    """Runs convolutions that have the batch for their groups as matrix products.

    Args:
        batch: samples that the network reads.
        seen: where the number of such convolutions is written down.
    """

    def __init__(self, batch: int, seen: list[str] | None = None) -> None:
        super().__init__()
        self._batch, self._seen = batch, seen

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call one function, or such a convolution in its place."""
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name not in CONVOLUTIONS:
            return func(*args, **kwargs)
        transposed = CONVOLUTIONS[name]
        names = ["input", "weight", "bias", "stride", "padding"]
        names += ["output_padding", "groups", "dilation"] if transposed else ["dilation", "groups"]
        given = dict(zip(names, args, strict=False)) | kwargs
        x, weight = given["input"], given["weight"]
        plain = isinstance(weight, torch.nn.Parameter) or x.dim() != 4 or isinstance(given.get("padding", 0), str)
        if (
            plain
            or x.shape[0] != 1
            or given.get("groups", 1) != self._batch
            or _pair(given.get("dilation", 1)) != (1, 1)
        ):
            return func(*args, **kwargs)
        if self._seen is not None:
            self._seen.append(name)
        samples = x.reshape(self._batch, -1, *x.shape[2:])
        kernels = weight.reshape(self._batch, -1, *weight.shape[1:])
        stride, padding = _pair(given.get("stride", 1)), _pair(given.get("padding", 0))
        if transposed:
            more = _pair(given.get("output_padding", 0))
            samples, kernels, borders = _as_plain(samples, kernels, stride, padding, more)
            stride = (1, 1)
        else:
            borders = (padding[1], padding[1], padding[0], padding[0])
        maps = _by_products(functional.pad(samples, borders), kernels, stride)
        maps = maps.reshape(1, -1, *maps.shape[2:])
        bias = given.get("bias")
        return maps if bias is None else maps + bias.reshape(1, -1, 1, 1)


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[-1])


def _by_products(
    x: Float[Tensor, "n i h w"], kernels: Float[Tensor, "n o i kh kw"], stride: tuple[int, int]
) -> Float[Tensor, "n o h_out w_out"]:
    rows, columns = kernels.shape[3:]
    height, width = (x.shape[2] - rows) // stride[0] + 1, (x.shape[3] - columns) // stride[1] + 1
    total: Any = 0
    for row in range(rows):
        for column in range(columns):
            ends = (row + (height - 1) * stride[0] + 1, column + (width - 1) * stride[1] + 1)
            part = x[:, :, row : ends[0] : stride[0], column : ends[1] : stride[1]]
            total = total + kernels[..., row, column] @ part.flatten(2)
    maps: Tensor = total.reshape(*total.shape[:2], height, width)
    return maps


def _as_plain(
    x: Float[Tensor, "n i h w"],
    kernels: Float[Tensor, "n i o kh kw"],
    stride: tuple[int, int],
    padding: tuple[int, int],
    more: tuple[int, int],
) -> tuple[Tensor, Tensor, tuple[int, int, int, int]]:
    """A transposed convolution as a plain one: zeros between the pixels, the kernel turned around."""
    height, width = x.shape[2:]
    spread = functional.pad(x[:, :, :, None, :, None], (0, stride[1] - 1, 0, 0, 0, stride[0] - 1))
    spread = spread.flatten(4, 5).flatten(2, 3)[:, :, : (height - 1) * stride[0] + 1, : (width - 1) * stride[1] + 1]
    rows, columns = kernels.shape[3:]
    top, left = rows - 1 - padding[0], columns - 1 - padding[1]
    return spread, kernels.transpose(1, 2).flip(3, 4), (left, left + more[1], top, top + more[0])
