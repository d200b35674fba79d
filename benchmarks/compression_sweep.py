"""Post-training compression of one trained generator: bits by clipping, and widths of each layer's own.

    python -m benchmarks.compression_sweep artifacts/teacher/generator.pt --prepared artifacts/prepare

Weights alone are rounded. SNR is of the images against the float generator's on held-out inputs; bytes are those of the
packed file (`ganpress.compression.packing`). Mixed widths, not for W-DCGAN, have the mean bits of the row before them.
"""

import argparse
import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn

from ganpress.checkpoint import load_model
from ganpress.compression.clipping import CLIPPINGS
from ganpress.compression.packing import save_packed
from ganpress.compression.quantization import QuantizationConfig, quantize, quantized_blueprint
from ganpress.data.inputs import open_inputs
from ganpress.fidelity import compare_outputs
from models.builders import Blueprint
from models.wdcgan import WdcganGenerator


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("generator", type=Path)
    parser.add_argument("--prepared", type=Path, required=True, help="folder of prepared data")
    parser.add_argument("--bits", type=int, nargs="+", default=[2, 3, 4, 5, 6, 8])
    parser.add_argument("--inputs", type=int, default=32, help="calibration inputs, and as many held-out ones")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model, blueprint = load_model(arguments.generator)
    calibration, held_out = (
        open_inputs(arguments.prepared, split).draw(0, f"sweep-{split}", arguments.inputs)
        for split in ("train", "validation")
    )
    print(f"{'bits':<6}{'clipping':<22}{'SNR dB':>8}{'bytes':>12}")
    for bits in arguments.bits:
        rows: dict[str, QuantizationConfig] = {
            method: QuantizationConfig(bits, None, clipping=method) for method in CLIPPINGS
        }
        if not isinstance(model, WdcganGenerator):
            rows["none, compensated"] = QuantizationConfig(bits, None, compensated=True)
            rows["none, mixed widths"] = QuantizationConfig(8, None, mean_weight_bits=bits)
        for label, config in rows.items():
            snr_db, size_bytes = measure(model, blueprint, config, calibration, held_out)
            print(f"{bits:<6}{label:<22}{snr_db:>8.1f}{size_bytes:>12,}", flush=True)


def measure(
    model: nn.Module, blueprint: Blueprint, config: QuantizationConfig, calibration: Tensor, held_out: Tensor
) -> tuple[float, int]:
    """SNR in dB and bytes of one compression."""
    quantized = quantize(model, calibration, config)
    snr_db = compare_outputs(model, quantized, held_out).snr_db
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "packed"
        save_packed(path, quantized, quantized_blueprint(quantized, blueprint))
        return float("inf") if snr_db is None else snr_db, path.stat().st_size


if __name__ == "__main__":
    main()
