"""The tensors of a layer that are quantized, and ranges that layers share so that quantized values pass between
them.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ganpress.compression.preparation.sites import Site
from ganpress.compression.ranges.histograms import Ranges


@dataclass(frozen=True)
class LayerRanges:
    """Ranges of the tensors of one layer that are quantized."""

    source: Ranges
    """Ranges of the input, (1,) for the tensor or (I,) for its channels."""
    target: Ranges
    """Ranges of the output, (1,) for the tensor or (O,) for its channels, within which the next operator is not
    saturated.
    """
    centre: Tensor
    """Offset subtracted from each channel first, (O,); nonzero only if an instance normalisation removes it anyway."""
    deviation: Tensor
    """Standard deviation of each output channel within an image, (O,); zero for layers of single pixels."""
    picture: bool = False
    """Whether every value of the input is one of the 256 of a picture in [-1, 1]."""

    @property
    def crest(self) -> float:
        """Width of the output's range in standard deviations, median over channels; 0 if there is none.

        Rounding to b bits gives a signal-to-noise ratio of 2^b sqrt(12) / crest. Before an instance normalisation the
        deviation matters, so a few outliers reduce the precision of all other values.
        """
        ratio = (self.target.high - self.target.low) / self.deviation
        finite = ratio[torch.isfinite(ratio)]
        return float(finite.median()) if finite.numel() else 0.0


def with_shared_codes(ranges: dict[str, LayerRanges], sites: tuple[Site, ...]) -> dict[str, LayerRanges]:
    """Give a layer's output the range of its readers' inputs, if all readers are layers with the same range.

    Ranges for each input channel are not shared, because operators between two layers may move channels.
    """
    shared = dict(ranges)
    for site in sites:
        sources = [ranges[name].source for name in site.readers]
        if sources and all(len(one.low) == 1 and _same(one, sources[0]) for one in sources):
            shared[site.name] = replace(ranges[site.name], target=sources[0])
    return shared


def _same(one: Ranges, other: Ranges) -> bool:
    return torch.equal(one.low, other.low) and torch.equal(one.high, other.high)
