"""Post-training compression of one generator: bits by rounding method, and individual bit widths at equal bytes.

    python -m benchmarks.compression_sweep artifacts/teacher/generator.safetensors --prepared artifacts/prepare

Only weights are rounded, layer by layer. The SNR is that of the images to the float generator's on held-out inputs;
bytes are those of the packed file (`ganpress.compression.packed.packing`). The last row of each width has individual
bit widths, with the bytes of the best row above as the budget.
"""

import argparse
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from ganpress.compression.network_quantization import quantize_network
from ganpress.compression.packed.packing import packed
from ganpress.compression.quantization import QuantizationConfig, quantized_blueprint
from ganpress.compression.widths.mixed_precision import quantize_within
from ganpress.data.prepared.generator_inputs import open_inputs
from ganpress.files.checkpoint import load_model
from ganpress.metrics.fidelity import compare_outputs
from models.builders import Blueprint
from models.quantized_network import QuantizedNetwork


def options(bits: int, adaptive: bool) -> dict[str, QuantizationConfig]:
    """The ways to round at one width, by label."""
    rows = {
        "nearest": QuantizationConfig(bits, None),
        "mse": QuantizationConfig(bits, None, clipping="mse"),
        "aciq": QuantizationConfig(bits, None, clipping="aciq"),
        "asymmetric": QuantizationConfig(bits, None, asymmetric_weights=True),
        "split 5 %": QuantizationConfig(bits, None, split_share=0.05),
        "biases corrected": QuantizationConfig(bits, None, corrected_bias=True),
        "compensated": QuantizationConfig(bits, None, compensated=True),
        "compensated, mse": QuantizationConfig(bits, None, compensated=True, clipping="mse"),
    }
    if adaptive:
        rows["adaptive"] = QuantizationConfig(bits, None, adaptive=True)
        rows["adaptive, mse"] = QuantizationConfig(bits, None, adaptive=True, clipping="mse")
    return rows


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("generator", type=Path)
    parser.add_argument("--prepared", type=Path, required=True, help="folder of prepared data")
    parser.add_argument("--bits", type=int, nargs="+", default=[3, 4, 6])
    parser.add_argument("--inputs", type=int, default=32, help="calibration inputs, and as many held-out ones")
    parser.add_argument("--adaptive", action="store_true", help="AdaRound, too: minutes")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model, blueprint = load_model(arguments.generator)
    calibration, held_out = (
        open_inputs(arguments.prepared, split).draw(0, f"sweep-{split}", arguments.inputs)
        for split in ("train", "validation")
    )
    print(f"{'bits':<6}{'rounding':<26}{'SNR dB':>8}{'bytes':>12}{'CPU s':>8}")
    for bits in arguments.bits:
        best = (float("-inf"), QuantizationConfig(bits, None), 0)
        for label, config in options(bits, arguments.adaptive).items():
            start = time.process_time()
            quantized = quantize_network(model, calibration, config)
            snr_db, size_bytes = _report(f"{bits:<6}{label:<26}", start, model, quantized, blueprint, held_out)
            best = max(best, (snr_db, config, size_bytes), key=lambda row: row[0])
        start, (_, config, size_bytes) = time.process_time(), best
        widest = QuantizationConfig(8, None, clipping=config.clipping, compensated=config.compensated)
        mixed = quantize_within(model, blueprint, calibration, widest, size_bytes)
        _report(f"{'<= 8':<6}{'mixed, at most best bytes':<26}", start, model, mixed, blueprint, held_out)


def _report(
    label: str, start: float, model: nn.Module, quantized: QuantizedNetwork, blueprint: Blueprint, held_out: Tensor
) -> tuple[float, int]:
    """Print and return SNR in dB and bytes of one compression."""
    spent = time.process_time() - start
    found = compare_outputs(model, quantized, held_out).snr_db
    snr_db = float("inf") if found is None else found
    size_bytes = len(packed(quantized, quantized_blueprint(quantized, blueprint)))
    print(f"{label}{snr_db:>8.1f}{size_bytes:>12,}{spent:>8.1f}", flush=True)
    return snr_db, size_bytes


if __name__ == "__main__":
    main()
