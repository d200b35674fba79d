"""Forms of a float generator that compute the same result at different speeds; every rewrite is exact.

`native` keeps transposed convolutions. `subpixel` replaces each one by a plain convolution to r * r times the channels
and a pixel shuffle (Shi et al. 2016), which every runtime can compute in integers. In both, batch normalisations and
added parameters are folded into the layer before them, and a transposed convolution of single pixels becomes a matrix
product. Which form is faster depends on the runtime, the number type and the machine; `ganpress.edge.forms.choice`
measures it.
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
    """A transposed convolution computed as a plain one, (N, I, H, W) -> (N, O, r H - …, r W - …).

    A following ReLU is moved before the pixel shuffle, with which it commutes, so that runtimes fuse it with the
    convolution.
    """

    def __init__(self, geometry: Geometry, weight: Tensor, bias: Tensor, relu: bool) -> None:
        super().__init__()
        self.geometry, self.relu = geometry, relu
        self.weight, self.bias = nn.Parameter(weight, requires_grad=False), nn.Parameter(bias, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.geometry.convolve(x, self.weight, self.bias)  # (N, r r O, h, w)
        return self.geometry.rearrange(functional.relu(x) if self.relu else x)


def in_form(model: nn.Module, form: Form, example: Tensor, sites: Sequence[Site] | None = None) -> nn.Module:
    """Return an equivalent generator in a form, with batch normalisations folded; the given one is not changed.

    Args:
        model: a generator.
        form: form of its transposed convolutions.
        example: inputs (N, …) with which its layers are found.
        sites: its layers if they are known, e.g. from a generator of another width; finding them takes a second.

    Raises:
        ConfigError: if the generator cannot be traced.
    """
    rewritten = with_batch_norms(copy.deepcopy(model).eval())
    try:
        sites = find_sites(rewritten, example) if sites is None else sites
    except ConfigError:  # nothing to rewrite, or not traceable; the exporter reports why
        return rewritten
    for site in sites:
        _rewrite_(rewritten, site, form)
    return rewritten


def with_batch_norms(model: nn.Module) -> nn.Module:
    """Return a generator in which batch normalisations replace the instance normalisations that use stored statistics.

    Both compute the same in eval mode. Some converters (ncnn's, Core ML's) silently compute the statistics of the
    picture instead. A generator without such layers is returned itself.
    """
    kinds = {nn.InstanceNorm1d: nn.BatchNorm1d, nn.InstanceNorm2d: nn.BatchNorm2d}
    norms = {name: one for name, one in model.named_modules() if type(one) in kinds and one.track_running_stats}
    if not norms or any(one.training for one in norms.values()):
        return model
    made = copy.deepcopy(model)
    for name, norm in norms.items():
        batch_norm = kinds[type(norm)](norm.num_features, norm.eps, norm.momentum, norm.affine)
        batch_norm.load_state_dict(norm.state_dict())
        made.set_submodule(name, batch_norm.eval())
    return made


def has_transposed(model: nn.Module) -> bool:
    """Whether a generator has transposed convolutions, so that its forms differ."""
    return any(isinstance(layer, nn.ConvTranspose2d) for layer in model.modules())


def _product(layer: SubpixelConv) -> nn.Module:
    """Replace a layer on single pixels by a matrix product; its outputs of each channel are already adjacent."""
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
