"""The judge: a small classifier whose features and class probabilities measure generators of one data domain."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class Classifier(nn.Module):
    """Images (N, C, H, W) in [-1, 1] -> features (N, F) and calibrated logits (N, K)."""

    temperature: Tensor
    """Scalar that divides the logits, so that class probabilities mean what they say."""

    def __init__(self, channels: int, classes: int, width: int, features: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, 1, 1)
        self.conv2 = nn.Conv2d(width, 2 * width, 3, 2, 1)
        self.conv3 = nn.Conv2d(2 * width, 4 * width, 3, 2, 1)
        self.norm1, self.norm2, self.norm3 = (nn.BatchNorm2d(width * factor) for factor in (1, 2, 4))
        self.embed = nn.Linear(4 * width * 16, features)
        self.head = nn.Linear(features, classes)
        self.register_buffer("temperature", torch.ones(()))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        x = functional.relu(self.norm1(self.conv1(images)))
        x = functional.relu(self.norm2(self.conv2(x)))
        x = functional.relu(self.norm3(self.conv3(x)))
        x = functional.adaptive_avg_pool2d(x, 4).flatten(1)
        features = functional.relu(self.embed(x))
        return features, self.head(features) / self.temperature


def classifier(channels: int, classes: int, width: int, features: int) -> Classifier:
    """Build a judge network for `classes` classes of images of any size from 16 pixels on."""
    return Classifier(channels, classes, width, features)
