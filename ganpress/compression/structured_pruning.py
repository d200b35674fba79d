"""Structured pruning without fine-tuning: the least important channels of each layer are cut off.

What is left is a smaller network of the same architecture, so that it costs less on every runtime; zeros in between
would not. The importance of a channel is the L1 norm of the filters that make it (Li et al. 2017, "Pruning filters for
efficient ConvNets", section 3.1), summed over layers whose outputs are added; which channels go together is found by
`ganpress.training.teacher_initialisation`.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ganpress.errors import ConfigError
from ganpress.fidelity import batches_of
from ganpress.training.teacher_initialisation import initialise_from_teacher_
from models.builders import Blueprint, with_spec
from models.elastic import Elastic, Spec, WidthSpace
from models.imported import parse_percents
from models.resnet import ResnetSpec
from models.spade import SpadeSpec
from models.unet import UnetSpec
from models.wdcgan import hidden_levels

Numbers = Callable[[str, dict[str, Any]], tuple[int, ...]]

NUMBERS: dict[str, Numbers] = {
    "edge_resnet_generator": lambda text, _: ResnetSpec.parse(text).base_channels,
    "imported": lambda text, arguments: parse_percents(text, len(arguments["groups"])),
    "resnet_generator": lambda text, _: ResnetSpec.parse(text).base_channels,
    "spade_generator": lambda text, _: SpadeSpec.parse(text).base_channels,
    "unet_generator": lambda text, arguments: UnetSpec.parse(text, arguments["downs"]).base_channels,
    "wdcgan_generator": lambda text, arguments: Spec.parse(text, hidden_levels(arguments["size"])).numbers,
}
"""The width numbers of a builder's spec text."""


@torch.no_grad()
def prune_channels(model: nn.Module, blueprint: Blueprint, width: float, inputs: Tensor) -> tuple[nn.Module, Blueprint]:
    """Cut a generator to a share of its width numbers, the most important channels kept.

    Statistics of batch normalisations are measured anew on `inputs`: those of the wide network are not the narrow
    one's.

    Args:
        model: a trained generator; it is left as it is.
        blueprint: what rebuilds it.
        width: share of each number of its spec, above 0 and at most 1; each keeps the nearest whole number, at least 1.
        inputs: calibration inputs (N, …).

    Returns:
        The narrow generator in eval mode, and what rebuilds it.

    Raises:
        ConfigError: if the share is not allowed, the architecture has no widths, or channels cannot be followed.
    """
    if not 0 < width <= 1:
        raise ConfigError(f"width is a share of channels above 0 and at most 1, found {width}")
    if blueprint.builder not in NUMBERS:
        raise ConfigError(f"a '{blueprint.builder}' has no widths that could be cut; known: {', '.join(NUMBERS)}")
    numbers = NUMBERS[blueprint.builder](str(blueprint.arguments["spec"]), blueprint.arguments)
    if not numbers:
        raise ConfigError("this generator has no group of channels that could be cut; leave out width")
    narrow = Spec(tuple(max(1, round(number * width)) for number in numbers))
    space = WidthSpace(tuple((number,) for number in narrow.numbers))
    elastic = Elastic(space, lambda one: with_spec(blueprint, one).build())
    initialise_from_teacher_(elastic, model, inputs[:1])
    pruned = elastic.extract(narrow, elastic.calibrate(batches_of(inputs)[0], narrow))
    return pruned, with_spec(blueprint, narrow)
