"""Writes the card of an edge file."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from ganpress.data.prepared.arrays import Conditioning
from ganpress.edge.graphs.graph_writer import OUTPUT, input_name
from ganpress.edge.onnx_runtime import runtime_version
from ganpress.edge.proof.edge_card import (
    LABELS,
    Card,
    CostCard,
    FileCard,
    KernelsCard,
    Lineage,
    PackedCard,
    QuantizationCard,
    ReceptiveFieldCard,
    SpeedCard,
    TensorCard,
)
from ganpress.edge.proof.verification import Verification
from ganpress.files.checkpoint import file_digest
from ganpress.files.frames import is_frame, plain_name, read_content
from ganpress.registries import TARGETS
from ganpress.structure.receptive_field import receptive_field
from models.quantized_network import QuantizedNetwork, float_layers


@dataclass(frozen=True)
class TargetFacts:
    """How a target wrote a file and how its runtime runs it."""

    runtime: str
    """Name and version of the runtime."""
    target: str = "onnx"
    files: tuple[Path, ...] = ()
    number_type: str = "float32"
    form: str = "native"
    form_ms: Mapping[str, float] = field(default_factory=dict)
    kernels: KernelsCard | None = None
    speed: SpeedCard | None = None
    quantization: QuantizationCard | None = None
    """Settings of the target's own quantizer; None if it was not used."""
    any_size: bool = False


def write_card(
    path: Path,
    model: nn.Module,
    example: torch.Tensor,
    proof: Verification,
    lineage: Lineage,
    conditioning: Conditioning | None = None,
    trained: nn.Module | None = None,
    facts: TargetFacts | None = None,
) -> Card:
    """Describe the edge file `path` in `card.json` beside it.

    Args:
        path: the exported file, plain or packed.
        model: the exported generator.
        example: one input (1, …).
        proof: result of `ganpress.edge.proof.verification.verify_export`.
        lineage: the model's origin.
        conditioning: description of the sources of conditional data.
        trained: the float architecture whose parameters and MACs are counted; None counts those of `model`.
        facts: how the target wrote and runs it; None stands for an ONNX file, in floats or quantized by ganpress.
    """
    facts = facts or TargetFacts(runtime=f"onnxruntime {runtime_version()}")
    trained = trained or model
    with torch.no_grad():
        images = model(example)
    beside = tuple(
        FileCard(file=one.name, sha256=file_digest(one, "sha256"), size_bytes=one.stat().st_size)
        for one in facts.files
        if one != path
    )
    card = Card(
        file=path.name,
        format=facts.target,
        opset=TARGETS[facts.target].opset,
        sha256=file_digest(path, "sha256"),
        md5=file_digest(path, "md5"),
        size_bytes=path.stat().st_size + sum(one.size_bytes for one in beside),
        beside=beside,
        packed=_packed((path, *(path.with_name(one.file) for one in beside))) if is_frame(path) else None,
        inputs=(_input_card(example, conditioning),),
        outputs=(TensorCard(name=OUTPUT, shape=("batch", *images.shape[1:]), dtype="float32", values="[-1, 1]"),),
        any_size=facts.any_size,
        receptive_field=_receptive_field(trained, example),
        number_type=number_type(model) if facts.number_type == "float32" else facts.number_type,
        form=facts.form,
        form_ms=dict(facts.form_ms),
        kernels=facts.kernels,
        speed=facts.speed,
        quantization=_quantization(model) if isinstance(model, QuantizedNetwork) else facts.quantization,
        cost=_cost(model, example, trained),
        verification=proof,
        verified_against="torch integer simulation" if isinstance(model, QuantizedNetwork) else "torch float32",
        runtime=facts.runtime,
        stand_in=TARGETS[facts.target].stand_in or None,
        lineage=lineage,
    )
    path.with_name("card.json").write_text(card.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return card


def _packed(files: tuple[Path, ...]) -> PackedCard:
    """Describe the decoded files of Zstandard frames."""
    contents = {plain_name(path): read_content(path) for path in files}
    decoded = tuple(
        FileCard(file=name, sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))
        for name, content in contents.items()
    )
    return PackedCard(size_bytes=sum(one.size_bytes for one in decoded), files=decoded)


def _input_card(example: torch.Tensor, conditioning: Conditioning | None) -> TensorCard:
    name, shape = input_name(example), ("batch", *example.shape[1:])
    if example.dim() == 2:
        return TensorCard(name=name, shape=shape, dtype="float32", values="standard normal", meaning="latent")
    if conditioning is not None and conditioning.pairing == "semantic":
        meaning = LABELS + ", ".join(conditioning.label_names)
        return TensorCard(name=name, shape=shape, dtype="float32", values="0 or 1", meaning=meaning)
    return TensorCard(name=name, shape=shape, dtype="float32", values="[-1, 1]", meaning="image")


def _receptive_field(trained: nn.Module, example: torch.Tensor) -> ReceptiveFieldCard | None:
    if example.dim() != 4:
        return None
    field = receptive_field(trained, example)
    return ReceptiveFieldCard(reach=field.reach, stride=field.stride)


def number_type(model: nn.Module) -> str:
    """Return the short name of the number type: `float32`, `w8a8`, `w8`, `a8`."""
    if not isinstance(model, QuantizedNetwork):
        return "float32"
    weights = f"w{model.weight_bits}" if model.weight_bits else ""
    return weights + (f"a{model.activation_bits}" if model.activation_bits else "")


def _quantization(model: QuantizedNetwork) -> QuantizationCard:
    return QuantizationCard(
        weight_bits=model.weight_bits,
        activation_bits=model.activation_bits,
        calibration=model.calibration,
        activation_ranges=model.activation_ranges,
        float_layers=float_layers(model),
    )


def _cost(model: nn.Module, example: torch.Tensor, trained: nn.Module) -> CostCard:
    from ganpress.performance.generator_cost import generator_cost

    cost = generator_cost(trained, example)
    counted = isinstance(model, QuantizedNetwork)
    return CostCard(
        parameters=cost.parameters,
        macs_exact=cost.macs_exact,
        macs_torchprofile=cost.macs_torchprofile,
        macs_deployed=generator_cost(model, example).macs_exact if counted else cost.macs_exact,
    )
