"""Discriminators of conditional generators: PatchGAN, and one PatchGAN a scale.

PatchGAN: "Image-to-Image Translation with Conditional Adversarial Networks" (Isola et al. 2017, appendix 6.1.2).
Several scales: "High-Resolution Image Synthesis and Semantic Manipulation with Conditional GANs" (pix2pixHD, Wang et
al. 2018, section 3.2), with spectral normalisation as in SPADE (Park et al. 2019).

Shapes: N batch, C channels (of a source and an image joined, where the discriminator is conditional), H W size of the
images, h w size of a map of logits. With `layers` convolutions of stride 2 each logit sees a patch of 9 * 2^layers - 2
pixels a side: 16, 34, 70, 142, 286 for 1 to 5 layers.
"""

from typing import Literal, cast, get_args

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from models.wdcgan import initialize_weights

Norm = Literal["instance", "batch", "spectral", "spectral_instance"]
"""`spectral` normalises the weights of every convolution instead of features, `spectral_instance` both."""
KERNEL = 4
SLOPE = 0.2
"""Slope of leaky ReLU below zero."""
MOST_HALVINGS = 16
"""Layers of stride 2, or scales: beyond these no image has a pixel left."""
MOST_FACTOR = 8
"""Channels double from layer to layer up to this many times `ndf`."""


