"""Reads which kernels ran from the event trace that ExecuTorch and XNNPACK write."""

import tempfile
from pathlib import Path
from typing import Any

from ganpress.edge.proof.kernels import KernelProfile, profile_of
from ganpress.edge.quiet import quiet

MULTIPLYING = ("Convolution", "Deconvolution", "Fully Connected", "Batch Matrix Multiply", "convolution", "mm.out")
XNNPACK_TYPES = {"F32": "float32", "F16": "float16", "X32": "float32", "X8": "int8"}
INTEGERS = ("QS8", "QU8", "QC8", "QD8", "QP8")
"""XNNPACK's names of integer types: signed, unsigned, per channel, dynamic range, and packed dynamic range."""


def read_profile(program: Any) -> KernelProfile:
    """Return the kernels of all calls so far of a program that was loaded with its event trace."""
    from executorch.devtools import Inspector

    with tempfile.TemporaryDirectory(prefix="ganpress-profile-") as folder, quiet():
        trace = Path(folder) / "trace.etdp"
        program.write_etdump_result_to_file(str(trace), str(Path(folder) / "buffer"))
        blocks = Inspector(etdump_path=str(trace)).event_blocks
    kernels = [event for block in blocks if block.name == "Execute" for event in block.events]
    kernels = [one for one in kernels if one.is_delegated_op or one.name.startswith(("native_call_", "aten"))]
    return profile_of(
        (_operator(one.name), _number_type(one.name), _multiplies(one.name), sum(one.perf_data.raw)) for one in kernels
    )


def portable_operators(profile: KernelProfile) -> tuple[str, ...]:
    """Return the operators that ran on ExecuTorch's own portable kernels instead of XNNPACK's, e.g.
    `index.Tensor_out`.
    """
    return tuple(kernel.operator for kernel in profile.kernels if kernel.operator.endswith("out"))


def _operator(name: str) -> str:
    """`Deconvolution (NHWC, F32) IGEMM #1` -> `Deconvolution`; `native_call_add.out` -> `add.out`."""
    return name.removeprefix("native_call_").partition(" (")[0]


def _multiplies(name: str) -> bool:
    return any(part in name for part in MULTIPLYING)


def _number_type(name: str) -> str:
    """Return the number type of an XNNPACK kernel, e.g. from `(NHWC, QS8, QC8W)`; ExecuTorch's own kernels are
    float.
    """
    types = name.partition("(")[2].partition(")")[0].split(", ")
    if any(one.startswith(INTEGERS) for one in types):
        return "int8"
    return next((XNNPACK_TYPES[one] for one in types if one in XNNPACK_TYPES), "float32")
