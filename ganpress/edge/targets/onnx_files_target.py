"""The base of targets with ONNX files, which ONNX Runtime runs here on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ganpress.edge.graphs.onnx_format import OPSET
from ganpress.edge.targets.target import Target

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

    from ganpress.edge.forms.float_forms import Form
    from ganpress.edge.proof.kernels import KernelProfile
    from ganpress.metrics.scoring import Generate


class OnnxFilesTarget(Target):
    """A target of ONNX files."""

    packages = ("onnxruntime", "onnx", "onnxscript")
    install = "uv sync"
    is_onnx = True
    opset = OPSET

    def default_form(self, number_type: str) -> Form:  # noqa: ARG002 - the same for all
        """See `Target.default_form`."""
        return "native"

    def open_sizes(
        self, model: nn.Module, files: tuple[Path, ...], example: Tensor, number_type: str, form: Form
    ) -> None:
        """See `Target.open_sizes`."""
        from ganpress.edge.forms.any_size import open_onnx_sizes

        open_onnx_sizes(self, model, files, example, number_type, form)

    def _open(self, path: Path, threads: int) -> Generate:
        from ganpress.edge.onnx_runtime import OnnxGenerator

        return OnnxGenerator(path, threads)

    def _kernels(self, path: Path, example: Tensor) -> KernelProfile:
        from ganpress.edge.proof.onnx_profile import profile_onnx

        return profile_onnx(path, example)
