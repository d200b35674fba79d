"""A training step that several ranks share: gradients averaged before each optimizer's step, batch norm over all rows.

No wrapper around a network: sub-networks and methods other than `forward` would pass by one, unsynchronised and
without a word. `ganpress.basics.ranks` says what a rank is.
"""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import torch
from torch import Tensor, optim
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from ganpress.basics.ranks import average_gradients, of_every_rank, ranks

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
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = True,  # noqa: ARG001 (the arguments of `torch.nn.functional.batch_norm`)
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise x (N, C, …) by the mean and variance of all ranks' rows, N each (Ioffe and Szegedy 2015, algorithm 1).

    Each rank's variance is about its own mean, and the parts are put together as Chan et al. (1979) do: the
    difference of large squares would lose digits.
    """
    values = x.to(torch.promote_types(x.dtype, torch.float32))
    parts = of_every_rank(torch.stack(torch.var_mean(values, [0, *range(2, x.dim())], correction=0)))
    variances, means = parts.unbind(1)  # (ranks, C) each
    mean = means.mean(0)
    variance = (variances + (means - mean).square()).mean(0)
    if running_mean is not None and running_var is not None:
        rows = x.numel() // x.shape[1] * ranks()
        with torch.no_grad():
            running_mean.lerp_(mean.to(running_mean.dtype), momentum)
            running_var.lerp_((variance * (rows / (rows - 1))).to(running_var.dtype), momentum)
    scale = torch.rsqrt(variance + eps) if weight is None else torch.rsqrt(variance + eps) * weight
    shift = -mean * scale if bias is None else bias - mean * scale
    shape = (1, -1, *[1] * (x.dim() - 2))
    return (values * scale.view(shape) + shift.view(shape)).to(x.dtype)
