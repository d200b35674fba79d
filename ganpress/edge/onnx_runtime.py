"""Runs exported generators in ONNX Runtime; they are called like torch modules."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganpress.basics.telemetry import switch_off
from ganpress.edge.graphs.graph_writer import INPUT, OUTPUT, SOURCE
from ganpress.errors import CheckpointError, ConfigError, shown
from ganpress.files.onnx_files import read_onnx

NO_KERNEL = re.compile(
    r"NOT_IMPLEMENTED.*|No Op registered for.*|\S+ is not a registered function/op|guarantees support for models.*"
)
"""Messages of ONNX Runtime about an operator, or an operator set, that this version does not support."""

EXACT_SUMS = "session.x64quantprecision"
"""Session option of ONNX Runtime (kOrtSessionOptionsAvx2PrecisionMode)."""

WEIGHT_ROUNDING = "WeightBiasQuantization"
"""Graph optimization of ONNX Runtime that rounds the weights of layers with integer activations."""


class OnnxGenerator:
    """Latents (N, Z) or pictures (N, C, H, W) -> images (N, C, H, W), float32, computed by ONNX Runtime on the CPU."""

    def __init__(self, path: Path, threads: int | None = None, profile: Path | None = None) -> None:
        """Load the file.

        Args:
            path: an ONNX file, plain or packed, with the input `z` or `source` and the output `images`.
            threads: number of threads; None leaves the choice to the runtime.
            profile: beginning of the name of the file to which every kernel's time is written; None writes no file.

        Raises:
            CheckpointError: if the file is missing, damaged, or not a generator.
        """
        self._session: Any = _open_session(path, threads, profile)
        found = [value.name for value in (*self._session.get_inputs(), *self._session.get_outputs())]
        if found not in ([INPUT, OUTPUT], [SOURCE, OUTPUT]):
            raise CheckpointError(
                f"{path} is no generator: it needs '{INPUT}' or '{SOURCE}' -> '{OUTPUT}', found {found}"
            )
        self.path, self._input = path, found[0]
        self.input_shape: tuple[int, ...] = sizes_of(self._session.get_inputs()[0].shape, path)
        """Shape of one input: (Z,) or (C, H, W), or (C, 0, 0) for a file that accepts pictures of any size."""

    def __call__(self, inputs: Tensor) -> Tensor:
        """Run a batch of any size.

        Raises:
            ConfigError: if `inputs` is not (N, *input_shape) with N >= 1.
            CheckpointError: if the runtime cannot compute it, e.g. for a size that the network does not accept.
        """
        values = as_float32(inputs, self.input_shape, f"{self.path.name} takes {self._input}")
        try:
            (images,) = self._session.run([OUTPUT], {self._input: values})
        except Exception as error:  # the runtime raises many types for graphs that it cannot compute
            reason = shown(" ".join(str(error).split()), 200)
            raise CheckpointError(f"{self.path} cannot be run by ONNX Runtime: {reason}; export it again") from None
        return torch.from_numpy(images)

    def end_profiling(self) -> str:
        """Close the profile and return its path."""
        return str(self._session.end_profiling())


def fixed_sizes(shape: Sequence[object], path: Path) -> tuple[int, ...]:
    """Return the sizes of one input: all axes after the batch.

    Raises:
        CheckpointError: if there are none, or one is not fixed.
    """
    sizes = tuple(one for one in shape[1:] if isinstance(one, int) and one > 0)
    if not sizes or len(sizes) != len(shape) - 1:
        found = ", ".join(map(shown, shape))
        raise CheckpointError(f"{path} is no generator: the sizes of its input must be fixed, found ({found})")
    return sizes


def sizes_of(shape: Sequence[object], path: Path) -> tuple[int, ...]:
    """As `fixed_sizes`, but height and width of pictures may be open; they are 0 then."""
    if len(shape) == 4 and all(isinstance(one, str) for one in shape[2:]):
        return (*fixed_sizes(shape[:2], path), 0, 0)
    return fixed_sizes(shape, path)


def as_float32(inputs: Tensor, input_shape: tuple[int, ...], taker: str) -> NDArray[np.float32]:
    """Check inputs (N, *input_shape), N >= 1, and convert them for a runtime.

    Args:
        inputs: of any number type, on any device.
        input_shape: shape of one input of the file; 0 stands for any size.
        taker: beginning of the message, e.g. `generator.onnx takes z`.

    Raises:
        ConfigError: if the inputs have another shape.
    """
    given = tuple(inputs.shape[1:])
    fits = len(given) == len(input_shape) and all(
        size in (one, 0) for one, size in zip(given, input_shape, strict=True)
    )
    if inputs.dim() < 2 or inputs.shape[0] == 0 or not fits:
        wanted = ", ".join(("N", *(str(size) if size else "any" for size in input_shape)))
        raise ConfigError(f"{taker} ({wanted}) with N >= 1, found {tuple(inputs.shape)}")
    return np.ascontiguousarray(inputs.detach().cpu().numpy(), dtype=np.float32)


def runtime_version() -> str:
    """Return the version of ONNX Runtime."""
    switch_off()
    import onnxruntime

    return str(onnxruntime.__version__)


def session_options(threads: int | None = None) -> Any:
    """Return the options (`onnxruntime.SessionOptions`) of every session: nothing is logged, 8-bit sums are exact.

    x86 processors without VNNI sum products of 8-bit values in 16 bits, which may clip silently; `EXACT_SUMS` selects
    kernels that do not. On processors with VNNI, or other than x86, it changes nothing.

    Args:
        threads: cores to use; None leaves the choice to the runtime.
    """
    switch_off()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # an error is also raised, so it is not logged as well
    options.add_session_config_entry(EXACT_SUMS, "1")
    if threads is not None:
        options.intra_op_num_threads = options.inter_op_num_threads = threads
    return options


def _open_session(path: Path, threads: int | None, profile: Path | None) -> Any:
    import onnxruntime

    options = session_options(threads)
    if profile is not None:
        options.enable_profiling, options.profile_file_prefix = True, str(profile)
    content = read_onnx(path)
    if only_weights_are_integers(content):
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    disabled = [WEIGHT_ROUNDING] if only_activations_are_integers(content) else []
    try:
        return onnxruntime.InferenceSession(
            content, options, ["CPUExecutionProvider"], disabled_optimizers=disabled, enable_fallback=0
        )
    except Exception as error:  # the runtime raises many types for damaged files
        reason = " ".join(str(error).split())
        if lacking := NO_KERNEL.search(reason):
            raise CheckpointError(
                f"{path} needs a kernel that onnxruntime {runtime_version()} does not have: {shown(lacking[0], 200)}; "
                "`uv sync --upgrade-package onnxruntime`, or export it again"
            ) from None
        line = f"{path} cannot be loaded by ONNX Runtime: {shown(reason, 200)}; export it again"
        raise CheckpointError(line) from None


def only_weights_are_integers(content: bytes) -> bool:
    """Whether a serialised graph decodes tensors but encodes none; the runtime should then decode them once, at
    load.
    """
    encoded, decoded = (_count_operator(content, name) for name in ("QuantizeLinear", "DequantizeLinear"))
    return decoded > 0 and encoded == 0


def only_activations_are_integers(content: bytes) -> bool:
    """Whether a serialised graph decodes only tensors that it encoded, so no weights."""
    encoded, decoded = (_count_operator(content, name) for name in ("QuantizeLinear", "DequantizeLinear"))
    return decoded > 0 and encoded == decoded


def _count_operator(content: bytes, operator: str) -> int:
    """Count the nodes of a type in a serialised graph by field 4 of NodeProto, a string of that length."""
    return content.count(bytes([0x22, len(operator)]) + operator.encode())
