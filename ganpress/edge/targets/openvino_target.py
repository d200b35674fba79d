"""OpenVINO on the CPU: floats, bfloat16 where the processor has it, and integers by NNCF."""

import logging
import re
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ganpress.config.edge import EDGE_SUFFIXES, NUMBER_TYPES, TARGET_EXTRAS, TARGET_PACKAGES
from ganpress.edge.files import whole_or_nothing
from ganpress.edge.forms import Form
from ganpress.edge.graph import INPUT, OUTPUT, SOURCE, DrawnModule
from ganpress.edge.graph_passes_openvino import unrounded_outputs
from ganpress.edge.graph_passes_outputs import widen_outputs
from ganpress.edge.kernels import KernelProfile, profile_of
from ganpress.edge.layers import blame
from ganpress.edge.onnx_export import export_onnx
from ganpress.edge.quiet import quiet
from ganpress.edge.runtime import as_float32, fixed_sizes
from ganpress.edge.targets.target import Target, UnsupportedGenerator
from ganpress.edge_files import parts_of
from ganpress.errors import CheckpointError, shown
from ganpress.frames import is_frame, read_content
from ganpress.metrics.scoring import Generate
from ganpress.telemetry import switch_off
from models.quantized_network import QuantizedNetwork

PRECISION_KEY = ["ganpress", "precision"]
"""Where a file keeps the number type that its float operators run in."""
PRECISION_HINTS = {"float32": "f32", "bfloat16": "bf16", "int8": "f32"}
MULTIPLYING = ("Convolution", "FullyConnected", "MatMul")
KERNEL_TYPES = {"f32": "float32", "f16": "float16", "bf16": "bfloat16", "i8": "int8", "u8": "int8"}
WARM_UP_CALLS = 2
NO_KERNEL = ("doesn't contain the operation", "from unsupported opset")
"""What OpenVINO says of an operator, or an operator set, that this version of it does not know."""
XML_START_BYTES = 1024
XML_START = re.compile(rb'\s*(<\?xml[^<>]*\?>)?\s*<net( \w+="[^"<>]*")*? version="1[01]"[^<>]*>\s*<layers>')
"""How OpenVINO begins its files."""
UNCONVERTED = re.compile(r"No conversion rule found for operations: (.*)")
ONNX_OPERATOR = re.compile(r"([A-Z]\w*)-\d+")
"""E.g. `Det-20`: an operator of ONNX with the version of its definition."""


class OpenVinoTarget(Target):
    """Files `.xml` with their weights in `.bin`.

    Transposed convolutions stay: OpenVINO multiplies them in integers as they are, faster than their sub-pixel form.
    In bfloat16 it does not, so that there the sub-pixel form is the default. A generator that ganpress quantized layer
    by layer is written in its own integers, see `ganpress.edge.graph_passes_openvino`.
    """

    name = "openvino"
    title = "OpenVINO"
    suffix = EDGE_SUFFIXES["openvino"]
    number_types = NUMBER_TYPES["openvino"]
    int8_scheme = "NNCF, static: weights symmetric per channel, activations by histogram, preset performance"

    packages = TARGET_PACKAGES["openvino"]
    install = TARGET_EXTRAS["openvino"]
    own_integers = (QuantizedNetwork,)

    def default_form(self, number_type: str) -> Form:
        """See `Target.default_form`."""
        return "subpixel" if number_type == "bfloat16" else "native"

    def _write(
        self, model: nn.Module, path: Path, example: Tensor, number_type: str, calibration: Tensor | None
    ) -> tuple[Path, ...]:
        import openvino

        if isinstance(model, QuantizedNetwork):
            model = unrounded_outputs(model)
        graph = _convert(widen_outputs(model, example), example)
        if calibration is not None:
            graph = _quantize(graph, calibration)
        graph.set_rt_info(PRECISION_HINTS[number_type], PRECISION_KEY)
        with whole_or_nothing(path, ".bin") as place:
            openvino.save_model(graph, place, compress_to_fp16=False)
        return (path, path.with_suffix(".bin"))

    def _open(self, path: Path, threads: int) -> Generate:
        return OpenVinoGenerator(path, threads)

    def _kernels(self, path: Path, example: Tensor) -> KernelProfile:
        generator = OpenVinoGenerator(path, threads=1, profile=True)
        for _ in range(WARM_UP_CALLS + 1):
            generator(example)
        return generator.profile()


