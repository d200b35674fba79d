"""Post-training quantization as an algorithm of `compress.items`: linear quantization of weights and activations."""

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


GOALS = ("mean_weight_bits", "max_bytes", "min_snr_db", "target_psnr")
"""Options by which layers get a width of their own or stay in floats."""


class LinearQuantization(Section):
    """Options of `quantize`."""

    weight_bits: Bits | None = None
    """Bits of weights; None keeps floats."""
    activation_bits: Bits | None = None
    """Bits of activations, asymmetric per tensor, calibrated; None keeps floats."""
    clipping: Clipping = "none"
    """Clipping method of weights, which chooses the largest representable value."""
    activation_clipping: Clipping | None = None
    """Clipping method of activations; None takes `mse`."""
    percentile: Percentile = 99.99
    """Share of values inside the bounds, in percent, for the clipping method `percentile`."""
    symmetric: bool = False
    """Whether activations have the same bound below and above zero."""
    per_channel: bool = True
    """Whether each channel of weights, and of outputs that an instance normalisation reads, has its own scale."""
    channel_inputs: bool = False
    """Whether each channel of a layer's input also has its own scale."""
    asymmetric_weights: bool = False
    """Whether the range of weights is from the smallest to the largest one, and not symmetric around zero."""
    compensated: bool = False
    """Whether each rounded weight compensates the errors of the ones before."""
    adaptive: bool = False
    """Whether gradient descent decides which weights are rounded up or down (AdaRound); not with `compensated`."""
    split_share: PartialShare = 0.0
    """Share of each layer's input channels, those with outliers, that are read twice with half of their weights."""
    equalized: bool = False
    """Whether channels between two layers are rescaled before rounding to equal ranges of both layers' weights."""
    corrected_bias: bool = False
    """Whether the mean rounding error of each output channel is subtracted from its bias."""
    mean_weight_bits: MeanBits | None = None
    """Mean bits over all weights if layers get individual widths, 2 to `weight_bits`."""
    max_bytes: Bytes | None = None
    """Largest size of the packed file in bytes; layers get the best widths, 2 to `weight_bits`, within it."""
    min_snr_db: Decibels | None = None
    """Layers stay in floats until the images of the calibration inputs reach this SNR."""
    target_psnr: Decibels | None = None
    """Least PSNR of the images, in decibels to the float generator's; layers get the widths, 2 to `weight_bits`, that
    take the fewest bytes and keep it, and stay in floats if even `weight_bits` do not."""
    scan: bool = False
    """Whether to measure the sensitivity of each layer at each width, for the record and the report."""

    @model_validator(mode="after")
    def _rounds_something(self) -> "LinearQuantization":
        if self.weight_bits is None and self.max_bytes is not None:
            raise ValueError("max_bytes needs weight_bits, the largest width of a layer")
        if self.weight_bits is None and self.target_psnr is not None:
            raise ValueError("target_psnr needs weight_bits, the largest width of a layer")
        if self.weight_bits is None and self.activation_bits is None:
            of_rounding = " and equalized only affects rounding" if self.equalized else ""
            raise ValueError(f"quantize needs weight_bits or activation_bits: both are null{of_rounding}")
        goals = [name for name in GOALS if getattr(self, name) is not None]
        if len(goals) > 1 and not (self.max_bytes is None and self.target_psnr is None):
            raise ValueError(f"{' and '.join(goals)} each choose how layers are rounded; keep one of them")
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
    from ganpress.compression.psnr_target import quantize_to_psnr
    from ganpress.compression.quantization import quantize, quantized_blueprint
    from ganpress.compression.widths.mixed_precision import quantize_within

    if options.equalized:
        model = equalize_layers(model, data.calibration[:1])
    config = rounding_of(options)
    if options.target_psnr is not None:
        quantized = quantize_to_psnr(model, data.calibration, config, options.target_psnr, data.seed)
    elif options.max_bytes is not None:
        quantized = quantize_within(model, blueprint, data.calibration, config, options.max_bytes, data.seed)
    else:
        quantized = quantize(model, data.calibration, config, data.seed)
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
