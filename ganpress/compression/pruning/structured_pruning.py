"""Structured pruning without fine-tuning: the least important channels of each layer are removed.

The result is a smaller network of the same architecture, which costs less on every runtime, unlike a network with
zeros. The importance of a channel is the L1 norm of the filters that compute it (Li et al. 2017, "Pruning filters for
efficient ConvNets", section 3.1), summed over layers whose outputs are added;
`ganpress.training.teacher_initialisation` finds which channels belong together.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ganpress.errors import ConfigError
from ganpress.metrics.fidelity import batches_of
from ganpress.training.teacher_initialisation import initialise_from_teacher_
from models.builders import Blueprint, width_numbers, with_spec
from models.elastic import Elastic, Spec, WidthSpace


@torch.no_grad()
def prune_channels(
    model: nn.Module, blueprint: Blueprint, width: float, inputs: Float[Tensor, "n ..."]
) -> tuple[nn.Module, Blueprint]:
    """Prune a generator to a share of its width numbers, keeping the most important channels.

    Statistics of batch normalisations are measured again on `inputs`, because those of the wide network do not fit.

    Args:
        model: a trained generator; it is not changed.
        blueprint: its blueprint.
        width: share of each number of its spec, above 0 and at most 1; each keeps the nearest whole number, at least 1.
        inputs: calibration inputs.

    Returns:
        The narrow generator in eval mode, and its blueprint.

    Raises:
        ConfigError: if the share is not allowed, the architecture has no widths, or channels cannot be followed.
    """
    if not 0 < width <= 1:
        raise ConfigError(f"width must be above 0 and at most 1, found {width}")
    try:
        numbers = width_numbers(blueprint)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    if not numbers:
        raise ConfigError("this generator has no group of channels that could be cut; leave out width")
    narrow = Spec(tuple(max(1, round(number * width)) for number in numbers))
    space = WidthSpace(tuple((number,) for number in narrow.numbers))
    elastic = Elastic(space, lambda one: with_spec(blueprint, one).build())
    initialise_from_teacher_(elastic, model, inputs[:1])
    pruned = elastic.extract(narrow, elastic.calibrate(batches_of(inputs)[0], narrow))
    return pruned, with_spec(blueprint, narrow)
