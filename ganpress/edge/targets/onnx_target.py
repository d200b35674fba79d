"""ONNX Runtime on the CPU: floats, halves on disk, and integers by its own static quantization."""

from pathlib import Path

from torch import Tensor, nn

from ganpress.config.edge import NUMBER_TYPES
from ganpress.edge.equalization import equalized
from ganpress.edge.forms import Form, in_form
from ganpress.edge.kernels import KernelProfile
from ganpress.edge.onnx_export import export_onnx, write_content
from ganpress.edge.onnx_numbers import INSIDE_PERCENT, half_content, integer_content
from ganpress.edge.onnx_profile import profile_onnx
from ganpress.edge.runtime import OnnxGenerator, runtime_version
from ganpress.edge.targets.target import absent_packages, check_request, refuse_quantized, require_installed
from ganpress.metrics.scoring import Generate
from models.quantized_network import Quantized


class OnnxTarget:
    """Files `.onnx`; a generator that ganpress quantized is written in its own integers.

    Floats are fastest as native transposed convolutions, integers as sub-pixel convolutions, because no kernel of the
    runtime multiplies a transposed convolution in integers.
    """

    name = "onnx"
    suffix = ".onnx"
    number_types = NUMBER_TYPES["onnx"]
    int8_scheme = (
        "ONNX Runtime, static: weights symmetric per channel, activations asymmetric per tensor, "
        f"percentile {INSIDE_PERCENT}"
    )

    def missing(self) -> str | None:
        """Command that installs the target, or None where it is installed."""
        return "uv sync" if absent_packages("onnx", "onnxscript", "onnxruntime") else None

    def default_form(self, number_type: str) -> Form:
        """See `Target.default_form`."""
        return "subpixel" if number_type == "int8" else "native"

    def write(
        self,
        model: nn.Module,
        path: Path,
        example: Tensor,
        number_type: str = "float32",
        calibration: Tensor | None = None,
        form: Form | None = None,
    ) -> tuple[Path, ...]:
        """See `Target.write`."""
        check_request(self, number_type, example, calibration)
        if number_type != "float32":
            refuse_quantized(self, model)
        if isinstance(model, Quantized):
            export_onnx(model, path, example)
            return (path,)
        if number_type == "int8" and calibration is not None:
            model = equalized(model, calibration)
        model = in_form(model, form or self.default_form(number_type), example)
        if number_type == "float32":
            export_onnx(model, path, example)
        elif number_type == "float16":
            write_content(path, half_content(model, example))
        elif calibration is not None:
            write_content(path, integer_content(model, example, calibration))
        return (path,)

    def open(self, path: Path, threads: int = 1) -> Generate:
        """See `Target.open`."""
        require_installed(self)
        return OnnxGenerator(path, threads)

    def kernels(self, path: Path, example: Tensor) -> KernelProfile:
        """See `Target.kernels`."""
        require_installed(self)
        return profile_onnx(path, example)

    def version(self) -> str:
        """See `Target.version`."""
        require_installed(self)
        return f"onnxruntime {runtime_version()}"
