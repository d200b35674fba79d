"""Layouts of the generator checkpoints of published code bases: names of layers, and positions of widths.

Nothing of those code bases is needed: their files are state_dicts, which name a layer by its place in nested
`nn.Sequential`s, where paddings, normalisations and activations have numbers too.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from ganpress.errors import CheckpointError
from models.builders import Blueprint
from models.resnet import BLOCKS, BLOCKS_PER_GROUP, ResnetSpec
from models.unet import UnetSpec, factor

State = Mapping[str, Tensor]
Layers = dict[str, str]
"""Mapping from our name of each layer to theirs."""


@dataclass(frozen=True)
class InferredGenerator:
    """The generator that third-party weights fit, according to their shapes."""

    family: str
    spec: str
    blueprint: Blueprint

    @property
    def name(self) -> str:
        """`family:spec`, e.g. ``mobile_resnet_9blocks:16_16_32_16_32_32_16_16``."""
        return f"{self.family}:{self.spec}"


@dataclass(frozen=True)
class Layout:
    """Layout of the checkpoints of one architecture in one code base."""

    layers: Callable[[State], Layers]
    infer: Callable[[State, Layers], InferredGenerator]
    """CheckpointError where a layer that says a width is missing or of an impossible one."""


def _resnet_layers(state: State, separable: bool) -> Layers:
    """`model.N`, places in one `nn.Sequential`."""
    # A block numbers its layers without a dropout layer where the generator was made without one.
    second = 5 if any(name.startswith("model.10.conv_block.5.") for name in state) else 6
    layers = {"stem.1": "model.1", "down1.0": "model.4", "down2.0": "model.7"}
    for block in range(BLOCKS):
        for number, place in ((1, 1), (2, second)):
            ours, theirs = f"blocks.{block}.conv{number}.1", f"model.{10 + block}.conv_block.{place}"
            if separable:
                layers |= {f"{ours}.depthwise": f"{theirs}.conv.0", f"{ours}.pointwise": f"{theirs}.conv.2"}
            else:
                layers[ours] = theirs
    return layers | {"up1.0": "model.19", "up2.0": "model.22", "head.1": "model.26"}


def _infer_resnet(state: State, layers: Layers, separable: bool) -> InferredGenerator:
    last = ".pointwise" if separable else ""
    hidden = [f"blocks.{block}.conv1.1{last}" for block in range(0, BLOCKS, BLOCKS_PER_GROUP)]
    places = [("stem.1", 0, 1), ("down1.0", 0, 2), ("down2.0", 0, 4), *((layer, 0, 4) for layer in hidden)]
    places += [("up1.0", 1, 2), ("up2.0", 1, 1)]
    spec = str(ResnetSpec(tuple(_width(state, layers, *place) for place in places)))
    in_channels, out_channels = _width(state, layers, "stem.1", 1), _width(state, layers, "head.1", 0)
    blueprint = Blueprint(
        "resnet_generator",
        {"spec": spec, "in_channels": in_channels, "out_channels": out_channels, "separable": separable},
    )
    return InferredGenerator("mobile_resnet_9blocks" if separable else "resnet_9blocks", spec, blueprint)


def _unet_layers(state: State) -> Layers:
    """Each level is a `nn.Sequential` inside the one around it; how deep they go is read off the names."""
    layers = {"downs.0.conv": "model.model.0", "ups.0.conv": "model.model.3"}
    level, around = 1, "model.model.1.model"
    while f"{around}.5.weight" in state:
        layers |= {f"downs.{level}.conv": f"{around}.1", f"downs.{level}.norm": f"{around}.2"}
        layers |= {f"ups.{level}.conv": f"{around}.5", f"ups.{level}.norm": f"{around}.6"}
        level, around = level + 1, f"{around}.3.model"
    innermost = {f"downs.{level}.conv": f"{around}.1", f"ups.{level}.conv": f"{around}.3"}
    return layers | innermost | {f"ups.{level}.norm": f"{around}.4"}


def _infer_unet(state: State, layers: Layers) -> InferredGenerator:
    downs = sum(layer.startswith("downs.") and layer.endswith(".conv") for layer in layers)
    spec = str(UnetSpec(tuple(_width(state, layers, f"downs.{i}.conv", 0, factor(i)) for i in range(downs))))
    normalised = f"{layers[f'ups.{downs - 1}.norm']}.weight" in state
    blueprint = Blueprint(
        "unet_generator",
        {
            "spec": spec,
            "in_channels": _width(state, layers, "downs.0.conv", 1),
            "out_channels": _width(state, layers, "ups.0.conv", 1),
            "downs": downs,
            "norm": "batch" if normalised else "instance",
        },
    )
    return InferredGenerator(f"unet_{2**downs}", spec, blueprint)


def _width(state: State, layers: Layers, layer: str, dim: int, multiple: int = 1) -> int:
    """Channels in dimension `dim` of a layer's weight, over the `multiple` that the layer has for each base channel."""
    theirs = f"{layers[layer]}.weight"
    if theirs not in state:
        raise CheckpointError(f"it lacks '{theirs}', our '{layer}.weight'")
    weight = state[theirs]
    if weight.dim() != 4:
        raise CheckpointError(f"'{theirs}' is {tuple(weight.shape)}, our '{layer}.weight' is a convolution's")
    channels = weight.shape[dim]
    if channels < 1 or channels % multiple:
        raise CheckpointError(f"'{theirs}' has {channels} channels, our '{layer}' has a multiple of {multiple}")
    return channels // multiple


LAYOUTS: dict[str, Layout] = {
    "cyclegan": Layout(partial(_resnet_layers, separable=False), partial(_infer_resnet, separable=False)),
    "gan_compression": Layout(partial(_resnet_layers, separable=True), partial(_infer_resnet, separable=True)),
    "pix2pix_unet": Layout(_unet_layers, _infer_unet),
}
"""A new layout is two functions like `_unet_layers` and `_infer_unet`, and one line here."""
