"""Reads the kernels that ONNX Runtime ran from the profile that it writes."""

import json
import tempfile
from pathlib import Path
from typing import Any

from torch import Tensor

from ganpress.edge.onnx_runtime import OnnxGenerator
from ganpress.edge.proof.kernels import KernelProfile, profile_of

WARM_UP_CALLS = 2
"""Calls before the one whose kernels are counted, because the first call allocates memory."""
NUMBER_TYPES = {"float": "float32", "uint8": "int8"}
"""Number types in the profile -> ganpress's names; quantized activations are unsigned."""
MULTIPLYING = ("Conv", "Gemm", "MatMul")
"""Parts of the names of convolutions and matrix products: QLinearConv, FusedGemm, …"""


def profile_onnx(path: Path, example: Tensor) -> KernelProfile:
    """Run an ONNX file on one thread and read the kernels of its last call from ONNX Runtime's own profile.

    Raises:
        CheckpointError: if the file is missing, damaged, or not a generator.
    """
    with tempfile.TemporaryDirectory(prefix="ganpress-profile-") as folder:
        generator = OnnxGenerator(path, threads=1, profile=Path(folder) / "calls")
        for _ in range(WARM_UP_CALLS + 1):
            generator(example)
        events = json.loads(Path(generator.end_profiling()).read_text(encoding="utf-8"))
    runs = [event for event in events if event["cat"] == "Node" and event["name"].endswith("_kernel_time")]
    runs = runs[-(len(runs) // (WARM_UP_CALLS + 1)) :]
    return profile_of(
        (args["op_name"], _multiplied(args), any(part in args["op_name"] for part in MULTIPLYING), float(run["dur"]))
        for run in runs
        for args in [run["args"]]
    )


def _multiplied(args: dict[str, Any]) -> str:
    """Return the number type of a kernel's first input."""
    first: dict[str, list[int]] = next(iter(args["input_type_shape"]), {"float": []})
    (name,) = first
    return NUMBER_TYPES.get(name, name)
