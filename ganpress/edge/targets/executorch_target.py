"""ExecuTorch with XNNPACK on the CPU, the runtime of phones: floats, and integers by torchao's PT2E quantization."""

import copy
import re
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ganpress.config.edge import NUMBER_TYPES
from ganpress.edge.files import whole_or_nothing
from ganpress.edge.forms import Form
from ganpress.edge.kernels import KernelProfile, profile_of
from ganpress.edge.layers import blame
from ganpress.edge.quiet import quiet
from ganpress.edge.runtime import as_float32
from ganpress.edge.targets.target import Target, UnsupportedGenerator
from ganpress.errors import CheckpointError
from ganpress.metrics.scoring import Generate

LARGEST_BATCH = 64
"""Of one call; memory is planned for it. The lowering may find a smaller one, and the runner splits what is larger."""
PLANNED_VALUES = 2**20
"""Largest batch of sources, in values: 5 of 256 x 256 pixels."""
MULTIPLYING = ("Convolution", "Deconvolution", "Fully Connected", "Batch Matrix Multiply", "convolution", "mm.out")
NO_KERNEL = "error: 0x:14"
"""What ExecuTorch says of a program with an operator that this version of it does not know (`OperatorMissing`)."""
OPERATOR = re.compile(rb"\b\w+::\w+")
"""Name of an operator in a program's bytes, e.g. `aten::cumsum`."""
XNNPACK_TYPES = {"F32": "float32", "F16": "float16", "X32": "float32", "X8": "int8"}


class ExecuTorchTarget(Target):
    """Files `.pte`, one program each."""

    name = "executorch"
    suffix = ".pte"
    number_types = NUMBER_TYPES["executorch"]
    int8_scheme = "torchao PT2E, static: weights symmetric per channel, activations asymmetric per tensor"

    packages = ("executorch", "torchao")
    install = "uv sync --extra executorch"

    def default_form(self, number_type: str) -> Form:
        """See `Target.default_form`."""
        return "native" if number_type == "int8" else "subpixel"

    def _write(
        self,
        model: nn.Module,
        path: Path,
        example: Tensor,
        number_type: str,  # noqa: ARG002 - float32 or int8, which the calibration tells
        calibration: Tensor | None,
    ) -> tuple[Path, ...]:
        rewritten = _lowerable(model)
        try:
            with quiet():
                program = _export(rewritten, example)
                if calibration is not None:
                    program = _export(_quantize(program, calibration), example)
                content = _lower(program)
        except Exception as error:  # the lowering raises many types
            reason = blame(rewritten, example, str(error)) or " ".join(str(error).split())[:300]
            raise UnsupportedGenerator(f"ExecuTorch cannot run {type(model).__name__}: {reason}") from None
        _check_kernels(content, rewritten, example)
        with whole_or_nothing(path) as place:
            place.write_bytes(content.buffer)
        return (path,)

    def _open(self, path: Path, threads: int) -> Generate:
        return ExecuTorchGenerator(path, threads)

    def _kernels(self, path: Path, example: Tensor) -> KernelProfile:
        generator = ExecuTorchGenerator(path, threads=1, profile=True)
        generator(example)
        return generator.profile()


class ExecuTorchGenerator:
    """Latents (N, Z) or pictures (N, C, H, W) -> images (N, C, H, W), float32, computed by ExecuTorch on the CPU."""

    def __init__(self, path: Path, threads: int = 1, profile: bool = False) -> None:
        """Load the file.

        Args:
            path: a `.pte` file.
            threads: cores to use. ExecuTorch has one pool for the whole process: what was opened last decides.
            profile: whether the time of each kernel is kept.

        Raises:
            CheckpointError: if the file is missing, damaged, or not a generator.
        """
        if not path.exists():
            raise CheckpointError(f"{path} does not exist; export the generator first")
        with quiet():
            from executorch.extension.pybindings.portable_lib import _unsafe_reset_threadpool
            from executorch.runtime import Runtime

            _unsafe_reset_threadpool(threads)
            try:
                self._program = Runtime.get().load_program(path, enable_etdump=profile)
                self._method = self._program.load_method("forward")
                tensor = self._method.metadata.input_tensor_meta(0)
            except Exception as error:  # the runtime raises many types for damaged files
                raise _refusal(path, " ".join(str(error).split())[:200]) from None
        self.path = path
        self.largest_batch, *shape = tensor.sizes()
        self.input_shape = tuple(shape)
        """Of one input: (Z,) or (C, H, W)."""

    def __call__(self, inputs: Tensor) -> Tensor:
        """Run a batch of any size, in parts where the program was planned for less.

        Raises:
            ConfigError: if `inputs` is not (N, *input_shape) with N >= 1.
        """
        values = torch.from_numpy(as_float32(inputs, self.input_shape, f"{self.path.name} takes"))
        starts = range(0, len(values), self.largest_batch)
        parts = [self._method.execute([values[start : start + self.largest_batch]])[0].clone() for start in starts]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def profile(self) -> KernelProfile:
        """Kernels of the calls so far, from the event trace that the runtime and XNNPACK write themselves."""
        from executorch.devtools import Inspector

        with tempfile.TemporaryDirectory(prefix="ganpress-profile-") as folder, quiet():
            trace = Path(folder) / "trace.etdp"
            self._program.write_etdump_result_to_file(str(trace), str(Path(folder) / "buffer"))
            blocks = Inspector(etdump_path=str(trace)).event_blocks
        kernels = [event for block in blocks if block.name == "Execute" for event in block.events]
        kernels = [one for one in kernels if one.is_delegated_op or one.name.startswith(("native_call_", "aten"))]
        return profile_of(
            (_operator(one.name), _number_type(one.name), _multiplies(one.name), sum(one.perf_data.raw))
            for one in kernels
        )


