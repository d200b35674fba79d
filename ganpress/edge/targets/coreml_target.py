"""Core ML, the runtime of Apple's devices: float32, float16, 8-bit weights, or weights in palettes of 64 values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ganpress.edge.targets.target import Target

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

    from ganpress.edge.forms.float_forms import Form
    from ganpress.edge.proof.kernels import KernelProfile
    from ganpress.metrics.scoring import Generate


class CoreMlTarget(Target):
    """Files `.mlpackage.zip`; unpacked, each is the folder `generator.mlpackage` that Xcode takes.

    All number types but `float32` compute in float16, as Core ML does by default. `int8_weights` stores weights in 8
    bits per channel, `palette6` as indices into a palette of 64 values; both are decoded when the file is loaded.
    """

    name = "coreml"
    title = "Core ML"
    devices = "iPhone, iPad and Mac"
    suffix = ".mlpackage.zip"
    number_types = ("float32", "float16", "int8_weights", "palette6")
    widens = False
    calibrated = ()
    any_size_types = ("float32", "float16")
    packages = ("coremltools",)
    install = "uv sync --extra coreml"
    stand_in = "ganpress's own operators of MIL on the CPU"

    def default_form(self, number_type: str) -> Form:  # noqa: ARG002 - nothing was measured on a device
        """See `Target.default_form`."""
        return "native"

    def open_sizes(
        self, model: nn.Module, files: tuple[Path, ...], example: Tensor, number_type: str, form: Form
    ) -> None:
        """See `Target.open_sizes`; the package is written with bounds in place of sizes."""
        from ganpress.edge.forms.any_size import other_size
        from ganpress.edge.forms.float_forms import in_form
        from ganpress.edge.targets.coreml_conversion import free_sizes, write_coreml
        from ganpress.edge.targets.coreml_runtime import CoreMlGenerator

        written = in_form(model, form, example)
        write_coreml(written, files[0], example, number_type, any_size=True)
        free_sizes(CoreMlGenerator(files[0]).program, written, other_size(model, example))

    def _write(
        self,
        model: nn.Module,
        path: Path,
        example: Tensor,
        number_type: str,
        calibration: Tensor | None,  # noqa: ARG002 - only weights are rounded
    ) -> tuple[Path, ...]:
        from ganpress.edge.targets.coreml_conversion import write_coreml

        return write_coreml(model, path, example, number_type)

    def _open(self, path: Path, threads: int) -> Generate:
        from ganpress.edge.targets.coreml_runtime import CoreMlGenerator

        return CoreMlGenerator(path, threads)

    def _kernels(self, path: Path, example: Tensor) -> KernelProfile:  # noqa: ARG002 - the program tells the operators
        from ganpress.edge.targets.coreml_runtime import CoreMlGenerator

        return CoreMlGenerator(path).profile()


TARGET = CoreMlTarget()