class PatchDiscriminator(nn.Module):
    """Judges overlapping patches of images by one logit each.

    70x70 PatchGAN is `layers=3`: C64-C128-C256-C512 and a last convolution to one channel, where the first layer has no
    normalisation and the last two convolutions have stride 1. A bias stands in each convolution but those before batch
    normalisation, which has one of its own.
    """

    def __init__(self, in_channels: int, ndf: int, layers: int, norm: Norm, padding: int) -> None:
        super().__init__()
        if min(in_channels, ndf, layers) < 1:
            found = f"in_channels={in_channels}, ndf={ndf}, layers={layers}"
            raise ValueError(f"a patch discriminator's in_channels, ndf and layers must be at least 1, found {found}")
        if layers > MOST_HALVINGS:
            raise ValueError(f"a patch discriminator has at most {MOST_HALVINGS} layers, found {layers}")
        if norm not in get_args(Norm):
            raise ValueError(f"a discriminator's norm must be one of {', '.join(get_args(Norm))}, found '{norm}'")
        self.padding, self.downsamplings = padding, layers
        widths = [ndf * min(2**layer, MOST_FACTOR) for layer in range(layers + 1)]
        self.layers = nn.ModuleList([_layer(in_channels, widths[0], 2, padding, norm, normalised=False)])
        for layer in range(1, layers + 1):
            stride = 2 if layer < layers else 1
            self.layers.append(_layer(widths[layer - 1], widths[layer], stride, padding, norm, normalised=True))
        self.layers.append(nn.Conv2d(widths[-1], 1, KERNEL, 1, padding))
        self.apply(initialize_weights)
        if norm.startswith("spectral"):
            for module in [module for module in self.modules() if isinstance(module, nn.Conv2d)]:
                spectral_norm(module)

    def forward(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 1 h_logits w_logits"]:
        """Judge images.

        Raises:
            ValueError: if they are too small for one logit.
        """
        return self.features(images)[0][-1]

    def features(self, images: Float[Tensor, "n c h w"]) -> list[list[Float[Tensor, "n _ _ _"]]]:
        """One list, as of one scale: each layer's output after its activation, the logits last.

        Raises:
            ValueError: if the images are too small for one logit.
        """
        check_image_size(images.shape[-2], images.shape[-1], self.downsamplings, self.padding)
        outputs: list[Tensor] = []
        for layer in self.layers:
            images = layer(images)
            outputs.append(images)
        return [outputs]


class MultiscaleDiscriminator(nn.Module):
    """Judges images at several scales, of which the full size comes first.

    Each scale has a PatchGAN of its own; between two scales the images are averaged to half the size.
    """

    PADDING = 2
    """Larger than PatchGAN's, so that small scales keep a logit."""

    def __init__(self, in_channels: int, ndf: int, layers: int, scales: int, norm: Norm) -> None:
        super().__init__()
        if not 1 <= scales <= MOST_HALVINGS:
            raise ValueError(f"a discriminator must have 1 to {MOST_HALVINGS} scales, found {scales}")
        self.scales = nn.ModuleList(
            PatchDiscriminator(in_channels, ndf, layers, norm, self.PADDING) for _ in range(scales)
        )

    def forward(self, images: Float[Tensor, "n c h w"]) -> list[list[Float[Tensor, "n _ _ _"]]]:
        return self.features(images)

    def features(self, images: Float[Tensor, "n c h w"]) -> list[list[Float[Tensor, "n _ _ _"]]]:
        """Return for each scale the layers' outputs after their activations, the logits last."""
        outputs: list[list[Tensor]] = []
        for scale, discriminator in enumerate(self.scales):
            if scale > 0:
                # Pixels beyond the border are left out of the average, which would be darker there.
                images = functional.avg_pool2d(images, 3, 2, 1, count_include_pad=False)  # (N, C, ceil H/2, ceil W/2)
            outputs += cast(PatchDiscriminator, discriminator).features(images)
        return outputs


def check_image_size(height: int, width: int, layers: int, padding: int = 1) -> None:
    """Check that a patch discriminator has at least one logit for images of a size.

    Raises:
        ValueError: naming the smallest size.
    """
    if logits(min(height, width), layers, padding) < 1:
        smallest = next(size for size in range(1, 2 ** (layers + 3)) if logits(size, layers, padding) > 0)
        raise ValueError(
            f"a patch discriminator of {layers} layers takes images of at least {smallest}x{smallest} pixels, "
            f"found {height}x{width}: give it fewer layers"
        )


def logits(size: int, layers: int, padding: int = 1) -> int:
    """Logits along a side of `size` pixels; below 1 there are none."""
    for stride in (*(2,) * layers, 1, 1):
        size = (size + 2 * padding - KERNEL) // stride + 1
    return size


def _layer(
    in_channels: int, out_channels: int, stride: int, padding: int, norm: Norm, normalised: bool
) -> nn.Sequential:
    bias = not (normalised and norm == "batch")
    layers: list[nn.Module] = [nn.Conv2d(in_channels, out_channels, KERNEL, stride, padding, bias=bias)]
    if normalised and norm == "batch":
        layers.append(nn.BatchNorm2d(out_channels))
    elif normalised and norm.endswith("instance"):
        layers.append(nn.InstanceNorm2d(out_channels))
    return nn.Sequential(*layers, nn.LeakyReLU(SLOPE))


def patch_discriminator(
    in_channels: int, ndf: int, layers: int = 3, norm: Norm = "instance", padding: int = 1
) -> PatchDiscriminator:
    """Build a PatchGAN.

    Args:
        in_channels: channels of what it judges: the image's, and those of its source where it is conditional.
        ndf: channels of the first layer; 64 in the papers.
        layers: convolutions of stride 2; 3 for patches of 70x70 pixels.
        norm: normalisation.
        padding: of every convolution, in pixels; 1 in pix2pix and CycleGAN.

    Raises:
        ValueError: if a number is below 1 or the norm is unknown.
    """
    return PatchDiscriminator(in_channels, ndf, layers, norm, padding)


def multiscale_discriminator(
    in_channels: int, ndf: int, layers: int, scales: int, norm: Norm = "spectral_instance"
) -> MultiscaleDiscriminator:
    """Build one PatchGAN a scale.

    Args:
        in_channels: channels of what it judges: the image's, and those of its source where it is conditional.
        ndf: channels of the first layer; 64 in the papers.
        layers: convolutions of stride 2 in each; 3 in the papers (SPADE's code counts the next one too and says 4).
        scales: 3 in pix2pixHD, 2 in SPADE.
        norm: `instance` in pix2pixHD, `spectral_instance` in SPADE.

    Raises:
        ValueError: if a number is below 1 or the norm is unknown.
    """
    return MultiscaleDiscriminator(in_channels, ndf, layers, scales, norm)
