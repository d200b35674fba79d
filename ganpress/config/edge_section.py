"""Sections about compression, export, evaluation and the report."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from ganpress.config.base import Section, parse
from ganpress.config.bounds import (
    MAX_ITEMS,
    Bits,
    Bytes,
    Decibels,
    FilePath,
    Images,
    ItemName,
    MeanBits,
    Neighbours,
    Option,
    PartialShare,
    Parts,
    Percentile,
    PixelDifference,
    PositiveShare,
    Reference,
    RegisteredName,
    Repeats,
    ScoredImages,
    Text,
)
from ganpress.errors import ConfigError
from ganpress.registries import COMPRESSORS, TARGETS

if TYPE_CHECKING:
    from ganpress.compression.compressor import Compressor

Clipping = Literal["none", "mse", "aciq", "kl", "percentile"]


class CompressItem(Section):
    """One post-training compression of one generator."""

    generator: Reference
    """Reference of the generator, e.g. `subnet` or `student/d4-mse`."""
    weight_bits: Bits | None = None
    """Bits of weights; None leaves them in float. W-DCGAN generators pass integers from layer to layer unless an option
    below needs the layer-by-layer form that all others have: channel_inputs, compensated, adaptive, split_share,
    corrected_bias, mean_weight_bits, min_snr_db, max_bytes."""
    activation_bits: Bits | None = None
    """Bits of activations, asymmetric per tensor, calibrated; None leaves them in float."""
    clipping: Clipping = "none"
    """Of weights: what the largest code stands for."""
    activation_clipping: Clipping | None = None
    """Of activations; None takes `none` for W-DCGAN generators and `mse` for all others."""
    percentile: Percentile = 99.99
    """Share of values inside the bounds, in percent, where clipping is by `percentile`."""
    symmetric: bool = False
    """Whether activations are bounded as far below zero as above it."""
    per_channel: bool = True
    """Whether each channel of weights, and of outputs that an instance normalisation reads, has a scale of its own."""
    channel_inputs: bool = False
    """Whether each channel of a layer's input has one, too."""
    asymmetric_weights: bool = False
    """Whether codes of weights reach as far as the weights do on either side of zero; else as far on both."""
    compensated: bool = False
    """Whether each rounded weight makes up for the errors of those before."""
    adaptive: bool = False
    """Whether a descent finds which weights are rounded up and which down (AdaRound); not with `compensated`."""
    split_share: PartialShare = 0.0
    """Share of each layer's input channels that are read twice at half their weights: those with the outliers."""
    equalized: bool = False
    """Whether channels between two layers are rescaled before rounding so that both layers' weights reach alike."""
    corrected_bias: bool = False
    """Whether biases take the mean rounding error of each output channel off."""
    mean_weight_bits: MeanBits | None = None
    """Mean over all weights where layers get widths of their own, 2 to `weight_bits`."""
    max_bytes: Bytes | None = None
    """Most bytes of the packed file; layers get the widths, 2 to `weight_bits`, that harm least within them."""
    min_snr_db: Decibels | None = None
    """Layers stay in floats until the images of the calibration inputs are that near."""
    width: PositiveShare = 1.0
    """Share of each layer's channels that stays, the most important ones; comes before all else."""
    sparsity: PartialShare = 0.0
    """Share of the smallest weights of each layer set to zero."""
    scan: bool = False
    """Whether to measure what each width does to each layer alone, for the record and the report."""
    method: Annotated[dict[RegisteredName, Option], Field(min_length=1, max_length=64)] | None = None
    """An algorithm of another package, by its `name`, with its options beside it; comes before pruning and rounding."""

    @model_validator(mode="after")
    def _does_something(self) -> "CompressItem":
        plain = self.weight_bits is None and self.activation_bits is None and self.sparsity == 0 and self.width == 1
        if plain and self.method is None:
            raise ValueError("needs weight_bits, activation_bits or sparsity, or a width below 1")
        if self.equalized and self.weight_bits is None and self.activation_bits is None:
            raise ValueError(
                "equalized needs weight_bits or activation_bits: it changes nothing but what rounding does"
            )
        if self.max_bytes is not None and self.weight_bits is None:
            raise ValueError("max_bytes needs weight_bits, the widest that a layer may have")
        return self

    @model_validator(mode="after")
    def _known_method(self) -> "CompressItem":
        try:
            self.chosen_method()
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return self

    def chosen_method(self) -> "tuple[Compressor, Section] | None":
        """The algorithm of another package, and its options; None where none is named.

        Raises:
            ConfigError: if there is no such algorithm, or an option of it is wrong.
        """
        if self.method is None:
            return None
        options = dict(self.method)
        compressor = COMPRESSORS.find(str(options.pop("name", "")))
        return compressor, parse(options, compressor.options, f"method {compressor.name}")


