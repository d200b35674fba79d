"""Equalizes channels across instance normalisation, so that quantization with one scale per tensor loses less.

An instance normalisation without running statistics removes the mean and the scale of each channel, so each output
channel of the convolution before it may be multiplied by any positive number. The factors here give all channels the
same standard deviation. Then the one scale that a runtime's quantizer chooses for the whole tensor fits every channel.
Only the normalisation's eps changes the result (by the relative amount eps / variance).
"""

import copy

import torch
from torch import Tensor, nn

from ganpress.compression.preparation.sites import Site, find_sites
from ganpress.errors import ConfigError
from ganpress.structure.surgery import scale_of_outputs

SMALLEST_SPREAD = 1e-3
"""Smallest spread of a channel, relative to the mean of all channels; a nearly constant channel is not blown up."""


@torch.no_grad()
def equalized(model: nn.Module, calibration: Tensor) -> nn.Module:
    """Return an equivalent generator in which convolutions before instance normalisations have equal spread in all
    channels.

    Args:
        model: a generator, in eval mode.
        calibration: inputs (n, …) on which the spread is measured.
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
    """Return the standard deviation (O,) of each layer's output channels within pictures, over all inputs."""
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
