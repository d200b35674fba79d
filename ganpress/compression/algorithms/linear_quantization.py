"""Post-training quantization as an algorithm of `compress.items`: weights and activations as linear codes."""

from typing import TYPE_CHECKING, Any

from pydantic import model_validator

from ganpress.compression.compressor import CompressionData, Compressor
from ganpress.config.base import Section
from ganpress.config.bounds import Bits, Bytes, Decibels, MeanBits, PartialShare, Percentile
from ganpress.config.edge_section import Clipping

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ganpress.compression.rounding.weight_codes import QuantizationConfig
    from models.builders import Blueprint


class LinearQuantization(Section):
    """Options of `quantize`."""

    weight_bits: Bits | None = None
    """Bits of weights; None leaves them in float."""
    activation_bits: Bits | None = None
    """Bits of activations, asymmetric per tensor, calibrated; None leaves them in float."""
    clipping: Clipping = "none"
    """Clipping method of weights, which chooses the largest representable value."""
    activation_clipping: Clipping | None = None
    """Clipping method of activations; None takes `mse`."""
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
    scan: bool = False
    """Whether to measure what each width does to each layer alone, for the record and the report."""

    @model_validator(mode="after")
    def _rounds_something(self) -> "LinearQuantization":
        if self.weight_bits is None and self.max_bytes is not None:
            raise ValueError("max_bytes needs weight_bits, the widest that a layer may have")
        if self.weight_bits is None and self.activation_bits is None:
            of_rounding = " and equalized changes nothing but what rounding does" if self.equalized else ""
            raise ValueError(f"quantize needs weight_bits or activation_bits: both are null{of_rounding}")
        return self


def rounding_of(options: Section) -> "QuantizationConfig":
    """Return the quantization settings from an algorithm's options; missing ones take their defaults."""
    from dataclasses import fields

    from ganpress.compression.rounding.weight_codes import QuantizationConfig

    return QuantizationConfig(**options.model_dump(include={field.name for field in fields(QuantizationConfig)}))


def _quantize(
    model: "nn.Module", blueprint: "Blueprint", options: LinearQuantization, data: CompressionData
) -> "tuple[nn.Module, Blueprint]":
    from ganpress.compression.preparation.cross_layer import equalize_layers
    from ganpress.compression.quantization import quantize, quantized_blueprint
    from ganpress.compression.widths.mixed_precision import quantize_within

    if options.equalized:
        model = equalize_layers(model, data.calibration[:1])
    config = rounding_of(options)
    if options.max_bytes is None:
        quantized = quantize(model, data.calibration, config, data.seed)
    else:
        quantized = quantize_within(model, blueprint, data.calibration, config, options.max_bytes, data.seed)
    return quantized, quantized_blueprint(quantized, blueprint)


def _scan(original: "nn.Module", options: LinearQuantization, calibration: "Tensor") -> Any:
    """Scan every layer alone at each bit width, if the options request it."""
    if not options.scan:
        return None
    from ganpress.compression.preparation.plain_layers import prepare
    from ganpress.compression.record import scan_content
    from ganpress.compression.rounding.weight_codes import QuantizationConfig
    from ganpress.compression.widths.mixed_precision import scan_widths

    config = QuantizationConfig(8, 8, clipping=options.clipping, activation_clipping=options.activation_clipping)
    prepared = prepare(original, calibration)
    return scan_content(scan_widths(prepared, config), scan_widths(prepared, config, "activations"))


QUANTIZE = Compressor("quantize", LinearQuantization, _quantize, comes_last=True, scan=_scan)
