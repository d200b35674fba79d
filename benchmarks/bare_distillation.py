"""Distillation and supernet steps in bare PyTorch, written by hand, as the reference for ganpress's timing.

The same operations as `ganpress.training.feature_distillation` on the same networks: no checkpoint, no curve, no finite
check, no weight average, no hooks, no networks on the meta device; batches are ready in memory.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn, optim
from torch.nn import functional

from ganpress.config.translation_section import FeatureDistillation
from ganpress.data.prepared.pairs import PairArray
from models.elastic import Spec, WidthSpace
from models.resnet import BLOCKS_PER_GROUP, ResnetGenerator

TAPPED_BLOCKS = (2, 5, 8)
Forward = Callable[[Tensor], tuple[Tensor, list[Tensor]]]


@dataclass(frozen=True)
class Batch:
    """What one step reads."""

    source: Tensor
    target: Tensor
    specs: tuple[Spec, ...]
    """Sub-generators that it trains; none for a static student."""


def batches_of(
    data: PairArray,
    batch_size: int,
    steps: int,
    random: torch.Generator,
    space: WidthSpace | None,
    device: torch.device,
) -> list[Batch]:
    """Draw all batches, and by the sandwich rule the specs of `space`, in the order that ganpress draws them."""
    batches, pairs = [], data.random_batches(random, batch_size)
    for _ in range(steps):
        source, target = next(pairs)
        specs = () if space is None else (space.largest, space.smallest, space.sample(random))
        batches.append(Batch(source.to(device), target.to(device), specs))
    return batches


def static_forward(network: ResnetGenerator) -> Forward:
    """Images and features of a static ResNet."""

    def forward(x: Tensor) -> tuple[Tensor, list[Tensor]]:
        x = network.down2(network.down1(network.stem(x)))
        features = [x]
        for index, block in enumerate(network.blocks):
            x = block(x)
            if index in TAPPED_BLOCKS:
                features.append(x)
        return torch.tanh(network.head(network.up2(network.up1(x)))), features

    return forward


def elastic_forward(network: ResnetGenerator, spec: Spec) -> Forward:
    """Images and features of a mobile ResNet run at the widths of `spec`, by slices of its weights."""
    c = spec.numbers
    layers = dict(network.named_modules())

    def forward(x: Tensor) -> tuple[Tensor, list[Tensor]]:
        x = _normed(_conv(layers["stem.1"], functional.pad(x, (3, 3, 3, 3), "reflect"), c[0]))
        x = _normed(_conv(layers["down1.0"], x, 2 * c[1]))
        x = _normed(_conv(layers["down2.0"], x, 4 * c[2]))
        features = [x]
        for index in range(len(network.blocks)):
            hidden = 4 * c[3 + index // BLOCKS_PER_GROUP]
            inner = functional.relu(_separable(layers, f"blocks.{index}.conv1.1", x, hidden))
            x = x + _separable(layers, f"blocks.{index}.conv2.1", inner, 4 * c[2])
            if index in TAPPED_BLOCKS:
                features.append(x)
        x = _normed(_up(layers["up1.0"], x, 2 * c[6]))
        x = _normed(_up(layers["up2.0"], x, c[7]))
        return torch.tanh(_conv(layers["head.1"], functional.pad(x, (3, 3, 3, 3), "reflect"))), features

    return forward


def _normed(x: Tensor) -> Tensor:
    return functional.relu(functional.instance_norm(x))


def _conv(conv: nn.Module, x: Tensor, out: int | None = None) -> Tensor:
    assert isinstance(conv, nn.Conv2d)
    weight = conv.weight[:out, : x.shape[1]].contiguous()
    return functional.conv2d(x, weight, conv.get_parameter("bias")[:out], conv.stride, conv.padding)


def _up(conv: nn.Module, x: Tensor, out: int) -> Tensor:
    weight = conv.get_parameter("weight")[: x.shape[1], :out].contiguous()
    return functional.conv_transpose2d(x, weight, conv.get_parameter("bias")[:out], 2, 1, 1)


def _separable(layers: dict[str, nn.Module], name: str, x: Tensor, out: int) -> Tensor:
    depthwise, channels = layers[f"{name}.depthwise"], x.shape[1]
    weight, bias = (depthwise.get_parameter(own)[:channels] for own in ("weight", "bias"))
    x = functional.conv2d(functional.pad(x, (1, 1, 1, 1), "reflect"), weight, bias, groups=channels)
    return functional.instance_norm(_conv(layers[f"{name}.pointwise"], functional.instance_norm(x), out))


def bare_loop(
    student: ResnetGenerator,
    teacher: ResnetGenerator,
    discriminator: nn.Module,
    batches: list[Batch],
    config: FeatureDistillation,
    after_step: Callable[[], None],
) -> None:
    """Train once through the batches."""
    taught, betas = static_forward(teacher.eval().requires_grad_(False)), (config.beta1, config.beta2)
    channels = 4 * student.spec.base_channels[2], 4 * teacher.spec.base_channels[2]
    adaptors = [nn.Conv2d(*channels, 1).to(batches[0].source.device) for _ in range(1 + len(TAPPED_BLOCKS))]
    parameters = [*student.train().parameters(), *(weight for adaptor in adaptors for weight in adaptor.parameters())]
    optimizer = optim.Adam(parameters, config.learning_rate, betas)
    opponent = optim.Adam(discriminator.parameters(), config.discriminator_learning_rate, betas)
    for batch in batches:
        source, target = batch.source, batch.target
        with torch.no_grad():
            wanted = taught(source)[1]
        discriminator.requires_grad_(False)
        optimizer.zero_grad(set_to_none=True)
        for forward in [elastic_forward(student, spec) for spec in batch.specs] or [static_forward(student)]:
            images, features = forward(source)
            loss = config.lambda_recon * functional.l1_loss(images, target)
            loss = loss - discriminator(torch.cat((source, images), 1)).mean()
            for adaptor, made, theirs in zip(adaptors, features, wanted, strict=True):
                matched = functional.conv2d(made, adaptor.weight[:, : made.shape[1]], adaptor.bias)
                loss = loss + config.lambda_distill * functional.mse_loss(matched, theirs)
            loss.backward()
        optimizer.step()
        discriminator.requires_grad_(True)
        real, fake = (discriminator(torch.cat((source, image), 1)) for image in (target, images.detach()))
        loss = functional.relu(1 - real).mean() + functional.relu(1 + fake).mean()
        opponent.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        opponent.step()
        after_step()
