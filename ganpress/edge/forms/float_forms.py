"""Forms of a float generator that compute the same and run at different speeds; every rewriting is exact.

`native` keeps transposed convolutions, `subpixel` replaces each one by a plain convolution to r * r times the channels
and a rearrangement (Shi et al. 2016), which every runtime can multiply in integers. In both, batch normalisations are
folded into the layer before them. Which one is faster depends on the runtime, the number type and the machine, and so
is measured: `ganpress.edge.forms.choice`.
"""

import copy
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from ganpress.compression.preparation.sites import Site, find_sites
from ganpress.errors import ConfigError
from ganpress.structure.surgery import deployable, fold_batch_norm, plain_convolution
from models.edge_wdcgan import DeployedWdcgan
from models.quantized_geometry import Geometry, geometry_of
from models.wdcgan import WdcganGenerator

Form = Literal["native", "subpixel"]
FORMS: tuple[Form, ...] = ("native", "subpixel")


class SubpixelConv(nn.Module):
    """(N, I, H, W) -> (N, O, r H - …, r W - …): what a transposed convolution computes, as a plain one.

    A ReLU that follows comes before the rearrangement, with which it commutes: runtimes fuse it into the convolution.
    """

    def __init__(self, geometry: Geometry, weight: Tensor, bias: Tensor, relu: bool) -> None:
        super().__init__()
        self.geometry, self.relu = geometry, relu
        self.weight, self.bias = nn.Parameter(weight, requires_grad=False), nn.Parameter(bias, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.geometry.convolve(x, self.weight, self.bias)  # (N, r r O, h, w)
        return self.geometry.rearrange(functional.relu(x) if self.relu else x)


def in_form(model: nn.Module, form: Form, example: Tensor, sites: Sequence[Site] | None = None) -> nn.Module:
    """Return an equal generator in a form, with batch normalisations folded; the given one is left as it is.

    Args:
        model: a generator.
        form: of its transposed convolutions.
        example: inputs (N, …) that its layers are found with.
        sites: its layers where they are known, as those of a generator of another width; finding them takes a second.

    Raises:
        ConfigError: if the generator cannot be traced.
    """
    if isinstance(model, WdcganGenerator | DeployedWdcgan):
        folded = fold_batch_norm(model) if isinstance(model, WdcganGenerator) else model
        return deployable(folded) if form == "subpixel" else folded
    rewritten = copy.deepcopy(model).eval()
    try:
        sites = find_sites(rewritten, example) if sites is None else sites
    except ConfigError:  # nothing that could be rewritten, or not traceable: the exporter says why
        return rewritten
    for site in sites:
        _rewrite_(rewritten, site, form)
    return rewritten


def has_transposed(model: nn.Module) -> bool:
    """Whether the forms of a generator differ."""
    return any(isinstance(layer, nn.ConvTranspose2d) for layer in model.modules())


def _rewrite_(model: nn.Module, site: Site, form: Form) -> None:
    if not site.name:
        return  # the generator is a single layer
    layer = model.get_submodule(site.name)
    norm = model.get_submodule(site.norm) if site.norm else None
    if form == "subpixel" and isinstance(layer, nn.ConvTranspose2d):
        weight, bias = plain_convolution(layer, norm)
        model.set_submodule(site.name, SubpixelConv(geometry_of(layer), weight, bias, site.follower == "relu"))
    elif norm is not None:
        _fold_(layer, norm)
    if site.norm:
        model.set_submodule(site.norm, nn.Identity())


@torch.no_grad()
def _fold_(layer: nn.Module, norm: nn.Module) -> None:
    """Fold a batch normalisation into the layer before it, in float64."""
    assert isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d)  # what find_sites calls a norm
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None:
        raise ConfigError("a batch normalisation without running statistics cannot be folded; train it with them")
    scale = torch.rsqrt(variance.double() + norm.eps) * (norm.weight.double() if norm.affine else 1.0)
    weight, bias = layer.get_parameter("weight"), getattr(layer, "bias", None)
    shift = (torch.zeros_like(scale) if bias is None else bias.double()) - mean.double()
    shift = shift * scale + (norm.bias.double() if norm.affine else 0.0)
    if isinstance(layer, nn.ConvTranspose2d):  # (I, O / groups, k, k)
        scaled = weight.double() * scale_of_outputs(layer, scale)
    else:  # (O, I / groups, …)
        scaled = weight.double() * scale.reshape(-1, *(1 for _ in weight.shape[1:]))
    layer.weight, layer.bias = nn.Parameter(scaled.float()), nn.Parameter(shift.float())


def scale_of_outputs(layer: nn.ConvTranspose2d, channels: Tensor) -> Tensor:
    """Spread a value of each output channel (O,) over a transposed convolution's weights, (I, O / groups, 1, 1)."""
    inputs = layer.in_channels // layer.groups
    return channels.reshape(layer.groups, 1, -1).expand(-1, inputs, -1).flatten(0, 1)[:, :, None, None]
