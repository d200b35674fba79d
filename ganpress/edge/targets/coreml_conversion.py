"""Converts traced networks to Core ML packages with coremltools, which also compresses the weights."""

import io
import json
import re
import tempfile
import uuid
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ganpress.basics.whole_files import write_whole
from ganpress.edge.graphs.graph_writer import OUTPUT, input_name
from ganpress.edge.layer_names import blame
from ganpress.edge.targets.coreml_runtime import MODEL, PACKAGE, WEIGHTS, program_of
from ganpress.edge.targets.mil_operators import NoOperator
from ganpress.edge.targets.mil_program import BadProgram, MilProgram, quiet_coremltools
from ganpress.edge.targets.target import UnsupportedGenerator
from ganpress.structure.function_graph import SAME

UNCONVERTED = re.compile(r"convert function for op '_?(\w+?)(?:\.\w+)?' not implemented")
"""Message of coremltools about a torch operator that it cannot convert."""
LARGEST_SIDE = 1024
"""Largest side in pixels for files that accept any size, because Core ML requires a bound."""
SMALLEST_WEIGHT = 256
"""Smallest number of values of a compressed weight; smaller weights take only a few bytes."""
EARLIEST = (1980, 1, 1, 0, 0, 0)
"""Time stamp of all files in an archive; it is fixed, so that equal generators give equal bytes."""


def write_coreml(
    model: nn.Module, path: Path, example: Tensor, number_type: str, any_size: bool = False
) -> tuple[Path, ...]:
    """Write a generator in its form as an archive with a package.

    Args:
        model: a generator in floats.
        path: the archive; its folder is created.
        example: inputs (N, …); the file takes inputs of their shape.
        number_type: `float32`, `float16`, `int8_weights` or `palette6`.
        any_size: whether height and width are left open; `example` must then be pictures (N, C, H, W).

    Raises:
        UnsupportedGenerator: if coremltools cannot convert an operator, or ganpress cannot compute the result.
    """
    one = example[:1].contiguous()
    try:
        with quiet_coremltools(), tempfile.TemporaryDirectory(prefix="ganpress-coreml-") as folder:
            package = Path(folder) / PACKAGE
            _stored_as(_converted(model, one, number_type, any_size), number_type).save(str(package))
            content = _archive(package)
    except Exception as error:  # the converter raises many types
        reason = _unconverted(model, one, str(error)) or " ".join(str(error).split())[:300]
        raise UnsupportedGenerator(f"Core ML cannot run {type(model).__name__}: {reason}") from None
    _check_program(content, model, one)
    write_whole(path, content)
    return (path,)


def _converted(model: nn.Module, one: Tensor, number_type: str, any_size: bool) -> Any:
    import coremltools

    trace: Any = torch.jit.trace
    with torch.no_grad():
        traced = trace(model.eval(), one, check_trace=False)
    sizes: list[Any] = list(one.shape)
    if any_size:
        sizes[2:] = [coremltools.RangeDim(1, max(LARGEST_SIDE, size), default=size) for size in sizes[2:]]
    precision = coremltools.precision
    return coremltools.convert(
        traced,
        inputs=[coremltools.TensorType(input_name(one), sizes, dtype=np.float32)],
        outputs=[coremltools.TensorType(OUTPUT, dtype=np.float32)],
        convert_to="mlprogram",
        compute_precision=precision.FLOAT32 if number_type == "float32" else precision.FLOAT16,
        minimum_deployment_target=coremltools.target.iOS16,
        skip_model_load=True,
    )


def _stored_as(model: Any, number_type: str) -> Any:
    """Return the program with weights in 8 bits or in palettes."""
    if number_type not in ("int8_weights", "palette6"):
        return model
    from coremltools.optimize import coreml

    if number_type == "int8_weights":
        one = coreml.OpLinearQuantizerConfig(mode="linear_symmetric", weight_threshold=SMALLEST_WEIGHT)
        return coreml.linear_quantize_weights(model, coreml.OptimizationConfig(global_config=one))
    one = coreml.OpPalettizerConfig(mode="kmeans", nbits=6, weight_threshold=SMALLEST_WEIGHT)
    return coreml.palettize_weights(model, coreml.OptimizationConfig(global_config=one))


