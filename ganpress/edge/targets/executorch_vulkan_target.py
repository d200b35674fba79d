"""ExecuTorch with its Vulkan backend, the GPU of Android phones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ganpress.edge.targets.executorch_target import ExecuTorchTarget

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

    from ganpress.edge.forms.float_forms import Form
    from ganpress.edge.proof.kernels import KernelProfile
    from ganpress.edge.targets.vulkan_program import VulkanProgram
    from ganpress.metrics.scoring import Generate


class ExecuTorchVulkanTarget(ExecuTorchTarget):
    """Files `.vulkan.pte`: the whole network is one graph of the backend, for one input a call."""

    name = "executorch_vulkan"
    title = "ExecuTorch on Vulkan"
    devices = "Android apps on the GPU (Vulkan)"
    suffix = ".vulkan.pte"
    number_types = ("float32",)
    int8_scheme = ""
    stand_in = "torch by the operators of the graph in the file"

    def default_form(self, number_type: str) -> Form:  # noqa: ARG002 - nothing was measured on a device
        """See `Target.default_form`."""
        return "native"

    def _write(
        self,
        model: nn.Module,
        path: Path,
        example: Tensor,
        number_type: str,  # noqa: ARG002 - there is one
        calibration: Tensor | None,  # noqa: ARG002 - nothing is rounded
    ) -> tuple[Path, ...]:
        from executorch.backends.vulkan.partitioner.vulkan_partitioner import VulkanPartitioner

        from ganpress.edge.targets.executorch_delegates import write_delegated

        return write_delegated(model, path, example, VulkanPartitioner, self.title, rewritten=True)

    def _open(self, path: Path, threads: int) -> Generate:
        from ganpress.edge.targets.executorch_delegates import DelegatedGenerator

        def read(content: bytes) -> tuple[Generate, tuple[int, ...]]:
            program = _program(content)
            return program.run, program.shape

        return DelegatedGenerator(path, threads, read)

    def _kernels(self, path: Path, example: Tensor) -> KernelProfile:  # noqa: ARG002 - the graph says it all
        from ganpress.edge.proof.kernels import profile_of
        from ganpress.files.frames import read_content

        return profile_of(_program(read_content(path)).parts())


def _program(content: bytes) -> VulkanProgram:
    from ganpress.edge.targets.executorch_delegates import read_delegate
    from ganpress.edge.targets.vulkan_program import BACKEND, read_vulkan

    return read_vulkan(read_delegate(content, BACKEND))


TARGET = ExecuTorchVulkanTarget()
