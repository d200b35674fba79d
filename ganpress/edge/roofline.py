"""Measures a machine's peak: multiply-accumulates per second of a matrix product, by number type.

A generator's rate relative to this peak says how much of the processor it uses (Williams et al. 2009, "Roofline"). Only
the compute roof is measured, because a generator computes much with few weights. The peak is not read from a data
sheet: it is the best rate of a square matrix product that stays in the cache, in torch for floats, and in ONNX Runtime
with unsigned activations and signed weights for integers.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ganpress.basics.seeding import numpy_generator
from ganpress.basics.telemetry import switch_off
from ganpress.edge.onnx_runtime import session_options
from ganpress.errors import ConfigError
from ganpress.performance.latency import torch_threads

SIZES = (256, 384, 512)
"""Rows and columns of each thread's matrices: small enough for the cache, large enough for full speed."""
SECONDS = 0.25
"""Duration of the repeated products for each size and number type; the fastest product counts."""
FLOATS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
INTEGERS = "int8"
COMPUTED_AS = {"float16": "float32", "int8_weights": "float32", "palette6": "float32", "int8_dynamic": "int8"}
"""Number types that CPU runtimes only store -> the number type in which they compute."""


@dataclass(frozen=True)
class Peaks:
    """Measured peaks of one machine."""

    threads: int
    gmacs_per_s: Mapping[str, float]
    """10^9 multiply-accumulates per second by number type: `float32`, `bfloat16`, `int8`."""

    def gmacs(self, number_type: str) -> float:
        """Return the peak in 10^9 multiply-accumulates per second.

        Args:
            number_type: `float32`, `bfloat16`, `int8`, or a name of `computed_in`.

        Raises:
            ConfigError: if this number type was not measured.
        """
        peak = self.gmacs_per_s.get(computed_in(number_type))
        if peak is None:
            known = ", ".join(self.gmacs_per_s)
            raise ConfigError(f"no peak was measured for '{number_type}'; measured: {known}")
        return peak


def computed_in(number_type: str) -> str:
    """Return the number type in which an edge file multiplies, from the one on its card.

    `w8a8` and `w4a8` multiply 8-bit integers. If only weights (`w8`) or only activations (`a8`) are integers, floats
    are multiplied, as with `float16`, which is decoded first.
    """
    if number_type.startswith(("w", "a")):
        return INTEGERS if number_type.startswith("w") and "a" in number_type else "float32"
    return COMPUTED_AS.get(number_type, number_type)


def roofline_metrics(macs: float, latency_ms: float, number_type: str, peaks: Peaks) -> dict[str, float]:
    """Return the rate of a generator and its share of the peak, as metrics.

    Args:
        macs: multiply-accumulates that one image needs, `ganpress.performance.generator_cost.Cost.macs_exact`; what a
            runtime computes in addition, e.g. to pad a kernel, does not count.
        latency_ms: wall time of one image with the number of threads with which the peaks were measured.
        number_type: number type in which it multiplies, or the one on an edge file's card.
        peaks: the peaks of the same machine.
    """
    rate = macs / latency_ms / 1e6
    return {"gmacs_per_s": rate, "share_of_peak": rate / peaks.gmacs(number_type)}


def measure_peaks(threads: int = 1) -> Peaks:
    """Measure this machine; takes about two seconds.

    Args:
        threads: number of threads that the products may use.

    Raises:
        ConfigError: if there is not at least one thread.
    """
    if threads < 1:
        raise ConfigError(f"threads must be at least 1, found {threads}")
    sizes = [int(size * threads**0.5) for size in SIZES]
    peaks = {name: max(_float_rate(size, kind, threads) for size in sizes) for name, kind in FLOATS.items()}
    peaks[INTEGERS] = max(_integer_rate(size, threads) for size in sizes)
    return Peaks(threads, peaks)


def _float_rate(size: int, kind: torch.dtype, threads: int) -> float:
    left, right, product = (torch.ones((size, size), dtype=kind) for _ in range(3))
    with torch_threads(threads), torch.inference_mode():
        return size**3 / _fastest_nanoseconds(lambda: torch.mm(left, right, out=product))


def _integer_rate(size: int, threads: int) -> float:
    random = numpy_generator(0, "roofline")
    activations = random.integers(0, 256, (size, size), dtype=np.uint8)
    session = _integer_product(random.integers(-127, 128, (size, size), dtype=np.int8), threads)
    return size**3 / _fastest_nanoseconds(lambda: session.run(None, {"a": activations}))


def _integer_product(weights: NDArray[np.int8], threads: int) -> Any:
    """Return a product of uint8 (n, n) and constant int8 weights (n, n), which the runtime packs once."""
    switch_off()
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    shape = list(weights.shape)
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["a", "b"], ["product"])],
        "product",
        [helper.make_tensor_value_info("a", TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info("product", TensorProto.INT32, shape)],
        [numpy_helper.from_array(weights, "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return onnxruntime.InferenceSession(
        model.SerializeToString(), session_options(threads), providers=["CPUExecutionProvider"]
    )


def _fastest_nanoseconds(run: Callable[[], object]) -> float:
    """Return the shortest wall time of a call, because other load on the machine can only make it longer."""
    run()
    fastest, end = float("inf"), time.perf_counter() + SECONDS
    while True:
        began = time.perf_counter_ns()
        run()
        fastest = min(fastest, time.perf_counter_ns() - began)
        if time.perf_counter() > end:
            return fastest
