"""A U-Net whose levels contain each other, as the pix2pix generator is usually written (Isola et al. 2017, 6.1.1)."""

import torch
from torch import nn


class Level(nn.Module):
    def __init__(self, outer, inner, inside=None, made=None):
        super().__init__()
        outermost, innermost = made is not None, inside is None
        down = nn.Conv2d(outer, inner, 4, 2, 1, bias=outermost)
        up = nn.ConvTranspose2d(inner if innermost else 2 * inner, made or outer, 4, 2, 1, bias=outermost)
        parts = [] if outermost else [nn.LeakyReLU(0.2)]
        parts += [down] if outermost or innermost else [down, nn.BatchNorm2d(inner)]
        parts += [] if innermost else [inside]
        parts += [nn.ReLU(), up, nn.Tanh() if outermost else nn.BatchNorm2d(outer)]
        self.model = nn.Sequential(*parts)
        self.outermost = outermost

    def forward(self, x):
        return self.model(x) if self.outermost else torch.cat([x, self.model(x)], 1)


def build(width=8):
    level = Level(4 * width, 8 * width)
    for multiple in (2, 1):
        level = Level(multiple * width, 2 * multiple * width, level)
    return Level(3, width, level, made=3)
