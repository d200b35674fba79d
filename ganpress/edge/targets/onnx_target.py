"""ONNX Runtime on the CPU: floats, halves on disk, and integers."""

from pathlib import Path

from torch import Tensor, nn

from ganpress.edge.kernels import KernelProfile
from ganpress.edge.onnx_export import export_onnx
from ganpress.edge.onnx_profile import profile_onnx
from ganpress.edge.runtime import OnnxGenerator, runtime_version
from ganpress.edge.targets.target import absent_packages, check_request, require_installed
from ganpress.metrics.scoring import Generate


class OnnxTarget:
    """Files `.onnx`; a generator that ganpress quantized is written in its own integers."""

    name = "onnx"
    suffix = ".onnx"
    number_types: tuple[str, ...] = ("float32",)

    def missing(self) -> str | None:
        """Command that installs the target, or None where it is installed."""
        return "uv sync" if absent_packages("onnx", "onnxscript", "onnxruntime") else None

    def write(
        self,
        model: nn.Module,
        path: Path,
        example: Tensor,
        number_type: str = "float32",
        calibration: Tensor | None = None,
    ) -> tuple[Path, ...]:
        """See `Target.write`."""
        check_request(self, number_type, example, calibration)
        export_onnx(model, path, example)
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
