"""Sections about compression, export, evaluation and the report."""

from typing import Literal

from pydantic import Field, model_validator

from ganpress.config.base import Section

Clipping = Literal["none", "mse", "aciq", "kl", "percentile"]


class CompressItem(Section):
    """One post-training compression of one generator."""

    generator: str
    """Reference of the generator, e.g. `subnet` or `student/d4-mse`."""
    weight_bits: int | None = Field(default=None, ge=2, le=8)
    """Bits of weights, symmetric per output channel; None leaves them in float."""
    activation_bits: int | None = Field(default=None, ge=2, le=8)
    """Bits of activations, asymmetric per tensor, calibrated; None leaves them in float."""
    clipping: Clipping = "none"
    """Of weights: what the largest code stands for."""
    activation_clipping: Clipping | None = None
    """Of activations; None takes `none` for W-DCGAN generators and `mse` for all others."""
    percentile: float = Field(default=99.99, gt=50, le=100)
    """Share of values inside the bounds, in percent, where clipping is by `percentile`."""
    symmetric: bool = False
    """Whether activations are bounded as far below zero as above it."""
    per_channel: bool = True
    """Whether each channel of weights and outputs has a scale of its own."""
    channel_inputs: bool = False
    """Whether each channel of a layer's input has one, too; not for W-DCGAN generators."""
    compensated: bool = False
    """Whether each rounded weight makes up for the errors of those before; not for W-DCGAN generators."""
    mean_weight_bits: float | None = Field(default=None, ge=2, le=8)
    """Mean over all weights where layers get widths of their own, 2 to `weight_bits`; not for W-DCGAN generators."""
    min_snr_db: float | None = None
    """Layers stay in floats until the images of the calibration inputs are that near; not for W-DCGAN generators."""
    sparsity: float = Field(default=0.0, ge=0, lt=1)
    """Share of the smallest weights of each layer set to zero."""

    @model_validator(mode="after")
    def _does_something(self) -> "CompressItem":
        if self.weight_bits is None and self.activation_bits is None and self.sparsity == 0:
            raise ValueError("needs weight_bits, activation_bits or sparsity")
        return self


class CompressConfig(Section):
    """Post-training compression without fine-tuning."""

    calibration_images: int = Field(ge=1)
    """Latents that the activation ranges are measured on."""
    items: dict[str, CompressItem] = Field(min_length=1)


class ExportItem(Section):
    """One edge file."""

    generator: str
    """Reference of the generator that is written as ONNX."""


class ExportConfig(Section):
    """ONNX export; quantized generators become integer graphs."""

    tolerance: float = Field(gt=0)
    """Largest allowed absolute difference to torch, images in [-1, 1]."""
    verification_images: int = Field(ge=1)
    items: dict[str, ExportItem] = Field(min_length=1)


class EvaluateConfig(Section):
    """Measurement of every generator of the chain."""

    images: int = Field(ge=2)
    """Generated images for each generator; a conditional one draws one for each test source, and no more."""
    neighbours: int = Field(ge=1)
    """k of precision, recall, density and coverage."""
    kid_subsets: int = Field(ge=1)
    kid_subset_size: int = Field(ge=2)
    is_splits: int = Field(ge=1)
    latency_repeats: int = Field(ge=3)
    """Timed rounds; every generator is timed once in each round, in turn."""
    lpips_weights: str | None = None
    """Local file of LPIPS on SqueezeNet 1.1 (docs/metrics.md says how to make it); None leaves LPIPS out."""
    max_bytes: int | None = Field(default=None, ge=1)
    """Budget of the registered alias `best-under-budget`; None takes the best of all edge files."""


class ReportConfig(Section):
    """The report page."""

    title: str
    sample_images: int = Field(ge=1, le=64)
    """Latents shown through each generator."""
    interpolation_steps: int = Field(ge=2, le=32)
