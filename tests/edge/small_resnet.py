"""A small ResNet generator of pictures and inputs for it, which tests of several targets write."""

import torch
from torch import nn
from torch.nn import functional


def pictures(images, size=16, channels=3, seed=0):
    """Smooth ones (n, C, H, W)."""
    noise = torch.randn((images, channels, 4, 4), generator=torch.Generator().manual_seed(seed))
    return functional.interpolate(noise, size=size, mode="bicubic").clamp(-1, 1)


class Block(nn.Module):
    """Mirrored borders, instance normalisations and a sum."""

    def __init__(self, width):
        super().__init__()
        halves = ((nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width)) for _ in range(2))
        first, second = halves
        self.body = nn.Sequential(*first, nn.ReLU(), *second)

    def forward(self, x):
        return x + self.body(x)


def small_resnet():
    """All that a ResNet generator has: strides, a block, and the way back up by a transposed convolution."""
    torch.manual_seed(0)
    down = nn.Conv2d(3, 16, 3, stride=2, padding=1), nn.InstanceNorm2d(16), nn.ReLU()
    up = nn.ConvTranspose2d(16, 8, 3, stride=2, padding=1, output_padding=1), nn.InstanceNorm2d(8), nn.ReLU()
    return nn.Sequential(*down, Block(16), *up, nn.ReflectionPad2d(3), nn.Conv2d(8, 3, 7), nn.Tanh()).eval()