class CompressConfig(Section):
    """Post-training compression without fine-tuning."""

    calibration_images: Images
    """Latents that the activation ranges are measured on."""
    items: dict[ItemName, CompressItem] = Field(min_length=1, max_length=MAX_ITEMS)


def _known_target(name: str) -> str:
    if name not in TARGETS:
        raise ValueError(TARGETS.unknown(name))
    return name


TargetName = Annotated[RegisteredName, AfterValidator(_known_target)]


class ExportItem(Section):
    """One edge file."""

    generator: Reference
    """Reference of the generator that is written."""
    target: TargetName = "onnx"
    """Runtime; `ganpress targets` says which are installed."""
    number_type: RegisteredName = "auto"
    """`auto` writes the generator as it is; `int8` is the target's own quantizer, for float generators."""
    form: Literal["auto", "native", "subpixel"] = "auto"
    """Of transposed convolutions; `auto` times both and takes the faster, except of generators in integers."""
    packed: bool = False
    """Whether each file is kept as a Zstandard frame (`generator.onnx.zst`) that is decoded when it is loaded."""

    @model_validator(mode="after")
    def _target_has_number_type(self) -> "ExportItem":
        allowed = ("auto", *TARGETS[self.target].number_types)
        if self.number_type not in allowed:
            raise ValueError(f"target '{self.target}' takes the number types {', '.join(allowed)}")
        return self


class ExportConfig(Section):
    """Edge files; quantized generators become integer graphs."""

    tolerance: PixelDifference
    """Largest allowed absolute difference to torch, images in [-1, 1]."""
    min_snr_db: Decibels = 15.0
    """What proves a file of fewer bits than its generator: SNR of its images to torch's, in decibels."""
    verification_images: Images
    calibration_images: Images = 256
    """Training inputs that `int8` takes its ranges from."""
    latency_rounds: Repeats = 50
    """Timed calls for the card."""
    items: dict[ItemName, ExportItem] = Field(min_length=1, max_length=MAX_ITEMS)


class ByteBudget(Section):
    """The budget of the section `evaluate` alone, for who needs nothing else of it."""

    max_bytes: Bytes | None = None


class EvaluateConfig(Section):
    """Measurement of every generator of the chain."""

    images: ScoredImages
    """Generated images for each generator; a conditional one draws one for each test source, and no more."""
    neighbours: Neighbours
    """k of precision, recall, density and coverage."""
    kid_subsets: Parts
    kid_subset_size: ScoredImages
    is_splits: Parts
    latency_repeats: Repeats
    """Timed rounds; every generator is timed once in each round, in turn."""
    lpips_weights: FilePath | None = None
    """Local file of LPIPS on SqueezeNet 1.1 (docs/metrics.md says how to make it); None leaves LPIPS out."""
    max_bytes: Bytes | None = None
    """Budget of the registered alias `best-under-budget`; None takes the best of all edge files."""


class ReportConfig(Section):
    """The report page."""

    title: Text
    sample_images: int = Field(ge=1, le=64)
    """Latents shown through each generator."""
    interpolation_steps: int = Field(ge=2, le=32)
