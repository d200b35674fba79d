"""Weight sharing: each layer's weights have few distinct values (Han et al. 2016, "Deep compression", section 3)."""

import copy

import torch
from pydantic import Field

from ganpress.compression.compressor import Compressor
from ganpress.config.base import Section


class Options(Section):
    """Options of the algorithm."""

    clusters: int = Field(default=16, ge=2, le=256)
    """Values that the weights of a layer may have."""


@torch.no_grad()
def share_weights(model, blueprint, options, data):
    """Set each weight to the nearest of evenly placed quantiles of its layer."""
    shared = copy.deepcopy(model)
    for weight in (one for one in shared.parameters() if one.dim() > 1):
        values = torch.quantile(weight.flatten()[:100_000], torch.linspace(0, 1, options.clusters))
        weight.copy_(values[(weight[..., None] - values).abs().argmin(-1)])
    return shared, blueprint


WEIGHT_SHARING = Compressor("weight_sharing", Options, share_weights)