def _refusal(path: Path, reason: str) -> CheckpointError:
    if NO_KERNEL not in reason:
        return CheckpointError(f"{path} cannot be loaded by ExecuTorch: {reason}; export it again")
    import importlib.metadata

    from executorch.runtime import Runtime

    known = {name.partition(".")[0] for name in Runtime.get().operator_registry.operator_names}
    unknown = sorted({name.decode() for name in OPERATOR.findall(path.read_bytes())} - known)
    return CheckpointError(
        f"{path} needs a kernel that executorch {importlib.metadata.version('executorch')} has not: "
        f"{', '.join(unknown)}; `uv sync --upgrade-package executorch`, or export it again"
    )


def _operator(name: str) -> str:
    """`Deconvolution (NHWC, F32) IGEMM #1` -> `Deconvolution`; `native_call_add.out` -> `add.out`."""
    return name.removeprefix("native_call_").partition(" (")[0]


def _multiplies(name: str) -> bool:
    return any(part in name for part in MULTIPLYING)


def _number_type(name: str) -> str:
    """Number type of a kernel of XNNPACK, e.g. `(NHWC, QS8, QC8W)`; those of ExecuTorch itself are floats."""
    types = name.partition("(")[2].partition(")")[0].split(", ")
    if any(one.startswith(("QS8", "QU8", "QC8")) for one in types):
        return "int8"
    return next((XNNPACK_TYPES[one] for one in types if one in XNNPACK_TYPES), "float32")


def _lowerable(model: nn.Module) -> nn.Module:
    """Give batch normalisations that were not folded weights of one: the lowering fails on those without any."""
    model = copy.deepcopy(model).eval().requires_grad_(False)
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d) and not norm.affine:
            norm.weight, norm.bias = (
                nn.Parameter(torch.ones(norm.num_features)),
                nn.Parameter(torch.zeros(norm.num_features)),
            )
            norm.affine = True
    return model


def _export(model: nn.Module, example: Tensor) -> Any:
    largest = max(2, min(LARGEST_BATCH, PLANNED_VALUES // example[0].numel()))
    batch = torch.export.Dim("batch", min=1, max=largest)
    pair = example[:2] if len(example) > 1 else example.expand(2, *example.shape[1:])
    with torch.no_grad():
        return torch.export.export(model, (pair.contiguous(),), dynamic_shapes=({0: batch},))


def _quantize(program: Any, calibration: Tensor) -> nn.Module:
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    quantizer = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))
    observed = prepare_pt2e(program.module(), quantizer)
    with torch.no_grad():
        for place in range(len(calibration)):
            observed(calibration[place : place + 1])
    quantized: nn.Module = convert_pt2e(observed)
    return quantized


def _lower(program: Any) -> Any:
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    return to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()]).to_executorch()


def _check_kernels(content: Any, model: nn.Module, example: Tensor) -> None:
    """Refuse a program with an operator that the runtime has no kernel for.

    Raises:
        UnsupportedGenerator: naming the operator and its layer.
    """
    from executorch.runtime import Runtime

    with quiet():
        known = set(Runtime.get().operator_registry.operator_names)
    for plan in content.executorch_program.execution_plan:
        for one in plan.operators:
            name = f"{one.name}.{one.overload}" if one.overload else one.name
            if name not in known:
                where = blame(model, example, name) or f"the operator {name}"
                raise UnsupportedGenerator(
                    f"ExecuTorch cannot run {type(model).__name__}: it has no kernel for {where}"
                )
