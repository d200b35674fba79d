"""SRGAN generator for x4 super-resolution (Ledig et al. 2017, figure 4), with the layer names of a public checkpoint.

Written from the paper and from the names and shapes of the checkpoint's tensors: five residual blocks, no batch
normalisation after the trunk, parametric ReLUs with one slope, images in [0, 1] through (tanh + 1) / 2.
"""

import torch
from torch import nn


class Residual(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(channels)
        self.prelu = nn.PReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x):
        return x + self.bn2(self.conv2(self.prelu(self.bn1(self.conv1(x)))))


class Upsampling(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, 4 * channels, 3, padding=1)
        self.shuffle = nn.PixelShuffle(2)
        self.prelu = nn.PReLU()

    def forward(self, x):
        return self.prelu(self.shuffle(self.conv(x)))


class Srgan(nn.Module):
    def __init__(self, channels=64):
        super().__init__()
        self.block1 = nn.Sequential(nn.Conv2d(3, channels, 9, padding=4), nn.PReLU())
        for number in range(2, 7):
            self.add_module(f"block{number}", Residual(channels))
        self.block7 = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), nn.PReLU())
        self.block8 = nn.Sequential(Upsampling(channels), Upsampling(channels), nn.Conv2d(channels, 3, 9, padding=4))

    def forward(self, images):
        first = self.block1(images)
        x = first
        for number in range(2, 7):
            x = self.get_submodule(f"block{number}")(x)
        return (torch.tanh(self.block8(first + self.block7(x))) + 1) / 2


def build():
    return Srgan()


def build_small():
    return Srgan(16)