class OpenVinoGenerator:
    """Latents (N, Z) or pictures (N, C, H, W) -> images (N, C, H, W), float32, computed by OpenVINO on the CPU."""

    def __init__(self, path: Path, threads: int = 1, profile: bool = False) -> None:
        """Load the file.

        Args:
            path: an `.xml` file with its `.bin` beside it, both plain or both packed.
            threads: cores to use.
            profile: whether the time of each kernel is kept.

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
        """Of one input: (Z,) or (C, H, W)."""

    def __call__(self, inputs: Tensor) -> Tensor:
        """Run a batch of any size.

        Raises:
            ConfigError: if `inputs` is not (N, *input_shape) with N >= 1.
        """
        values = as_float32(inputs, self.input_shape, f"{self.path.name} takes {self._input}")
        try:
            self._request.infer({0: values}, share_inputs=True)
        except Exception as error:  # the runtime raises many types for graphs that do not compute
            reason = shown(" ".join(str(error).split()), 200)
            raise CheckpointError(f"{self.path} cannot be run by OpenVINO: {reason}; export it again") from None
        return torch.from_numpy(self._request.get_output_tensor(0).data.copy())

    def profile(self) -> KernelProfile:
        """Kernels of the last call, as the runtime reports them."""
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
    """Refuse what is not OpenVINO's own XML.

    OpenVINO would try other formats under that name, and of an ONNX graph read the weights from other files.

    Raises:
        CheckpointError: if the root of the file is no `net` of a known version, or it declares entities.
    """
    if isinstance(content, Path):
        with content.open("rb") as file:
            start = file.read(XML_START_BYTES)
    else:
        start = content[:XML_START_BYTES]
    if not XML_START.match(start):
        raise CheckpointError(f"{path} cannot be loaded by OpenVINO: it does not begin as its XML; export it again")


def _number_type(execution: str) -> str:
    """Number type of a kernel, from e.g. `brgconv_avx512_i8`."""
    suffix = execution.rpartition("_")[2].lower()
    return KERNEL_TYPES.get(suffix, suffix)


def _refusal(path: Path, reason: str) -> CheckpointError:
    import openvino

    if not any(sign in reason for sign in NO_KERNEL):
        return CheckpointError(f"{path} cannot be loaded by OpenVINO: {shown(reason, 200)}; export it again")
    version = str(openvino.__version__).partition("-")[0]
    operator = re.sub(r".*\.cpp:\d+: ", "", reason)[:200]  # behind the places in OpenVINO's own source
    return CheckpointError(
        f"{path} needs a kernel that openvino {version} has not: {operator}; "
        "`uv sync --upgrade-package openvino`, or export it again"
    )


def _convert(model: nn.Module, example: Tensor) -> Any:
    """Read the generator's ONNX graph.

    Raises:
        UnsupportedGenerator: if OpenVINO has no form for an operator.
    """
    import openvino

    if isinstance(model, DrawnModule):  # the converter takes ten times as long for a layer
        return openvino.Core().read_model(model.onnx_graph())
    with tempfile.TemporaryDirectory(prefix="ganpress-openvino-") as folder:
        path = Path(folder) / "generator.onnx"
        export_onnx(model, path, example)
        try:
            return openvino.convert_model(path)
        except Exception as error:  # the converter raises many types
            reason = _unconverted(model, example, str(error)) or " ".join(str(error).split())[:300]
            raise UnsupportedGenerator(f"OpenVINO cannot run {type(model).__name__}: {reason}") from None


def _unconverted(model: nn.Module, example: Tensor, message: str) -> str | None:
    """The first operator that the converter has no rule for, and its layer; None where the message names none."""
    listed = UNCONVERTED.search(message)
    operators = ONNX_OPERATOR.findall(listed[1]) if listed else []
    if not operators:
        return None
    torchs = " ".join("aten::" + re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower() for name in operators)
    return blame(model, example, torchs) or f"the operator {operators[0]}"


def _quantize(graph: Any, calibration: Tensor) -> Any:
    """Quantize weights and activations to 8 bits by NNCF, activations symmetric where they can be.

    Ranges by histogram: the mean and max-min estimators cost 3 dB on generators with instance normalisation.
    """
    switch_off()
    import nncf
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    nncf.set_log_level(logging.ERROR)
    inputs = [calibration[place : place + 1].numpy() for place in range(len(calibration))]

    def quantized(corrected: bool) -> Any:
        advanced = nncf.AdvancedQuantizationParameters(
            activations_range_estimator_params=RangeEstimatorParametersSet.HISTOGRAM,
            disable_bias_correction=not corrected,
        )
        with quiet():
            return nncf.quantize(
                graph.clone(),
                nncf.Dataset(inputs),
                preset=nncf.QuantizationPreset.PERFORMANCE,
                subset_size=len(inputs),
                advanced_parameters=advanced,
            )

    try:
        return quantized(corrected=True)
    except ValueError:  # NNCF 3.4 takes the 1 of SPADE's x (1 + gamma) for a bias with one value a channel
        return quantized(corrected=False)
