"""Functions that do not return a usable generator."""

import torch
from torch import nn


class Lambda(nn.Module):
    def __init__(self, run):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.run = run

    def forward(self, x):
        return self.run(self.conv(x))


def fails():
    raise RuntimeError("no such\nfile: config.yaml")


def not_a_module():
    return "a string"


def data_dependent():
    return Lambda(lambda x: -x if x.sum() > 1e9 else x)


def dynamic_shape():
    return Lambda(lambda x: nn.functional.interpolate(x, size=(int(x.abs().mean() * 1000) % 7 + 3, 8)))


def random():
    return Lambda(lambda x: x + torch.rand_like(x))


def normalised_by_batch():
    return Lambda(lambda x: x - x.mean())


def vector():
    return Lambda(lambda x: x.mean((2, 3)))


def nothing():
    return Lambda(lambda _: None)


def nan():
    return Lambda(lambda x: x / 0 * 0)


def hidden_state():
    offset = torch.rand(1)
    return Lambda(lambda x: x + offset)


def weight_norm():
    network = Lambda(lambda x: x)
    network.conv = nn.utils.parametrizations.weight_norm(network.conv)
    return network


NUMBER = 3


def lazy():
    return nn.Sequential(nn.LazyConv2d(4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 3, padding=1))


def scripted_inside():
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), torch.jit.script(nn.ReLU()), nn.Conv2d(4, 3, 3, padding=1))


def keeps_results():
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 3, padding=1))
    network.kept = {}
    network[0].register_forward_hook(lambda _layer, _given, made: network.kept.update(first=made))
    return network
