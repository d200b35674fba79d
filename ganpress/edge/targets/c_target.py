"""C99 source for microcontrollers: ganpress's own integers, bit for bit, or floats; compiled here to verify it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ganpress.edge.targets.target import Target, UnsupportedGenerator

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

    from ganpress.edge.forms.float_forms import Form
    from ganpress.edge.proof.kernels import KernelProfile
    from ganpress.metrics.scoring import Generate


class CTarget(Target):
    """Files `.c` with their header `.h`: no malloc, constant weights, one arena of a fixed size.

    Transposed convolutions are always written as plain ones that store each result at its place, whatever the form.
    """

    name = "c"
    title = "C99"
    devices = "microcontrollers without an operating system, and anything with a C compiler"
    suffix = ".c"
    beside = (".h",)
    number_types = ("float32",)
    widens = False
    programs = ("cc",)
    install = "apt-get install gcc"

    def default_form(self, number_type: str) -> Form:  # noqa: ARG002 - there is one form
        """See `Target.default_form`."""
        return "subpixel"

    def can_keep(self, model: nn.Module) -> bool:
        """See `Target.can_keep`; weights and activations must both be integers."""
        from models.quantized_network import QuantizedNetwork

        return isinstance(model, QuantizedNetwork) and None not in (model.weight_bits, model.activation_bits)

    def _write(
        self,
        model: nn.Module,
        path: Path,
        example: Tensor,
        number_type: str,  # noqa: ARG002 - float32, or the model's own integers
        calibration: Tensor | None,  # noqa: ARG002 - it has no quantizer
    ) -> tuple[Path, ...]:
        from ganpress.basics.whole_files import whole_files
        from ganpress.edge.c_code.c_lowering import UnwrittenLayer
        from ganpress.edge.c_code.c_source import c_files, identifier
        from ganpress.edge.forms.float_forms import in_form
        from ganpress.edge.layer_names import layer_calling
        from ganpress.structure.function_graph import Untraceable
        from models.quantized_network import QuantizedNetwork

        if not isinstance(model, QuantizedNetwork):
            model = in_form(model, "subpixel", example)
        try:
            files = c_files(model, example, identifier(path))
        except UnwrittenLayer as error:
            layer = layer_calling(model, example[:1], error.function)
            where = "" if layer is None else f" in layer '{layer}'"
            raise UnsupportedGenerator(f"{type(model).__name__} cannot be written as C: {error}{where}") from None
        except Untraceable as error:
            raise UnsupportedGenerator(f"{type(model).__name__} cannot be written as C: {error}") from None
        with whole_files(path, ".h") as place:
            place.write_text(files.source, encoding="ascii")
            place.with_suffix(".h").write_text(files.header, encoding="ascii")
        return (path, path.with_suffix(".h"))

    def arena_bytes(self, path: Path) -> int:
        """See `Target.arena_bytes`; the value is read from the header."""
        from ganpress.edge.c_code.c_runner import read_texts

        return read_texts(path).sizes["ARENA_BYTES"]

    def _open(self, path: Path, threads: int) -> Generate:  # noqa: ARG002 - one thread, as on a microcontroller
        from ganpress.edge.c_code.c_runner import CGenerator

        return CGenerator(path)

    def _kernels(self, path: Path, example: Tensor) -> KernelProfile:
        from ganpress.edge.c_code.c_profile import profile_c

        return profile_c(path, example)


TARGET = CTarget()
