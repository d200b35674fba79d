"""`manifest.json` of the page: everything that its scripts know about the generators."""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

from ganpress.data.label_colours import hex_colours
from ganpress.demo.generators import EdgeGenerator, Surface
from ganpress.edge.onnx_runtime import WEIGHT_ROUNDING, only_activations_are_integers, only_weights_are_integers
from ganpress.files.checkpoint import file_digest
from ganpress.files.frames import read_content
from ganpress.registries import TARGETS

MANIFEST = "manifest.json"
FORMAT = 1


@dataclass(frozen=True)
class GeneratorEntry:
    """One generator, as the page loads and describes it."""

    role: str
    """`original` or `compressed`."""
    reference: str
    file: str
    bytes: int
    sha256: str
    packed_bytes: int | None
    """Size of the packed original file on disk; None if it is not packed."""
    number_type: str
    builder: str
    parameters: int
    macs: int
    settings: dict[str, dict[str, str]]
    """Session settings of the runtime, by group and name."""
    providers: tuple[str, ...]
    """Execution providers in a browser in order of preference; see `Target.web_providers`."""


@dataclass(frozen=True)
class Samples:
    """Sample inputs of the page, in files beside it."""

    file: str
    count: int
    origin: str
    """Words for the reader."""


@dataclass(frozen=True)
class Manifest:
    """The whole of it."""

    title: str
    ship: str
    """Which edge file of the project to ship and why, in a sentence; empty where nothing was evaluated."""
    runtime: str
    kind: str
    """`latents`, `image` or `labels`."""
    input: dict[str, object]
    """`name`, `shape` of one, `range` (null for latents)."""
    output: dict[str, object]
    generators: tuple[GeneratorEntry, GeneratorEntry]
    labels: tuple[dict[str, str], ...]
    """`name` and `colour` of each class."""
    samples: Samples
    """Sources uint8 (count, C, H, W); for latents directions float32 (count, Z)."""
    digests: dict[str, str]
    """sha256 of every other file of the site."""
    ganpress_demo: int = FORMAT

    def save(self, folder: Path) -> None:
        """Write it; equal content is equal bytes."""
        (folder / MANIFEST).write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")


def generator_entry(role: str, generator: EdgeGenerator, file: str) -> GeneratorEntry:
    """Describe one generator whose copy is `file`."""
    card, loaded = generator.card, generator.loaded
    return GeneratorEntry(
        role=role,
        reference=generator.reference,
        file=file,
        bytes=loaded.size_bytes,
        sha256=loaded.sha256,
        packed_bytes=None if card.packed is None else card.size_bytes,
        number_type=card.number_type,
        builder=card.lineage.builder,
        parameters=card.cost.parameters,
        macs=card.cost.macs_exact,
        settings=session_settings(generator.path),
        providers=TARGETS[card.format].web_providers,
    )


def session_settings(path: Path) -> dict[str, dict[str, str]]:
    """Return the session settings with which the runtime computes the same as natively in `edge.onnx_runtime`."""
    content = read_content(path)
    if only_weights_are_integers(content):
        return {"session": {"disable_quant_qdq": "1"}}
    if only_activations_are_integers(content):
        return {"optimization": {"disable_specified_optimizers": WEIGHT_ROUNDING}}
    return {}


def boundary(name: str, shape: tuple[int, ...], limits: tuple[float, float]) -> dict[str, object]:
    """One end of the graph."""
    return {"name": name, "shape": list(shape), "range": list(limits) if all(map(math.isfinite, limits)) else None}


def label_entries(surface: Surface) -> tuple[dict[str, str], ...]:
    """Names and colours of the label classes, the colours as in the report."""
    named = zip(surface.labels, hex_colours(len(surface.labels)), strict=True)
    return tuple({"name": name, "colour": colour} for name, colour in named)


def digests(folder: Path) -> dict[str, str]:
    """sha256 of every file below `folder` by its relative path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): file_digest(path, "sha256") for path in files}
