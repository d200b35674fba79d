"""Runs a `.tflite` file as a generator."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganpress.edge.onnx_runtime import as_float32, fixed_sizes
from ganpress.edge.proof.kernels import KernelProfile, profile_of
from ganpress.edge.quiet import quiet_descriptors
from ganpress.edge.targets.first_trial import is_sound, require_trial
from ganpress.errors import CheckpointError, shown
from ganpress.files.frames import read_content

MULTIPLYING = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED", "BATCH_MATMUL")


class LiteRtGenerator:
    """Latents (N, Z) or pictures (N, C, H, W) -> images (N, C, H, W), float32, computed by LiteRT on the CPU."""

    def __init__(self, path: Path, threads: int = 1) -> None:
        """Load the file.

        Args:
            path: a `.tflite` file, plain or packed, with one float input and one float output.
            threads: number of threads.

        Raises:
            CheckpointError: if the file is missing, damaged, or not a generator.
        """
        content = read_content(path)
        require_trial(path, "LiteRT", __name__)
        self._interpreter = _loaded(content, threads, path)
        inputs, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        if len(inputs) != 1 or len(outputs) != 1 or {inputs[0]["dtype"], outputs[0]["dtype"]} != {np.float32}:
            raise CheckpointError(f"{path} is no generator: it needs one input and one output in floats")
        self.path = path
        self._input, self._output = int(inputs[0]["index"]), int(outputs[0]["index"])
        self.input_shape = fixed_sizes([int(size) for size in inputs[0]["shape"]], path)
        """Shape of one input: (Z,) or (C, H, W)."""

    def __call__(self, inputs: Tensor) -> Tensor:
        """Run a batch of any size, one input at a time, because the file takes one.

        Raises:
            ConfigError: if `inputs` is not (N, *input_shape) with N >= 1.
            CheckpointError: if LiteRT cannot compute the graph.
        """
        values = as_float32(inputs, self.input_shape, f"{self.path.name} takes")
        try:
            return torch.from_numpy(np.concatenate([self._image(one[None]) for one in values]))
        except (RuntimeError, ValueError) as error:
            reason = shown(" ".join(str(error).split()), 200)
            raise CheckpointError(f"{self.path} cannot be run by LiteRT: {reason}; export it again") from None

    def _image(self, one: Any) -> Any:
        self._interpreter.set_tensor(self._input, one)
        self._interpreter.invoke()
        return self._interpreter.get_tensor(self._output)  # a copy


def profile_litert(path: Path) -> KernelProfile:
    """Return the operators of a file with the number type of their inputs; LiteRT's Python package reports no times.

    Operators of `int8` files read quantized values. If only the weights are quantized, an operator reads floats and
    rounds them by the range of each input before it multiplies; LiteRT does that inside the operator, so it counts as
    `float32` here.
    """
    with quiet_descriptors():
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES  # a delegate would show all operators as one
        interpreter = Interpreter(model_content=read_content(path), experimental_op_resolver_type=plain)
        kinds = {one["index"]: np.dtype(one["dtype"]).name for one in interpreter.get_tensor_details()}
        operators = interpreter._get_ops_details()
    return profile_of(
        (one["op_name"], kinds.get(next((i for i in one["inputs"] if i >= 0 and _is_data(one, i)), -1), "float32"),
         one["op_name"] in MULTIPLYING, None)
        for one in operators
    )  # fmt: skip


def _is_data(operator: Any, index: int) -> bool:
    """Whether an operator's input is its data input; a transposed convolution has size and weights before it."""
    inputs = list(operator["inputs"])
    return bool(index == (inputs[2] if operator["op_name"] == "TRANSPOSE_CONV" else inputs[0]))


def _loaded(content: bytes, threads: int, path: Path) -> Any:
    with quiet_descriptors():  # it prints the processor that it uses, and errors of a file
        from ai_edge_litert.interpreter import Interpreter

        try:
            interpreter = Interpreter(model_content=content, num_threads=threads)
            interpreter.allocate_tensors()
        except Exception as error:  # the runtime raises many types for damaged files
            reason = shown(" ".join(str(error).split()), 200)
            raise CheckpointError(f"{path} cannot be loaded by LiteRT: {reason}; export it again") from None
    return interpreter


def attempt() -> None:
    """Open and run the file that the command line names, in the child process of a trial; exit code 1 if it fails."""
    path = Path(sys.argv[1])
    is_sound(read_content(path))
    try:
        generator = LiteRtGenerator(path)
        generator(torch.zeros(1, *generator.input_shape))
    except CheckpointError:
        raise SystemExit(1) from None  # the parent process reports it in one line
