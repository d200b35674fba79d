"""Forms of a float generator that compute the same and run at different speeds; every rewriting is exact.

`native` keeps transposed convolutions, `subpixel` replaces each one by a plain convolution to r * r times the channels
and a rearrangement (Shi et al. 2016), which every runtime can multiply in integers. In both, batch normalisations and
parameters that are added are folded into the layer before them, and a transposed convolution of single pixels is a
matrix product. Which one is faster depends on the runtime, the number type and the machine, and so is measured:
`ganpress.edge.forms.choice`.
"""

import copy
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from ganpress.compression.preparation.sites import Site, find_sites
from ganpress.errors import ConfigError
from ganpress.structure.surgery import folded, plain_convolution
from models.quantized_geometry import Geometry, geometry_of
from models.quantized_network import take_out_

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


def _product(layer: SubpixelConv) -> nn.Module:
    """A layer of single pixels as a matrix product; what it draws of each channel lies together already."""
    outputs, inputs = layer.weight.shape[:2]
    factor = layer.geometry.factor
    linear = nn.Linear(inputs, outputs)
    linear.weight, linear.bias = nn.Parameter(layer.weight.flatten(1)), layer.bias
    return nn.Sequential(nn.Flatten(), linear, nn.Unflatten(1, (outputs // factor**2, factor, factor)))


@torch.no_grad()
def _rewrite_(model: nn.Module, site: Site, form: Form) -> None:
    if not site.name:
        return  # the generator is a single layer
    layer = model.get_submodule(site.name)
    norm = model.get_submodule(site.norm) if site.norm else None
    shift = model.get_parameter(site.shift) if site.shift else None
    if isinstance(layer, nn.ConvTranspose2d) and (form == "subpixel" or site.pixel):
        geometry, parameters = geometry_of(layer, site.pixel), plain_convolution(layer, norm, shift, site.pixel)
        subpixel = SubpixelConv(geometry, *parameters, site.follower == "relu")
        model.set_submodule(site.name, _product(subpixel) if site.pixel and geometry.groups == 1 else subpixel)
    elif site.folded:
        layer.weight, layer.bias = (nn.Parameter(one.float()) for one in folded(layer, norm, shift))
    for name in site.folded:
        take_out_(model, name)
