"""Quantization-aware distillation as an algorithm of `compress.items`: integers trained on the float pictures.

The training continues from the integer network of post-training quantization: the forward pass computes exactly what
the edge file computes, the backward pass treats rounding as the identity. The network learns only from the float
generator's pictures of the same inputs (as the students in Andreev et al. 2021, "Quantization of generative adversarial
networks for efficient inference"), without a discriminator and without other data.
"""

import copy
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ganpress.compression.algorithms.linear_quantization import rounding_of
from ganpress.compression.compressor import CompressionData, Compressor
from ganpress.config.base import Section
from ganpress.config.bounds import BatchSize, Bits, ImagesShown, LearningRate, Percentile
from ganpress.config.edge_section import Clipping

if TYPE_CHECKING:
    from torch import nn

    from ganpress.compression.rounding.straight_through import TrainedConv
    from models.builders import Blueprint

logger = logging.getLogger(__name__)

FEW_BITS = 4
"""Widths up to this one have the same learning rates; each further bit halves the step sizes, and so the rates."""


class QuantizationAware(Section):
    """Options of `qad`."""

    weight_bits: Bits
    """Bits of weights, symmetric, with one step size for each output channel."""
    activation_bits: Bits | None = 8
    """Bits of activations; None keeps floats."""
    clipping: Clipping = "mse"
    """Clipping method of weights at the start of training."""
    activation_clipping: Clipping | None = None
    """Clipping method of activations at the start of training; None takes `mse`."""
    percentile: Percentile = 99.99
    """Share of values inside the bounds, in percent, for the clipping method `percentile`."""
    train_images: ImagesShown = 100_000
    """Training length as a number of inputs."""
    batch_size: BatchSize = 64
    learning_rate: LearningRate | None = None
    """Learning rate of weights and biases, in standard deviations of each layer's weights; it decays to 0 along a
    cosine. None takes 0.05 for up to 4 bits of weights, and half as much for each further bit.
    """
    step_learning_rate: LearningRate | None = None
    """Learning rate of the step sizes' logarithms; None takes 0.02 for up to 4 bits of weights, and half as much for
    each further bit.
    """

    @property
    def learning_rates(self) -> tuple[float, float]:
        """Of weights and biases, and of the step sizes' logarithms."""
        share = 2.0 ** min(0, FEW_BITS - self.weight_bits)
        chosen = (self.learning_rate, self.step_learning_rate)
        rates = [share * usual if rate is None else rate for rate, usual in zip(chosen, (0.05, 0.02), strict=True)]
        return rates[0], rates[1]


def _distil(
    model: "nn.Module", blueprint: "Blueprint", options: QuantizationAware, data: CompressionData
) -> "tuple[nn.Module, Blueprint]":
    from ganpress.compression.preparation.plain_layers import prepare
    from ganpress.compression.quantization import quantize, quantized_blueprint
    from ganpress.compression.rounding.straight_through import make_trainable, restore

    teacher = copy.deepcopy(model).eval()
    prepared = prepare(model, data.calibration)
    integers = quantize(model, data.calibration, rounding_of(options), data.seed)
    weights = {name: prepared.plain.quantized_layer(name).weight for name in integers.layers}
    blueprint, rounded = quantized_blueprint(integers, blueprint), copy.deepcopy(integers)
    trained = make_trainable(integers, weights)
    _train(integers.to(data.device), trained, teacher.to(data.device), options, data)
    return _nearer(restore(integers.cpu(), trained), rounded, teacher.cpu(), options, data), blueprint


def _nearer(
    trained: "nn.Module", rounded: "nn.Module", teacher: "nn.Module", options: QuantizationAware, data: CompressionData
) -> "nn.Module":
    """Return the trained integers, or those of rounding alone if a training with a high learning rate harmed them."""
    from ganpress.metrics.fidelity import compare_outputs

    inputs = data.inputs.random(data.run.stream("qad check"), options.batch_size)
    reached, before = (compare_outputs(teacher, one, inputs).snr_db for one in (trained, rounded))
    if reached is None or before is None or reached >= before:
        return trained
    rates = " and ".join(f"{rate:.3g}" for rate in options.learning_rates)
    logger.warning(
        "qad: rounding alone is kept: its images have %.1f dB SNR to the float generator's, after training %.1f dB; "
        "choose a lower learning_rate and step_learning_rate than %s, or more train_images",
        before,
        reached,
        rates,
    )
    return rounded


@dataclass(frozen=True)
class _Length:
    train_images: int
    batch_size: int
    tf32: bool = False
    """TF32 is never used, because sums of integers would no longer be exact."""


def _train(
    network: "nn.Module",
    trained: "dict[str, TrainedConv]",
    teacher: "nn.Module",
    options: QuantizationAware,
    data: CompressionData,
) -> None:
    import torch
    from torch import optim

    from ganpress.compression.rounding.straight_through import parameters_of
    from ganpress.training.loop import Losses, RandomStream, Stateful
    from ganpress.training.losses import distillation_loss
    from ganpress.training.schedule import CosineSchedule

    values, steps = parameters_of(trained)
    descents = [optim.Adam(each, rate) for each, rate in zip((values, steps), options.learning_rates, strict=True)]
    schedules = [
        CosineSchedule(descent, rate, options.train_images)
        for descent, rate in zip(descents, options.learning_rates, strict=True)
    ]
    random = data.run.stream("qad")
    state: dict[str, Stateful] = {"network": network, "random": RandomStream(random)}
    state |= {"values": descents[0], "steps": descents[1]}

    def step(images_shown: int) -> Losses:
        inputs = data.inputs.random(random, options.batch_size).to(data.device)
        with torch.no_grad():
            wanted = teacher(inputs)
        loss = distillation_loss(network(inputs), wanted)
        for schedule, descent in zip(schedules, descents, strict=True):
            schedule.set(images_shown)
            descent.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        for descent in descents:
            descent.step()
        return {"mse": loss.detach()}

    data.run.train(network, step, state, _Length(options.train_images, options.batch_size))


QAD = Compressor("qad", QuantizationAware, _distil, comes_last=True)
