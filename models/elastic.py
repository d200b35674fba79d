"""Once-for-all W-DCGAN: one set of weights that runs at any width (GAN Compression, Li et al. 2020).

A sub-generator uses the first channels of every layer. The supernet has no hidden state: the spec, and the
normalisation statistics that belong to it, are arguments, so that sub-generators can be evaluated in parallel and in
any order.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.wdcgan import LATENT, WdcganGenerator, WdcganSpec, hidden_levels, initialize_weights

Statistics = tuple[tuple[Tensor, Tensor], ...]
"""Running mean and variance, both (C,), of every normalisation of one sub-generator."""


class ElasticUpBlock(nn.Module):
    """`models.wdcgan.UpBlock` that can run with the first `in_channels` x `out_channels` of its weights."""

    def __init__(self, in_channels: int, out_channels: int, first: bool) -> None:
        super().__init__()
        self.stride, self.padding = (1, 0) if first else (2, 1)
        self.conv = nn.ConvTranspose2d(in_channels, out_channels, 4, self.stride, self.padding, bias=False)
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def convolve(self, x: Tensor, out_channels: int) -> Tensor:
        weight = self.conv.weight[: x.shape[1], :out_channels].contiguous()
        return functional.conv_transpose2d(x, weight, None, self.stride, self.padding)

    def activate(self, x: Tensor, statistics: tuple[Tensor, Tensor] | None) -> Tensor:
        mean, variance = statistics if statistics is not None else (None, None)
        x = functional.batch_norm(x, mean, variance, training=statistics is None)
        return functional.relu(x + self.bias[: x.shape[1], None, None])


@dataclass(frozen=True)
class WdcganSpace:
    """All specs whose levels take one of `depths`."""

    depths: tuple[int, ...]
    levels: int

    @property
    def largest(self) -> WdcganSpec:
        return WdcganSpec((max(self.depths),) * self.levels)

    @property
    def smallest(self) -> WdcganSpec:
        return WdcganSpec((min(self.depths),) * self.levels)

    def __len__(self) -> int:
        return int(len(self.depths) ** self.levels)

    def __getitem__(self, index: int) -> WdcganSpec:
        """The `index`-th spec, counting like digits with the last level fastest."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        base, digits = len(self.depths), []
        for _ in range(self.levels):
            index, digit = divmod(index, base)
            digits.append(self.depths[digit])
        return WdcganSpec(tuple(reversed(digits)))

    def sample(self, generator: torch.Generator) -> WdcganSpec:
        """Draw every level uniformly."""
        chosen = torch.randint(len(self.depths), (self.levels,), generator=generator)
        return WdcganSpec(tuple(self.depths[int(index)] for index in chosen))


class ElasticWdcganGenerator(nn.Module):
    """z (N, Z), spec -> images (N, C, H, W) in [-1, 1]."""

    def __init__(self, space: WdcganSpace, channels: int) -> None:
        super().__init__()
        self.space = space
        self.channels = channels
        widths = (LATENT, *space.largest.widths)
        self.blocks = nn.ModuleList(
            ElasticUpBlock(wide, narrow, first=level == 0) for level, (wide, narrow) in enumerate(pairwise(widths))
        )
        self.head = nn.ConvTranspose2d(widths[-1], channels, 4, 2, 1)
        self.apply(initialize_weights)

    def forward(self, z: Tensor, spec: WdcganSpec, statistics: Statistics | None = None) -> Tensor:
        """Run the sub-generator `spec`, normalising by `statistics`, or by the batch's own where None.

        Raises:
            ValueError: if `spec` lies outside the space of this supernet.
        """
        self._check(spec)
        x = z[:, :, None, None]
        for level, (block, width) in enumerate(zip(self._up_blocks(), spec.widths, strict=True)):
            x = block.activate(block.convolve(x, width), statistics[level] if statistics is not None else None)
        weight = self.head.weight[: x.shape[1]].contiguous()
        return torch.tanh(functional.conv_transpose2d(x, weight, self.head.bias, 2, 1))

    @torch.no_grad()
    def calibrate(self, z: Tensor, spec: WdcganSpec) -> Statistics:
        """Measure the normalisation statistics of `spec` on the latents `z` (N, Z), layer by layer."""
        self._check(spec)
        x, measured = z[:, :, None, None], []
        for block, width in zip(self._up_blocks(), spec.widths, strict=True):
            x = block.convolve(x, width)
            measured.append((x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=True)))
            x = block.activate(x, measured[-1])
        return tuple(measured)

    @torch.no_grad()
    def extract(self, spec: WdcganSpec, statistics: Statistics) -> WdcganGenerator:
        """Mint the independent static generator of `spec`; its eval output equals the supernet's bit for bit."""
        self._check(spec)
        subnet = WdcganGenerator(spec, self.channels)
        previous = LATENT
        state = subnet.state_dict()
        for level, (block, width) in enumerate(zip(self._up_blocks(), spec.widths, strict=True)):
            state[f"blocks.{level}.conv.weight"] = block.conv.weight[:previous, :width]
            state[f"blocks.{level}.bias"] = block.bias[:width]
            state[f"blocks.{level}.norm.running_mean"], state[f"blocks.{level}.norm.running_var"] = statistics[level]
            previous = width
        state["head.weight"] = self.head.weight[:previous]
        state["head.bias"] = self.head.state_dict()["bias"]
        subnet.load_state_dict(state)
        return subnet.eval()

    def _up_blocks(self) -> list[ElasticUpBlock]:
        return [block for block in self.blocks if isinstance(block, ElasticUpBlock)]

    def _check(self, spec: WdcganSpec) -> None:
        if len(spec.depths) != self.space.levels or not set(spec.depths) <= set(self.space.depths):
            allowed = f"{self.space.levels} levels out of {list(self.space.depths)}"
            raise ValueError(f"spec {spec} is outside this supernet's space ({allowed})")


def elastic_wdcgan_generator(depths: list[int], size: int, channels: int) -> ElasticWdcganGenerator:
    """Build the supernet whose levels take any of `depths`."""
    return ElasticWdcganGenerator(WdcganSpace(tuple(depths), hidden_levels(size)), channels)
