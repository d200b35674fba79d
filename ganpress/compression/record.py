"""The record of a generator's compression, which is written beside its file."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from ganpress.compression.pruning.magnitude_pruning import LayerSparsity, measure_sparsity
from ganpress.compression.widths.float_share import float_macs_share
from ganpress.compression.widths.mixed_precision import WidthScan
from models.quantized import CalibrationRecord
from models.quantized_network import QuantizedNetwork, float_layers

BOUNDS = {
    "none": "smallest and largest value",
    "mse": "least squared error",
    "aciq": "closed form for Gaussian or Laplace values",
    "kl": "least divergence",
    "percentile": "share of values",
}
"""Descriptions of clipping methods."""
MORE = {
    "equalized": "equalized across layers",
    "compensated": "compensated",
    "adaptive": "adaptive",
    "split_share": "outliers split",
    "corrected_bias": "biases corrected",
    "mean_weight_bits": "individual widths of layers",
    "max_bytes": "individual widths of layers",
    "target_psnr": "cheapest widths for a PSNR",
}
"""Descriptions of options other than bits and bounds."""


@dataclass(frozen=True)
class ActivationRecord:
    """Quantization of one tensor."""

    tensor: str
    low: float
    high: float
    scale: float
    """The largest, where each channel has its own."""
    zero_point: int | None
    """Zero point; None if each channel has its own."""


@dataclass(frozen=True)
class CompressionRecord:
    """Every choice, and what came of it."""

    source: str
    """Reference of the generator that was compressed."""
    source_md5: str
    sparsity: float
    """Asked for; `layers` has what came of it."""
    weight_bits: int | None
    activation_bits: int | None
    calibration: CalibrationRecord | None
    layers: tuple[LayerSparsity, ...]
    activations: tuple[ActivationRecord, ...]
    float_layers: tuple[str, ...] = ()
    """Layers of a quantized generator that stayed in floats: outliers, too much noise, or no integer form."""
    float_macs_share: float = 0.0
    """Share of the multiplications that stayed in floats, of all in layers of a quantizable kind."""
    layer_bits: dict[str, int] = field(default_factory=dict)
    """Width of the weights of layers that have one of their own."""
    options: dict[str, Any] = field(default_factory=dict)
    """All that was chosen beside bits and sparsity, defaults included: these may change."""
    scan: dict[str, Any] = field(default_factory=dict)
    """Sensitivity of each layer at each bit width, as written by `scan_content`; empty if it was not requested."""

    @property
    def zero_share(self) -> float:
        """Share of zeros over all layers' weights."""
        return sum(layer.zeros for layer in self.layers) / sum(layer.weights for layer in self.layers)

    @property
    def activation_scheme(self) -> str | None:
        """Description of how activations are quantized; None for floats."""
        if self.activation_bits is None:
            return None
        bounds = BOUNDS[self.options.get("activation_clipping") or "mse"]
        kind = "symmetric" if self.options.get("symmetric") else "asymmetric"
        inputs = "channel" if self.options.get("channel_inputs") else "tensor"
        outputs = "channel" if self.options.get("per_channel", True) else "tensor"
        return f"{kind}, inputs per {inputs}, outputs per {outputs}, {bounds}"

    @property
    def weight_scheme(self) -> str | None:
        """Description of how weights are quantized; None for floats."""
        if self.weight_bits is None:
            return None
        each = "per output channel" if self.options.get("per_channel", True) else "per tensor"
        clipping = self.options.get("clipping", "none")
        bounds = "largest magnitude" if clipping == "none" else BOUNDS[clipping]
        kind = "asymmetric" if self.options.get("asymmetric_weights") else "symmetric"
        bounds = "smallest to largest" if clipping == "none" and kind == "asymmetric" else bounds
        more = [words for name, words in MORE.items() if self.options.get(name)]
        return ", ".join([f"{kind} {each}", bounds, *more])

    def save(self, path: Path) -> None:
        """Write as JSON; the same record gives the same bytes."""
        content = asdict(self) | {
            "layers": [{**asdict(layer), "sparsity": layer.sparsity} for layer in self.layers],
            "weight_scheme": self.weight_scheme,
            "activation_scheme": self.activation_scheme,
        }
        for name in ("options", "layer_bits", "scan"):
            if not content[name]:
                del content[name]
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def record_compression(
    model: nn.Module,
    source: str,
    source_md5: str,
    sparsity: float,
    options: dict[str, Any] | None = None,
    example: Float[Tensor, "1 ..."] | None = None,
    scan: dict[str, Any] | None = None,
) -> CompressionRecord:
    """Describe a compressed generator.

    Args:
        model: pruned, or pruned and quantized.
        source: reference of the generator that it was made from.
        source_md5: digest of that generator's file.
        sparsity: share of weights that pruning was asked for.
        options: what was chosen beside bit widths and sparsity.
        example: one input that multiplications are counted on; None where no layer stayed in floats.
        scan: see `scan_content`.
    """
    quantized = model if isinstance(model, QuantizedNetwork) else None
    return CompressionRecord(
        source=source,
        source_md5=source_md5,
        sparsity=sparsity,
        weight_bits=quantized.weight_bits if quantized else None,
        activation_bits=quantized.activation_bits if quantized else None,
        calibration=quantized.calibration if quantized else None,
        layers=measure_sparsity(model),
        activations=_activations(quantized) if quantized else (),
        float_layers=float_layers(quantized) if quantized else (),
        float_macs_share=float_macs_share(quantized, example) if quantized and example is not None else 0.0,
        layer_bits=quantized.layer_bits if quantized else {},
        options=options or {},
        scan=scan or {},
    )


def scan_content(weights: WidthScan, activations: WidthScan) -> dict[str, Any]:
    """Write two scans for the record: layer -> multiplications, and noise of its weights and its input for each width.

    Noise is the power of the images' change as a share of their power, the layer alone rounded.
    """
    return {
        name: {
            "macs": macs,
            "weights": {str(bits): noise for bits, noise in weights.noise[name].items()},
            "activations": {str(bits): noise for bits, noise in activations.noise[name].items()},
            "bytes": {str(bits): size for bits, size in weights.size_bytes[name].items()},
        }
        for name, macs in weights.macs.items()
    }


def _activations(model: QuantizedNetwork) -> tuple[ActivationRecord, ...]:
    records = []
    for name in model.layers:
        layer = model.quantized_layer(name)
        if layer.source is not None:
            shared = layer.source.scale.dim() == 0
            step, zero_point = float(layer.source.scale.max()), int(layer.source.zero_point) if shared else None
            records.append(ActivationRecord(f"{name} input", *layer.source.range, step, zero_point))
        if layer.target is not None:
            records.append(
                ActivationRecord(f"{name} output", *layer.target.range, float(layer.target.scale.max()), None)
            )
    return tuple(records)
