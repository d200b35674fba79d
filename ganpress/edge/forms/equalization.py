"""Equalization across instance normalisation, which makes quantization to one scale a tensor hurt less.

An instance normalisation without running statistics takes away mean and scale of each channel, so that the convolution
before it may be multiplied by any positive number channel by channel. It is multiplied so that all channels spread
alike: then the one scale that a runtime's quantizer gives the whole tensor fits each of them. The normalisation's eps
is the only difference (relative, eps / variance).
"""

import copy

import torch
from torch import Tensor, nn

from ganpress.compression.preparation.sites import Site, find_sites
from ganpress.errors import ConfigError
from ganpress.structure.surgery import scale_of_outputs

SMALLEST_SPREAD = 1e-3
"""Of a channel, relative to the mean of all; one that hardly moves is not blown up."""


@torch.no_grad()
def equalized(model: nn.Module, calibration: Tensor) -> nn.Module:
    """Return an equal generator whose convolutions in front of instance normalisations spread alike in every channel.

    Args:
        model: a generator, in eval mode.
        calibration: inputs (n, …) that the spread is measured on.
    """
    try:
        sites = [site for site in find_sites(model, calibration[:1]) if site.follower == "instance_norm" and site.name]
    except ConfigError:
        return model
    if not sites or any(getattr(layer, "running_mean", None) is not None for layer in _instance_norms(model)):
        return model
    rewritten = copy.deepcopy(model)
    spreads = _spreads(rewritten, sites, calibration)
    for site in sites:
        spread = spreads[site.name]
        mean = spread.mean()
        _scale_(rewritten.get_submodule(site.name), mean / spread.clamp(min=float(mean) * SMALLEST_SPREAD))
    return rewritten


def _instance_norms(model: nn.Module) -> list[nn.Module]:
    return [layer for layer in model.modules() if isinstance(layer, nn.InstanceNorm1d | nn.InstanceNorm2d)]


def _spreads(model: nn.Module, sites: list[Site], calibration: Tensor) -> dict[str, Tensor]:
    """Standard deviation of each channel (O,) of the layers' outputs, within pictures, over all inputs."""
    sums = {site.name: torch.zeros(()) for site in sites}

    def watch(name: str) -> object:
        def add(_: nn.Module, __: object, output: Tensor) -> None:
            sums[name] = sums[name] + output.var((2, 3)).sum(0)

        return add

    hooks = [model.get_submodule(site.name).register_forward_hook(watch(site.name)) for site in sites]  # type: ignore[arg-type]
    try:
        for place in range(len(calibration)):
            model(calibration[place : place + 1])
    finally:
        for hook in hooks:
            hook.remove()
    return {name: (total / len(calibration)).sqrt() for name, total in sums.items()}


def _scale_(layer: nn.Module, factors: Tensor) -> None:
    """Multiply the output channels (O,) of a convolution or transposed convolution."""
    weight, bias = layer.get_parameter("weight"), getattr(layer, "bias", None)
    if isinstance(layer, nn.ConvTranspose2d):
        weight.mul_(scale_of_outputs(layer, factors))
    else:
        weight.mul_(factors[:, None, None, None])
    if bias is not None:
        bias.mul_(factors)
