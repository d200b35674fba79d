"""A user's network with its layers as plain ones: what is computed from weights alone is computed once.

Weight and spectral normalisation, equalised learning rates and branches that are added into one kernel serve training.
Where the images are all that matters, such a layer is a convolution, and only as one can it be rounded to integers and
made narrower. Weights of half precision become float32. Convolutions of one axis become those of two, the first of
size 1, for which runtimes have integer kernels.
"""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm, SpectralNormLoadStateDictPreHook
from torch.nn.utils.weight_norm import WeightNorm

Plan = Mapping[str, Any]
"""Name of a layer -> kind and arguments of the plain one that takes its place."""
KINDS: dict[str, type[nn.Module]] = {
    "Conv2d": nn.Conv2d, "ConvTranspose2d": nn.ConvTranspose2d, "Linear": nn.Linear,
}  # fmt: skip


class SignalConv(nn.Module):
    """A convolution of one axis by one of two."""

    def __init__(self, conv: nn.Module) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, x: Float[Tensor, "n i l"]) -> Float[Tensor, "n o l_out"]:
        maps: Tensor = self.conv(x[:, :, None])
        return maps[:, :, 0]


def fold_(network: nn.Module) -> list[str]:
    """Take weight and spectral normalisation out of every layer, in place; its weight is what it was in evaluation.

    Returns:
        The names of the layers.
    """
    network.eval()
    changed: dict[str, None] = {}
    for name, layer in network.named_modules():
        if parametrize.is_parametrized(layer):
            for tensor in list(layer.parametrizations):
                parametrize.remove_parametrizations(layer, tensor, leave_parametrized=True)
                _as_leaf_(layer, tensor)
            changed[name] = None
        for hook in list(layer._forward_pre_hooks.values()):
            if isinstance(hook, WeightNorm | SpectralNorm):
                remove = remove_weight_norm if isinstance(hook, WeightNorm) else remove_spectral_norm
                remove(layer, hook.name)
                _forget_loading_(layer)
                _as_leaf_(layer, hook.name)
                changed[name] = None
    return list(changed)


def _forget_loading_(layer: nn.Module) -> None:
    """Take away what spectral normalisation does to files that are loaded, which its removal in torch leaves behind."""
    for key, hook in list(layer._load_state_dict_pre_hooks.items()):
        if isinstance(getattr(hook, "hook", hook), SpectralNormLoadStateDictPreHook):
            del layer._load_state_dict_pre_hooks[key]


def _as_leaf_(layer: nn.Module, name: str) -> None:
    setattr(layer, name, nn.Parameter(getattr(layer, name).detach().clone()))


def as_float32_(network: nn.Module) -> bool:
    """Make weights of half precision float32, in place; say whether there were any."""
    halves = [
        one for one in (*network.parameters(), *network.buffers()) if one.dtype in (torch.float16, torch.bfloat16)
    ]
    if halves:
        network.float()
    return bool(halves)


def put_plain_(network: nn.Module, plan: Plan) -> None:
    """Put fresh plain layers in the places that a plan names."""
    for name, content in plan.items():
        network.set_submodule(name, plain_layer(content))


def plain_layer(content: Mapping[str, Any]) -> nn.Module:
    """A fresh layer of a plan: its `kind`, and arguments of that kind's constructor."""
    arguments = {key: tuple(value) if isinstance(value, list) else value for key, value in content.items()}
    kind, signal = str(arguments.pop("kind")), arguments.pop("signal", False)
    layer = KINDS[kind](**arguments)
    return SignalConv(layer) if signal else layer
