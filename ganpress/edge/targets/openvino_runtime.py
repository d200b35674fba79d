"""Loads, runs and profiles files with OpenVINO on the CPU."""

import re
from pathlib import Path

import torch
from torch import Tensor

from ganpress.edge.graphs.graph_writer import INPUT, OUTPUT, SOURCE
from ganpress.edge.onnx_runtime import as_float32, fixed_sizes
from ganpress.edge.proof.kernels import KernelProfile, profile_of
from ganpress.errors import CheckpointError, shown
from ganpress.files.edge_files import parts_of
from ganpress.files.frames import is_frame, read_content

PRECISION_KEY = ["ganpress", "precision"]
"""Key in a file for the number type in which its float operators run."""
MULTIPLYING = ("Convolution", "FullyConnected", "MatMul")
KERNEL_TYPES = {"f32": "float32", "f16": "float16", "bf16": "bfloat16", "i8": "int8", "u8": "int8"}
WARM_UP_CALLS = 2
NO_KERNEL = ("doesn't contain the operation", "from unsupported opset")
"""Messages of OpenVINO about an operator, or an operator set, that this version does not support."""
XML_START_BYTES = 1024
XML_START = re.compile(rb'\s*(<\?xml[^<>]*\?>)?\s*<net( \w+="[^"<>]*")*? version="1[01]"[^<>]*>\s*<layers>')
"""Beginning of OpenVINO's files."""


class OpenVinoGenerator:
    """Latents (N, Z) or pictures (N, C, H, W) -> images (N, C, H, W), float32, computed by OpenVINO on the CPU."""

    def __init__(self, path: Path, threads: int = 1, profile: bool = False) -> None:
        """Load the file.

        Args:
            path: an `.xml` file with its `.bin` beside it, both plain or both packed.
            threads: number of threads.
            profile: whether the time of each kernel is recorded.

        Raises:
            CheckpointError: if a file is missing, damaged, or not a generator.
        """
        import openvino

        parts = parts_of(path)
        for needed in parts:
            if not needed.exists():
                raise CheckpointError(f"{needed} does not exist; export the generator first")
        source: tuple[Path | bytes, ...] = tuple(map(read_content, parts)) if is_frame(path) else (path,)
        core = openvino.Core()
        _check_form(path, source[0])
        try:
            graph = core.read_model(*source)
            precision = graph.get_rt_info(PRECISION_KEY).astype(str)
            options = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
            compiled = core.compile_model(graph, "CPU", {**options, "PERF_COUNT": profile})
        except Exception as error:  # the runtime raises many types for damaged files
            raise _refusal(path, " ".join(str(error).split())) from None
        found = [name for one in (*graph.inputs, *graph.outputs) for name in sorted(one.get_names())]
        if found not in ([INPUT, OUTPUT], [SOURCE, OUTPUT]):
            raise CheckpointError(
                f"{path} is no generator: it needs '{INPUT}' or '{SOURCE}' -> '{OUTPUT}', found {found}"
            )
        self.path, self._input, self._request = path, found[0], compiled.create_infer_request()
        shape = graph.inputs[0].get_partial_shape()
        axes = range(0 if shape.rank.is_dynamic else len(shape))
        sizes = [shape[axis].get_length() if shape[axis].is_static else str(shape[axis]) for axis in axes]
        self.input_shape = fixed_sizes(sizes, path)
        """Shape of one input: (Z,) or (C, H, W)."""

    def __call__(self, inputs: Tensor) -> Tensor:
        """Run a batch of any size.

        Raises:
            ConfigError: if `inputs` is not (N, *input_shape) with N >= 1.
        """
        values = as_float32(inputs, self.input_shape, f"{self.path.name} takes {self._input}")
        try:
            self._request.infer({0: values}, share_inputs=True)
        except Exception as error:  # the runtime raises many types for graphs that it cannot compute
            reason = shown(" ".join(str(error).split()), 200)
            raise CheckpointError(f"{self.path} cannot be run by OpenVINO: {reason}; export it again") from None
        return torch.from_numpy(self._request.get_output_tensor(0).data.copy())

    def profile(self) -> KernelProfile:
        """Return the kernels of the last call, as the runtime reports them."""
        ran = [one for one in self._request.profiling_info if one.status.name == "EXECUTED"]
        return profile_of(
            (
                one.node_type,
                _number_type(one.exec_type),
                any(part in one.node_type for part in MULTIPLYING),
                one.real_time.total_seconds(),
            )
            for one in ran
        )


def _check_form(path: Path, content: Path | bytes) -> None:
    """Refuse a file that is not OpenVINO's own XML.

    OpenVINO would otherwise try other formats, and for an ONNX graph it would read weights from other files.

    Raises:
        CheckpointError: if the file's root is not a `net` of a known version, or the file declares entities.
    """
    if isinstance(content, Path):
        with content.open("rb") as file:
            start = file.read(XML_START_BYTES)
    else:
        start = content[:XML_START_BYTES]
    if not XML_START.match(start):
        raise CheckpointError(f"{path} cannot be loaded by OpenVINO: it does not begin like its XML; export it again")


def _number_type(execution: str) -> str:
    """Return the number type of a kernel, e.g. from `brgconv_avx512_i8`."""
    suffix = execution.rpartition("_")[2].lower()
    return KERNEL_TYPES.get(suffix, suffix)


def _refusal(path: Path, reason: str) -> CheckpointError:
    import openvino

    if not any(sign in reason for sign in NO_KERNEL):
        return CheckpointError(f"{path} cannot be loaded by OpenVINO: {shown(reason, 200)}; export it again")
    version = str(openvino.__version__).partition("-")[0]
    operator = re.sub(r".*\.cpp:\d+: ", "", reason)[:200]  # the lines before it name places in OpenVINO's source
    return CheckpointError(
        f"{path} needs a kernel that openvino {version} does not have: {operator}; "
        "`uv sync --upgrade-package openvino`, or export it again"
    )


def profile_openvino(path: Path, example: Tensor) -> KernelProfile:
    """Run a file on one thread and return the kernels that ran."""
    generator = OpenVinoGenerator(path, threads=1, profile=True)
    for _ in range(WARM_UP_CALLS + 1):
        generator(example)
    return generator.profile()
