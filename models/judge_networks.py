"""Judges: small networks whose features, class probabilities and label maps measure generators of one data domain."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


class Classifier(nn.Module):
    """Gives features and calibrated logits of images in [-1, 1]: F features, K classes."""

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

    def forward(self, images: Float[Tensor, "n c h w"]) -> tuple[Float[Tensor, "n f"], Float[Tensor, "n k"]]:
        x = functional.relu(self.norm1(self.conv1(images)))
        x = functional.relu(self.norm2(self.conv2(x)))
        x = functional.relu(self.norm3(self.conv3(x)))
        x = functional.adaptive_avg_pool2d(x, 4).flatten(1)
        features = functional.relu(self.embed(x))
        return features, self.head(features) / self.temperature


class Segmenter(nn.Module):
    """Gives features of images in [-1, 1], the pooled bottleneck, and the logits of each pixel: F features, K classes.

    An encoder of three resolutions and a decoder with skip connections, as in U-Net (Ronneberger et al. 2015), small.
    What the whole image shows is added to every place of the bottleneck (Liu et al. 2015, "ParseNet"), since the class
    of a pixel may depend on more than the bottleneck's field of view.
    """

    def __init__(self, channels: int, classes: int, width: int, features: int) -> None:
        super().__init__()
        self.down1 = _block(channels, width, 1)
        self.down2 = _block(width, 2 * width, 2)
        self.down3 = _block(2 * width, 4 * width, 2)
        self.bottleneck = _block(4 * width, features, 1)
        self.context = nn.Linear(features, features)
        self.up2 = _block(features + 2 * width, 2 * width, 1)
        self.up1 = _block(2 * width + width, width, 1)
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, images: Float[Tensor, "n c h w"]) -> tuple[Float[Tensor, "n f"], Float[Tensor, "n k h w"]]:
        fine = self.down1(images)  # (N, width, H, W)
        middle = self.down2(fine)  # (N, 2 width, H/2, W/2)
        coarse = self.bottleneck(self.down3(middle))  # (N, F, H/4, W/4)
        coarse = coarse + functional.relu(self.context(coarse.mean((2, 3))))[:, :, None, None]
        x = self.up2(torch.cat([_resized(coarse, middle), middle], 1))
        x = self.up1(torch.cat([_resized(x, fine), fine], 1))
        return coarse.mean((2, 3)), self.head(x)


def _block(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    convolution = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out_channels), nn.ReLU())


def _resized(x: Float[Tensor, "n c _ _"], like: Float[Tensor, "n _ h w"]) -> Float[Tensor, "n c h w"]:
    return functional.interpolate(x, like.shape[2:], mode="nearest")


def classifier(channels: int, classes: int, width: int, features: int) -> Classifier:
    """Build a judge network for `classes` classes of images of any size from 16 pixels on."""
    return Classifier(channels, classes, width, features)


def pretext_classifier(channels: int, classes: int, width: int, features: int) -> Classifier:
    """Build a judge network whose classes are a pretext (domains, rotations): only its features measure anything."""
    return Classifier(channels, classes, width, features)


def segmenter(channels: int, classes: int, width: int, features: int) -> Segmenter:
    """Build a judge network for label maps of `classes` classes; images of any size from 16 pixels on."""
    return Segmenter(channels, classes, width, features)
