"""ONNX Runtime on the CPU: floats, halves on disk, and integers by its own static quantization."""

from pathlib import Path

from torch import Tensor, nn

from ganpress.config.edge import EDGE_SUFFIXES, NUMBER_TYPES, TARGET_EXTRAS, TARGET_PACKAGES
from ganpress.edge.forms import Form
from ganpress.edge.kernels import KernelProfile
from ganpress.edge.onnx_export import export_onnx, write_content
from ganpress.edge.onnx_numbers import INSIDE_PERCENT, half_content, integer_content
from ganpress.edge.onnx_profile import profile_onnx
from ganpress.edge.runtime import OnnxGenerator
from ganpress.edge.targets.target import Target
from ganpress.metrics.scoring import Generate
from models.quantized import QuantizedGenerator
from models.quantized_network import QuantizedNetwork


class OnnxTarget(Target):
    """Files `.onnx`; a generator that ganpress quantized is written in its own integers.

    Floats are fastest as native transposed convolutions, integers as sub-pixel convolutions, because no kernel of the
    runtime multiplies a transposed convolution in integers.
    """

    name = "onnx"
    title = "ONNX Runtime"
    suffix = EDGE_SUFFIXES["onnx"]
    number_types = NUMBER_TYPES["onnx"]
    int8_scheme = (
        "ONNX Runtime, static: weights symmetric per channel, activations asymmetric per tensor, "
        f"percentile {INSIDE_PERCENT}"
    )

    packages = TARGET_PACKAGES["onnx"]
    install = TARGET_EXTRAS["onnx"]
    own_integers = (QuantizedGenerator, QuantizedNetwork)

    def default_form(self, number_type: str) -> Form:
        """See `Target.default_form`."""
        return "subpixel" if number_type == "int8" else "native"

    def _write(
        self, model: nn.Module, path: Path, example: Tensor, number_type: str, calibration: Tensor | None
    ) -> tuple[Path, ...]:
        if calibration is not None:
            write_content(path, integer_content(model, example, calibration))
        elif number_type == "float16":
            write_content(path, half_content(model, example))
        else:
            export_onnx(model, path, example)
        return (path,)

    def _open(self, path: Path, threads: int) -> Generate:
        return OnnxGenerator(path, threads)

    def _kernels(self, path: Path, example: Tensor) -> KernelProfile:
        return profile_onnx(path, example)
