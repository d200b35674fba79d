"""Small networks that are called in other ways than ganpress's own."""

import torch
import torch.nn.functional as F
from torch import nn


class Conditional(nn.Module):
    """G(z, y) of ten classes."""

    def __init__(self):
        super().__init__()
        self.classes, self.first = nn.Embedding(10, 4), nn.Linear(12, 8 * 16)
        self.last = nn.ConvTranspose2d(8, 3, 4, 2, 1)

    def forward(self, z, y):
        maps = self.first(torch.cat((z, self.classes(y)), 1)).view(-1, 8, 4, 4)
        return torch.tanh(self.last(F.relu(maps)))


class Styled(nn.Module):
    """A picture and a vector, StarGAN's way; features first, the picture by name."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(5, 8, 3, padding=1), nn.Conv2d(8, 3, 3, padding=1)

    def forward(self, image, *, style):
        spread = style[:, :, None, None].expand(-1, -1, *image.shape[2:])
        features = F.relu(self.a(torch.cat((image, spread), 1)))
        return {"features": features, "image": torch.tanh(self.b(features))}


class Listed(nn.Module):
    """A list of latents, StyleGAN2's way."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(8, 8 * 16), nn.ConvTranspose2d(8, 3, 4, 2, 1)

    def forward(self, styles):
        assert isinstance(styles, list)
        return self.last(F.relu(sum(map(self.first, styles)).view(-1, 8, 4, 4)))


class ChannelsLast(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x):
        return torch.tanh(self.a(x.permute(0, 3, 1, 2))).permute(0, 2, 3, 1)


class Noisy(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 3, 3, padding=1)

    def forward(self, x):
        x = self.a(x)
        x = F.relu(x + torch.randn(len(x), 1, *x.shape[2:], device=x.device))
        return torch.tanh(self.b(x + torch.empty_like(x[:, :1]).normal_(0, 0.1)))


class Ranged(nn.Module):
    def __init__(self, scale):
        super().__init__()
        self.a, self.scale = nn.Conv2d(3, 3, 3, padding=1), scale

    def forward(self, x):
        return self.scale * torch.sigmoid(3 * self.a(x))


class OneMore(nn.Module):
    """33 pixels come out as 34."""

    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(3, 3, 2, padding=1)

    def forward(self, x):
        return self.a(x)


def unit():
    return Ranged(1)


def byte():
    return Ranged(255)


def dcgan():
    return nn.Sequential(
        nn.ConvTranspose2d(16, 8, 4, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.ConvTranspose2d(8, 1, 4, 2, 1),
        nn.Tanh(),
    )
