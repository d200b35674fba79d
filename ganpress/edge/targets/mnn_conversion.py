"""Converts ONNX graphs with MNN's converter, and quantizes them with MNN's quantizer.

Both tools are called through the extension module of MNN's commands, each in its own process, because they print, and
abort on input that they cannot read. The commands themselves (`mnnconvert`, `mnnquant`) are not used: when started,
they install a package with pip and report the conversion to MNN's makers; and the quantizer's command passes its
arguments in a form that the extension module no longer accepts.
"""

import json
import re
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from ganpress.basics.whole_files import write_whole
from ganpress.edge.graphs.graph_writer import OUTPUT, input_name
from ganpress.edge.graphs.onnx_export import export_onnx
from ganpress.edge.layer_names import blame
from ganpress.edge.targets.first_trial import is_sound
from ganpress.edge.targets.target import UnsupportedGenerator

FLAGS = {
    "float32": (),
    "float16": ("--fp16",),
    "int8_weights": ("--weightQuantBits", "8", "--weightQuantAsymmetric"),
    "int8": (),
}
"""Options of the converter by number type; for `int8` the converter's float file is quantized afterwards."""
UNSUPPORTED = re.compile(
    r"(?:Not [Ss]upport(?:ed)?|Unsupported|unknown)[^:\n]*:+\s*(?:ONNX::)?(\w+)|These Op Not Support: ([^\n]*)"
)
"""The converter's message about an ONNX operator that it does not support."""
UUID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
"""Pattern of the random identifier that the converter writes into every file."""
CALIBRATION_BATCH = 8


def write_mnn(
    model: nn.Module, path: Path, example: Tensor, number_type: str, calibration: Tensor | None
) -> tuple[Path, ...]:
    """Write a generator in its form as `path`, quantized if there are calibration inputs.

    Raises:
        UnsupportedGenerator: if MNN does not support an operator.
    """
    with tempfile.TemporaryDirectory(prefix="ganpress-mnn-") as name:
        folder = Path(name)
        source, converted, quantized = (folder / f"generator{end}" for end in (".onnx", ".mnn", ".int8.mnn"))
        export_onnx(model, source, example)
        said = _run("mnnconvert", "-f", "ONNX", "--modelFile", source, "--MNNModel", converted, *FLAGS[number_type])
        if not converted.exists():
            raise UnsupportedGenerator(f"MNN cannot run {type(model).__name__}: {_reason(said, model, example)}")
        if calibration is not None:
            said = _run("mnnquant", converted, quantized, _quantizer_settings(folder, example, calibration))
            if not quantized.exists():
                raise UnsupportedGenerator(
                    f"MNN cannot quantize {type(model).__name__}: {_last_line(said)}; "
                    "take the number type int8_weights, which quantizes weights alone"
                )
            converted = quantized
        content = _with_fixed_uuid(converted.read_bytes())
        write_whole(path, content)
        is_sound(content)
    return (path,)


def _run(tool: str, *arguments: str | Path) -> str:
    """Run the tool `mnnconvert` or `mnnquant` and return its output."""
    command = [sys.executable, "-P", "-c", f"import sys, _tools; _tools.{tool}(sys.argv)", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, check=False)
    return (done.stdout + done.stderr).decode(errors="replace")


def _reason(said: str, model: nn.Module, example: Tensor) -> str:
    """Return the operator that the converter names, with its layer if it is known; otherwise its last line."""
    found = UNSUPPORTED.search(said)
    if found is None:
        return _last_line(said)
    operator = (found[1] or found[2]).strip().removeprefix("ONNX::")
    torchs = "aten::" + re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", operator).lower()
    return blame(model, example, torchs) or f"the operator {operator}"


def _last_line(said: str) -> str:
    lines = [" ".join(line.split()) for line in said.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "its tool ended without a message"


def _quantizer_settings(folder: Path, example: Tensor, calibration: Tensor) -> Path:
    """Write calibration inputs (n, …) in the quantizer's format, one folder of text files each, and its settings."""
    name = input_name(example)
    description = {"inputs": [{"name": name, "shape": [1, *calibration.shape[1:]]}], "outputs": [OUTPUT]}
    for place, one in enumerate(calibration):
        place_folder = folder / "calibration" / f"input_{place}"
        place_folder.mkdir(parents=True)
        (place_folder / "input.json").write_text(json.dumps(description), encoding="ascii")
        np.savetxt(place_folder / f"{name}.txt", one.flatten().numpy(), fmt="%.7g")
    settings = {
        "path": f"{folder / 'calibration'}/",
        "input_type": "sequence",
        "used_sample_num": len(calibration),
        "batch_size": min(CALIBRATION_BATCH, len(calibration)),
        "feature_quantize_method": "KL",
        "weight_quantize_method": "MAX_ABS",
        "feature_clamp_value": 127,
        "weight_clamp_value": 127,
        "quant_bits": 8,
        "debug": False,
        # These keys are for image files, which the inputs are not, but the quantizer requires them.
        "format": "RGB",
        "mean": [0.0, 0.0, 0.0],
        "normal": [1.0, 1.0, 1.0],
    }
    path = folder / "settings.json"
    path.write_text(json.dumps(settings), encoding="ascii")
    return path


def _with_fixed_uuid(content: bytes) -> bytes:
    """Replace a file's random identifier by one derived from its content, so that equal graphs give equal bytes."""
    found = UUID.findall(content)
    if len(found) != 1:
        return content
    blank = content.replace(found[0], b"0" * len(found[0]))
    return content.replace(found[0], str(uuid.uuid5(uuid.NAMESPACE_OID, blank.hex())).encode())
