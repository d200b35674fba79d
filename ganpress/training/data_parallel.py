"""A training step that several ranks share: gradients averaged before each optimizer's step, batch norm over all rows.

No wrapper around a network: sub-networks and methods other than `forward` would pass by one, unsynchronised and
without a word. `ganpress.basics.ranks` says what a rank is.
"""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, optim
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from ganpress.basics.ranks import average_gradients, of_every_rank, ranks, summed

StepT = TypeVar("StepT")


def shared_step(step: Callable[[int], StepT], state: Iterable[object]) -> Callable[[int], StepT]:
    """Return the step that keeps all ranks at the same weights; with one rank, the step itself.

    Args:
        step: computes this rank's rows of a batch.
        state: all that a checkpoint of the training holds, and so every optimizer that the step uses.
    """
    if ranks() == 1:
        return step
    for part in state:
        if isinstance(part, optim.Optimizer):
            part.register_step_pre_hook(average_gradients)

    def of_all_ranks(images_shown: int) -> StepT:
        with WholeBatchNorm():
            return step(images_shown)

    return of_all_ranks


class WholeBatchNorm(TorchFunctionMode):
    """Lets every batch norm inside it that uses its batch's statistics use those of all ranks' rows.

    It sees what networks do, whoever wrote them and whenever they are built, as the sub-generators of a supernet.
    torch's `SyncBatchNorm` refuses the processor, and would have to take the place of modules.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call one function, batch norm in training as `batch_norm_of_all`."""
        named = kwargs or {}
        if func is functional.batch_norm and named.get("training"):
            return batch_norm_of_all(*args, **named)
        return func(*args, **named)


def batch_norm_of_all(
    x: Float[Tensor, "n c ..."],
    running_mean: Float[Tensor, " c"] | None,
    running_var: Float[Tensor, " c"] | None,
    weight: Float[Tensor, " c"] | None = None,
    bias: Float[Tensor, " c"] | None = None,
    training: bool = True,  # noqa: ARG001 (the arguments of `torch.nn.functional.batch_norm`)
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Float[Tensor, "n c ..."]:
    """Normalise x by mean and variance of all ranks' rows, N each (Ioffe and Szegedy 2015, algorithm 1)."""
    y, mean, variance = _BatchNormOfAll.apply(x, weight, bias, eps)
    if running_mean is not None and running_var is not None:
        rows = _rows(x)
        running_mean.lerp_(mean.to(running_mean.dtype), momentum)
        running_var.lerp_((variance * (rows / (rows - 1))).to(running_var.dtype), momentum)
    normalised: Tensor = y
    return normalised


class _BatchNormOfAll(torch.autograd.Function):
    """torch's own kernels on this rank's rows, with statistics and sums of all; its gradient has none of its own.

    Each rank's variance is about its own mean, and the parts are put together as Chan et al. (1979) do: the
    difference of large squares would lose digits.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Float[Tensor, "n c ..."],
        weight: Float[Tensor, " c"] | None,
        bias: Float[Tensor, " c"] | None,
        eps: float,
    ) -> tuple[Float[Tensor, "n c ..."], Float[Tensor, " c"], Float[Tensor, " c"]]:
        wide = _wide(x)
        _, own_mean, own_scale = torch.native_batch_norm(wide, None, None, None, None, True, 0.0, eps)
        means, scales = of_every_rank(torch.stack((own_mean, own_scale))).unbind(1)  # (ranks, C) each
        mean = means.mean(0)
        spread = (scales.pow(-2) + (means - mean).square()).mean(0)  # the variance, and eps
        variance = spread - eps
        y = functional.batch_norm(wide, mean, variance, weight, bias, False, 0.0, eps).to(x.dtype)
        ctx.save_for_backward(x, weight, mean, spread.rsqrt())
        ctx.eps = eps
        ctx.mark_non_differentiable(mean, variance)
        return y, mean, variance

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, gradient: Float[Tensor, "n c ..."], *_: Tensor
    ) -> tuple[Float[Tensor, "n c ..."], Float[Tensor, " c"] | None, Float[Tensor, " c"] | None, None]:
        """Dx = w/s (dy - E dy - x^ E(dy x^)), with s the deviation, x^ = (x - mean) / s and means over all rows."""
        x, weight, mean, scale = ctx.saved_tensors
        wide, gradient = _wide(x), _wide(gradient)
        _, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            gradient, wide, weight, None, None, mean, scale, True, ctx.eps, [False, True, True]
        )
        with_x, alone = summed(torch.stack((of_weight, of_bias))).unbind(0)
        factor = scale if weight is None else scale * weight
        slope = -factor * scale * with_x / _rows(x)
        shift = -factor * alone / _rows(x) - slope * mean
        factor, slope, shift = (one.view(1, -1, *[1] * (x.dim() - 2)) for one in (factor, slope, shift))
        of_x = torch.addcmul(torch.addcmul(shift, wide, slope), gradient, factor).to(x.dtype)
        return of_x, None if weight is None else of_weight, None if weight is None else of_bias, None


def _rows(x: Float[Tensor, "n c ..."]) -> int:
    """Values of a channel that all ranks have together, of which x holds its share."""
    return x.numel() // x.shape[1] * ranks()


def _wide(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The values in float32 at least: sums of many are taken of them."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
