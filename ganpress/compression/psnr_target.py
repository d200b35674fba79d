"""Quantization to a goal of quality: the cheapest mix of widths whose images stay near the float generator's."""

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ganpress.compression.network_quantization import hold_out
from ganpress.compression.preparation.plain_layers import Prepared, prepare
from ganpress.compression.rounding.assembly import assemble
from ganpress.compression.rounding.layer_rounding import round_layers
from ganpress.compression.rounding.weight_codes import QuantizationConfig
from ganpress.compression.widths.mixed_precision import scan_widths
from ganpress.compression.widths.sensitivity import choose_bits, choose_float_layers, noise_with, scan_layers
from ganpress.errors import ConfigError
from ganpress.metrics.fidelity import batches_of
from models.quantized_layers import QuantizedConv
from models.quantized_network import QuantizedNetwork

logger = logging.getLogger(__name__)

PIXEL_RANGE = 2.0
"""Images are in [-1, 1]."""
TRIES = 8
"""Mixes that are measured; each halves the bytes between one that is good enough and one that is not."""


@torch.no_grad()
def quantize_to_psnr(
    model: nn.Module,
    inputs: Float[Tensor, "n ..."],
    config: QuantizationConfig,
    target_psnr: float,
    seed: int | None = None,
) -> QuantizedNetwork:
    """Quantize with the fewest bytes of weights whose images keep a peak signal-to-noise ratio.

    The ratio is measured to the float generator's images on the last quarter of the calibration inputs, which the
    ranges are not measured on. Layers get widths of 2 to `config.weight_bits` bits. If not even the widest are good
    enough, the layers that harm most for their work stay in floats.

    Args:
        model: a trained generator; it is left as it is.
        inputs: calibration inputs.
        config: how codes are chosen; `weight_bits` is the widest.
        target_psnr: least ratio in decibels, for pixels in [-1, 1].
        seed: the seed that drew the calibration inputs, kept in the record.

    Raises:
        ConfigError: if no layer can be rounded within the goal, or the generator cannot be quantized.
    """
    if config.weight_bits is None or config.mean_weight_bits is not None or config.min_snr_db is not None:
        raise ConfigError("target_psnr chooses widths itself: it needs weight_bits, no mean_weight_bits, no min_snr_db")
    prepared, (seen, unseen) = prepare(model, inputs), hold_out(inputs)
    goal = _Goal.of(prepared.plain, batches_of(unseen)[0], target_psnr)
    # With a goal in the configuration no layer is left out for its outliers: the measurement decides.
    config, calibrated = replace(config, min_snr_db=goal.min_snr_db), replace(prepared, inputs=seen)
    layers = round_layers(calibrated, config)
    if goal.reached_by(layers, f"{config.weight_bits} bits everywhere"):
        layers, widths = _narrowed(calibrated, config, layers, goal)
        return assemble(prepared, layers, config, seed, widths)
    scan = scan_layers(prepared.plain, layers, goal.inputs)
    floats = choose_float_layers(prepared.plain, layers, scan, goal.inputs, goal.min_snr_db)
    layers = {name: layer for name, layer in layers.items() if name not in floats}
    if not layers:
        raise ConfigError(f"no layer can be rounded within target_psnr {target_psnr:g} dB; lower it or take more bits")
    logger.info("%d layers stay in floats: %s", len(floats), ", ".join(floats))
    return assemble(prepared, layers, config, seed)


@dataclass(frozen=True)
class _Goal:
    """A PSNR that images of held-out inputs must keep."""

    plain: QuantizedNetwork
    """The generator with layers of floats."""
    inputs: Tensor
    images: Tensor
    """Of the generator in floats."""
    target_psnr: float
    peak_db: float
    """By how much PSNR is above SNR: 10 log10(squared range of pixels / power of the images)."""

    @classmethod
    def of(cls, plain: QuantizedNetwork, inputs: Float[Tensor, "n ..."], target_psnr: float) -> "_Goal":
        images = plain(inputs)
        return cls(plain, inputs, images, target_psnr, -10 * math.log10(float(images.square().mean()) / PIXEL_RANGE**2))

    @property
    def min_snr_db(self) -> float:
        return self.target_psnr - self.peak_db

    def reached_by(self, layers: Mapping[str, QuantizedConv], what: str) -> bool:
        """Run the generator with rounded layers and log what its images keep."""
        noise = noise_with(self.plain, layers, self.inputs, self.images)
        psnr = math.inf if noise == 0 else self.peak_db - 10 * math.log10(noise)
        logger.info("%s: PSNR %.1f dB of %.1f wanted", what, psnr, self.target_psnr)
        return psnr >= self.target_psnr


def _narrowed(
    calibrated: Prepared, config: QuantizationConfig, layers: dict[str, QuantizedConv], goal: _Goal
) -> tuple[dict[str, QuantizedConv], dict[str, int]]:
    """Halve the bytes between a mix that reaches the goal and one that does not, `TRIES` times.

    Args:
        calibrated: the generator with the inputs that ranges are measured on.
        config: how codes are chosen.
        layers: all layers at the widest, which reach the goal.
        goal: what images must keep.

    Returns:
        Rounded layers and the width of each layer; no widths where the widest everywhere are the cheapest found.
    """
    scan, widths = scan_widths(calibrated, config), dict[str, int]()
    low, high = (sum(choice(sizes.values()) for sizes in scan.size_bytes.values()) for choice in (min, max))
    for _ in range(TRIES):
        budget = (low + high) // 2
        chosen = choose_bits(scan.noise, scan.size_bytes, budget)
        tried = round_layers(calibrated, config, chosen)
        if goal.reached_by(tried, f"at most {budget:,} bytes of weights"):
            high, layers, widths = budget, tried, chosen
        else:
            low = budget
    return layers, widths
