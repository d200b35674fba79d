"""Takes one construct of an imported generator through pruning, a training step, integers and an edge file."""

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from ganpress.compression.quantization import QuantizationConfig, quantize
from ganpress.edge.graphs.onnx_export import export_onnx
from ganpress.edge.onnx_runtime import OnnxGenerator
from ganpress.imported.import_card import load_imported
from ganpress.imported.importing import ImportRequest, import_generator
from ganpress.metrics.fidelity import compare_outputs
from ganpress.training.ema import WeightAverage
from models.builders import with_spec
from models.elastic import Spec

HALF = 50
TRAINED_ROWS = 4
STEPS = 4
TOLERANCE = 1e-4


@dataclass
class Outcome:
    """What a construct came to."""

    groups: int = 0
    losses: tuple[float, float] = (0.0, 0.0)
    int8_snr_db: float | None = None
    float_error: float = 0.0
    int8_file_snr_db: float | None = None
    facts: dict[str, object] = field(default_factory=dict)


def pass_through(root: Path, request: ImportRequest) -> Outcome:
    """Import a generator below `root`, the working directory, and take it through everything that is done to one."""
    card = import_generator(root, request)
    generator, blueprint = load_imported(root, card.name)
    x = torch.rand((16, *card.input_shape[1:]), generator=torch.Generator().manual_seed(2)) * 2 - 1
    outcome = Outcome(groups=len(card.groups))
    outcome.facts["refused"] = [f"{one.layer}: {one.reason}" for one in card.not_thinned]
    spec = Spec((HALF,) * max(1, len(card.groups))) if card.groups else Spec((100,))
    outcome.losses = _train(with_spec(blueprint, spec).build(), generator, x[:TRAINED_ROWS])
    quantized = quantize(generator, x, QuantizationConfig(8, 8))
    outcome.int8_snr_db = compare_outputs(generator, quantized, x[-4:]).snr_db
    export_onnx(generator, root / "float.onnx", x[:2])
    difference = [compare_outputs(generator, OnnxGenerator(root / "float.onnx", 1), x[:n]) for n in (1, 3)]
    outcome.float_error = max(one.max_abs_error for one in difference)
    export_onnx(quantized, root / "int8.onnx", x[:2])
    outcome.int8_file_snr_db = compare_outputs(quantized, OnnxGenerator(root / "int8.onnx", 1), x[:3]).snr_db
    return outcome


def _train(student: torch.nn.Module, teacher: torch.nn.Module, x: Tensor) -> tuple[float, float]:
    """Loss of a student before and after some steps of distillation."""
    student.train()
    average = WeightAverage(student, 100)
    optimizer = torch.optim.Adam(student.parameters(), 1e-3)
    with torch.no_grad():
        wanted = teacher(x)
    losses = []
    for step in range(1, STEPS + 1):
        loss = (student(x) - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        average.update(step * len(x), len(x))
        losses.append(float(loss.detach()))
    average.averaged(student)
    return losses[0], losses[-1]
