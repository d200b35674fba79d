"""Runs LiteRT's converter in its own Python environment: `python litert_converter.py FOLDER`.

It imports nothing from ganpress, because ganpress needs a newer torch than litert-torch accepts. The folder contains
`network.pt2` (`torch.export.save`), `request.json` with the number type, and for `int8` `calibration.npz`. The script
writes `generator.tflite`, or `error.txt` with the reason of a failure.
"""

import json
import sys
import traceback
from pathlib import Path
from typing import Any


def convert(folder: Path) -> bytes:
    """Convert the network of a folder, quantized as its request says."""
    import litert_torch
    import torch

    program = torch.export.load(folder / "network.pt2")
    sample = tuple(program.example_inputs[0])
    plain = folder / "float.tflite"
    litert_torch.convert(program.module(), sample).export(str(plain))
    number_type = json.loads((folder / "request.json").read_text(encoding="utf-8"))["number_type"]
    return plain.read_bytes() if number_type == "float32" else quantized(plain, number_type, folder)


def quantized(plain: Path, number_type: str, folder: Path) -> bytes:
    """Quantize weights to 8 bits per channel, and activations by the ranges of each input or of the calibration
    inputs.
    """
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_quantizer import quantizer, recipe
    from ai_edge_quantizer.recipe import AlgorithmName, TFLOperationName

    tool = quantizer.Quantizer(str(plain))
    if number_type == "int8_dynamic":
        tool.load_quantization_recipe(recipe.dynamic_wi8_afp32())
        return bytes(tool.quantize().quantized_model)
    tool.load_quantization_recipe(recipe.static_wi8_ai8())
    for boundary in (TFLOperationName.INPUT, TFLOperationName.OUTPUT):  # callers of the file give and take floats
        tool.update_quantization_recipe(".*", boundary, algorithm_key=AlgorithmName.NO_QUANTIZE)
    ((signature, names),) = Interpreter(model_path=str(plain)).get_signature_list().items()
    inputs = np.load(folder / "calibration.npz", allow_pickle=False)["inputs"]
    ranges = tool.calibrate({signature: [{names["inputs"][0]: one[None]} for one in inputs]})
    return bytes(tool.quantize(ranges).quantized_model)


def main(arguments: list[str]) -> int:
    """Convert; return 1 and write the reason into `error.txt` if that fails."""
    folder = Path(arguments[0])
    try:
        content: Any = convert(folder)
    except Exception as error:  # the converter raises many types
        reason = "".join(traceback.format_exception_only(error))
        (folder / "error.txt").write_text(reason, encoding="utf-8")
        return 1
    (folder / "generator.tflite").write_bytes(content)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
