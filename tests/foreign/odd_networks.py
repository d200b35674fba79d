"""Small networks, each with one habit that makes channels hard to follow."""

import torch
import torch.nn.functional as F
from torch import nn


class Network(nn.Module):
    def __init__(self, run, **layers):
        super().__init__()
        self.run = run
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x):
        return self.run(self, x)


def conv(channels_in, channels_out, groups=1):
    return nn.Conv2d(channels_in, channels_out, 3, padding=1, groups=groups)


def concatenated_input():
    def run(net, x):
        return net.c(torch.cat([x, torch.relu(net.a(x)), net.b(x)], 1))

    return Network(run, a=conv(3, 8), b=conv(3, 6), c=conv(17, 3))


def concatenated_with_itself():
    def run(net, x):
        y = net.a(x)
        return net.c(torch.cat([y, y], 1))

    return Network(run, a=conv(3, 8), c=conv(16, 3))


def shuffled_then_concatenated():
    def run(net, x):
        y = torch.relu(net.a(x))
        return net.c(torch.cat([F.pixel_shuffle(net.b(y), 2), F.interpolate(y, scale_factor=2.0)], 1))

    return Network(run, a=conv(3, 8), b=conv(8, 16), c=conv(12, 3))


def grouped():
    layers = {"a": conv(3, 16), "b": conv(16, 16, groups=4), "n": nn.GroupNorm(2, 16), "c": conv(16, 3)}
    return Network(lambda net, x: net.c(net.n(net.b(net.a(x)))), **layers)


def grouped_unequally():
    layers = {"a": conv(3, 8), "b": conv(8, 16, groups=8), "c": conv(16, 3)}
    return Network(lambda net, x: net.c(net.b(net.a(x))), **layers)


def flattened():
    def run(net, x):
        return net.d(torch.relu(net.a(x)).flatten(1)).view(-1, 3, 8, 8)

    return Network(run, a=conv(3, 5), d=nn.Linear(5 * 64, 3 * 64))


def hard_coded():
    def run(net, x):
        return net.d(net.a(x).view(-1, 8, 64).mean(2)).view(-1, 3, 8, 8)

    return Network(run, a=conv(3, 8), d=nn.Linear(8, 192))


def softmax_over_channels():
    return Network(lambda net, x: net.c(torch.softmax(net.a(x), 1)), a=conv(3, 8), c=conv(8, 3))


def gated():
    def run(net, x):
        values, gates = net.a(x).chunk(2, 1)
        return net.c(values * torch.sigmoid(gates))

    return Network(run, a=conv(3, 16), c=conv(8, 3))


def channel_shuffle():
    def run(net, x):
        return net.c(F.pixel_unshuffle(net.b(F.channel_shuffle(net.a(x), 4)), 2))

    return Network(run, a=conv(3, 16), b=conv(16, 8), c=conv(32, 3))


def spatial_attention():
    def run(net, x):
        y = net.a(x)
        return net.c(y * torch.sigmoid(net.g(y)))

    return Network(run, a=conv(3, 16), g=conv(16, 1), c=conv(16, 3))


def bare_parameter():
    network = Network(lambda net, x: net.c(net.a(x) * net.scale), a=conv(3, 16), c=conv(16, 3))
    network.scale = nn.Parameter(torch.ones(1, 16, 1, 1))
    return network


def spectral():
    middle = nn.utils.parametrizations.spectral_norm(conv(16, 12))
    return Network(lambda net, x: net.c(net.b(net.a(x))), a=conv(3, 16), b=middle, c=conv(12, 3))


def layer_norm():
    def run(net, x):
        return net.c(net.n(net.a(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2))

    return Network(run, a=conv(3, 16), n=nn.LayerNorm(16), c=conv(16, 3))


def global_residual():
    return Network(lambda net, x: x + net.b(torch.relu(net.a(x))), a=conv(3, 8), b=conv(8, 3))


def used_twice():
    return Network(lambda net, x: net.c(net.b(torch.relu(net.b(net.a(x))))), a=conv(3, 8), b=conv(8, 8), c=conv(8, 3))


def detached():
    return Network(lambda net, x: net.c(net.a(x).detach()), a=conv(3, 8), c=conv(8, 3))


def from_latents():
    return nn.Sequential(
        nn.Unflatten(1, (10, 1, 1)),
        nn.ConvTranspose2d(10, 8, 4),
        nn.BatchNorm2d(8),
        nn.PReLU(8),
        nn.ConvTranspose2d(8, 3, 4, 2, 1),
    )


def transposed_depthwise():
    layers = {"a": conv(3, 8), "b": nn.ConvTranspose2d(8, 8, 4, 2, 1, groups=8), "c": conv(8, 3)}
    return Network(lambda net, x: net.c(net.b(net.a(x))), **layers)


def gated_linear_unit():
    layers = {"a": conv(3, 16), "n": nn.BatchNorm2d(16), "c": conv(8, 3)}
    return Network(lambda net, x: net.c(F.glu(net.n(net.a(x)), 1)), **layers)


def normalised_over_channels():
    return Network(lambda net, x: net.c(F.relu(net.n(net.a(x)))), a=conv(3, 16), n=nn.GroupNorm(1, 16), c=conv(16, 3))