def _archive(package: Path) -> bytes:
    """Store the files of a package as a ZIP archive without compression; the same program gives the same bytes.

    coremltools writes the day of the conversion into the program, and a random identifier for each part of the package;
    both are replaced.
    """
    from coremltools.proto import Model_pb2

    spec = Model_pb2.Model.FromString((package / MODEL).read_bytes())
    spec.description.metadata.ClearField("userDefined")
    contents = {MODEL: spec.SerializeToString(deterministic=True)}
    if (package / WEIGHTS).exists():
        contents[WEIGHTS] = (package / WEIGHTS).read_bytes()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in {"Manifest.json": _manifest(package), **contents}.items():
            archive.writestr(zipfile.ZipInfo(f"{PACKAGE}/{name}", EARLIEST), content)
    return buffer.getvalue()


def _manifest(package: Path) -> bytes:
    """Return the list of a package's parts, with identifiers derived from their paths."""
    listed: dict[str, Any] = json.loads((package / "Manifest.json").read_text(encoding="utf-8"))
    entries: Mapping[str, Mapping[str, str]] = listed["itemInfoEntries"]
    numbers = {name: str(uuid.uuid5(uuid.NAMESPACE_OID, one["path"])).upper() for name, one in entries.items()}
    fixed = {
        **listed,
        "itemInfoEntries": {
            numbers[name]: one for name, one in sorted(entries.items(), key=lambda item: item[1]["path"])
        },
        "rootModelIdentifier": numbers[listed["rootModelIdentifier"]],
    }
    return json.dumps(fixed, indent=4).encode()


def _unconverted(model: nn.Module, one: Tensor, message: str) -> str | None:
    """Return the torch operator that cannot be converted, and its layer; None if the message names none."""
    found = UNCONVERTED.search(message)
    if found is None:
        return None
    return blame(model, one, f"aten::{found[1]}") or f"the operator {found[1]}"


def _check_program(content: bytes, model: nn.Module, one: Tensor) -> None:
    """Refuse a program that ganpress cannot compute, and so cannot verify.

    Raises:
        UnsupportedGenerator: naming the operator and its layer.
    """
    try:
        program = program_of(content)
        unknown = program.unknown()
        if not unknown:
            program.run(one)
            return
        reason = _operator(model, one, unknown[0].kind)
    except (NoOperator, BadProgram, RuntimeError, TypeError, IndexError, KeyError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
    raise UnsupportedGenerator(
        f"ganpress cannot verify {type(model).__name__} for Core ML, which does not run here: {reason} has no "
        "counterpart on the CPU; take another target, or a layer of other operators"
    )


def _operator(model: nn.Module, one: Tensor, kind: str) -> str:
    """Return the torch name of a MIL operator, with its layer if torch uses the same name."""
    names = {kind, *(name for name, same in SAME.items() if same == kind)}
    return blame(model, one, " ".join(f"aten::{name}" for name in names)) or f"the operator {kind}"


def free_sizes(program: MilProgram, model: nn.Module, other: Tensor) -> None:
    """Refuse a program with open sizes that fails for another size.

    Args:
        program: the written file's program.
        model: the generator that was written.
        other: inputs (N, C, H, W) of another size.

    Raises:
        UnsupportedGenerator: if its graph depends on the size.
    """
    try:
        with torch.no_grad():
            fits = program.run(other[:1]).shape == model(other[:1]).shape
    except (RuntimeError, IndexError, ValueError):
        fits = False
    if not fits:
        raise UnsupportedGenerator(
            "the generator's graph depends on the size of the picture; leave any_size out: `ganpress apply` processes "
            "larger pictures in tiles"
        )
