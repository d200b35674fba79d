"""Chooses the two generators of the page from the exported files, and checks that they can be compared."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ganpress.edge.proof.edge_card import Card, FileCard, TensorCard, read_card
from ganpress.errors import ConfigError, DataError
from ganpress.files.edge_files import find_edge_file, is_onnx

InputKind = Literal["latents", "image", "labels"]
SHOWN_CHANNELS = (1, 3)


@dataclass(frozen=True)
class EdgeGenerator:
    """An exported ONNX file, plain or packed, that is the one its card describes."""

    reference: str
    """Reference as in the report, e.g. `export/teacher`, or the given path."""
    path: Path
    card: Card

    @property
    def loaded(self) -> FileCard:
        """The file that the page loads: decoded where it is packed, for not every browser reads Zstandard."""
        if self.card.packed is not None:
            return self.card.packed.files[0]
        return FileCard(file=self.card.file, sha256=self.card.sha256, size_bytes=self.card.size_bytes)


@dataclass(frozen=True)
class Surface:
    """The common input and output of both generators."""

    kind: InputKind
    input_name: str
    input_shape: tuple[int, ...]
    """Shape of one input: (Z,), or (C, H, W)."""
    output_name: str
    output_shape: tuple[int, ...]
    """(C, H, W)."""
    input_range: tuple[float, float]
    """The generator's values of black and white; (0, 1) for labels, (-inf, inf) for latents."""
    output_range: tuple[float, float]
    labels: tuple[str, ...] = ()
    """Names of the label classes, one a channel."""


def choose_pair(
    artifacts: Path, original: str | None, compressed: str | None, ship: str | None = None
) -> tuple[EdgeGenerator, EdgeGenerator]:
    """Read what was asked for, else the exported teacher and the file to ship, or the smallest integer file.

    Args:
        artifacts: the folder that references are below.
        original: reference (`export/teacher`, or `teacher` alone) or path of an ONNX file; None chooses.
        compressed: likewise.
        ship: reference of the edge file to ship, where that is known; it is taken where browsers run it.

    Raises:
        ConfigError: if there is nothing to choose from.
        CheckpointError: if a file or its card is missing, damaged, or they do not belong together.
    """
    first = find_generator(artifacts, original) if original else _default_original(artifacts)
    second = find_generator(artifacts, compressed) if compressed else _default_compressed(artifacts, first, ship)
    return first, second


def find_generator(artifacts: Path, reference: str) -> EdgeGenerator:
    """Read one exported generator by reference or path, and check it against its card.

    Raises:
        ConfigError: if there is none of that name, or its file is for another runtime than the page's.
        CheckpointError: as `read_card`.
    """
    given = Path(reference)
    if is_onnx(given):
        return EdgeGenerator(reference, given, read_card(given))
    name = reference if reference.startswith("export/") else f"export/{reference}"
    path = given if given.is_file() else find_edge_file(artifacts / name)
    if path is not None and is_onnx(path):
        return EdgeGenerator(name, path, read_card(path))
    found = ", ".join(_exported(artifacts)) or "none"
    if path is None:
        raise ConfigError(f"no exported generator '{name}'; there are: {found}; or give the path of an .onnx file")
    raise ConfigError(
        f"{reference} is {path.name}, which browsers do not run; choose an ONNX file: {found}; or add an item with "
        "target: onnx to export.items in params.yaml and `ganpress run`"
    )


def _onnx_file(folder: Path) -> Path | None:
    """The edge file of one export, where it is one for the browser's runtime."""
    found = find_edge_file(folder)
    return found if found is not None and is_onnx(found) else None


def _exported(artifacts: Path) -> tuple[str, ...]:
    folders = sorted(artifacts.glob("export/*"))
    return tuple(f"export/{folder.name}" for folder in folders if _onnx_file(folder) is not None)


def _default_original(artifacts: Path) -> EdgeGenerator:
    candidates = _candidates(artifacts)
    floats = [one for one in candidates if one.card.number_type == "float32"] or candidates
    teachers = [one for one in floats if one.reference == "export/teacher"]
    return teachers[0] if teachers else max(floats, key=lambda one: one.card.size_bytes)


def _default_compressed(artifacts: Path, original: EdgeGenerator, ship: str | None) -> EdgeGenerator:
    """The file to ship, else the smallest file whose weights and activations are integers, else the smallest of all."""
    others = [
        one
        for one in _candidates(artifacts)
        if one.path.resolve() != original.path.resolve() and one.card.inputs == original.card.inputs
    ]
    if not others:
        raise ConfigError(
            f"nothing to compare {original.reference} with: {artifacts / 'export'} has no second generator with "
            f"the same input; add an item to export.items in params.yaml and `ganpress run`, or give --compressed"
        )
    if shipped := [one for one in others if one.reference == ship]:
        return shipped[0]
    integers = [one for one in others if one.card.quantization is not None and one.card.quantization.activation_bits]
    return min(integers or others, key=lambda one: one.card.size_bytes)


def _candidates(artifacts: Path) -> list[EdgeGenerator]:
    found = [find_generator(artifacts, reference) for reference in _exported(artifacts)]
    if not found:
        raise ConfigError(
            f"nothing to show: {artifacts / 'export'} has no ONNX file; `ganpress run` exports generators, or "
            "give --original FILE.onnx --compressed FILE.onnx"
        )
    return found


def common_surface(original: EdgeGenerator, compressed: EdgeGenerator) -> Surface:
    """Return the input and output that both generators have.

    Raises:
        ConfigError: if they differ in it, or the page has no way to show it.
    """
    first, second = surface(original), surface(compressed)
    for what in ("kind", "input_shape", "output_shape", "input_range", "output_range"):
        ours, theirs = getattr(first, what), getattr(second, what)
        if ours != theirs:
            raise ConfigError(
                f"{original.reference} and {compressed.reference} cannot be compared: their {what.replace('_', ' ')} "
                f"is {_words(ours)} and {_words(theirs)}; choose two generators of the same data with "
                f"--original and --compressed"
            )
    return first


def surface(generator: EdgeGenerator) -> Surface:
    """Input and output of one generator, from its card.

    Raises:
        ConfigError: if the page cannot offer such an input or show such an output.
    """
    given, drawn = generator.card.inputs[0], generator.card.outputs[0]
    shape, labels = _sizes(given), given.label_names or ()
    kind: InputKind = "latents" if len(shape) == 1 else "labels" if labels else "image"
    if kind == "labels" and len(labels) != shape[0]:
        labels = tuple(f"label {index}" for index in range(shape[0]))
    for what, channels in (("reads", shape[0] if kind == "image" else 3), ("draws", _sizes(drawn)[0])):
        if channels not in SHOWN_CHANNELS:
            raise ConfigError(
                f"{generator.reference} {what} images of {channels} channels; the page can show 1 (grey) and 3 (RGB)"
            )
    unbounded = (float("-inf"), float("inf"))
    limits = unbounded if kind == "latents" else (0.0, 1.0) if kind == "labels" else _range(generator, given)
    return Surface(kind, given.name, shape, drawn.name, _sizes(drawn), limits, _range(generator, drawn), labels)


def _sizes(tensor: TensorCard) -> tuple[int, ...]:
    """Shape without the batch."""
    return tuple(int(size) for size in tensor.shape[1:])


def _range(generator: EdgeGenerator, tensor: TensorCard) -> tuple[float, float]:
    number = r"-?\d+(?:\.\d+)?"
    match = re.fullmatch(rf"\[({number}), ({number})\]", tensor.values)
    if match is None or float(match[1]) >= float(match[2]):
        raise DataError(
            f"{generator.reference}: its card gives '{tensor.values}' as values of '{tensor.name}'; the page needs "
            "a range such as [-1, 1]; export the generator again"
        )
    return float(match[1]), float(match[2])


def _words(value: object) -> str:
    return " x ".join(map(str, value)) if isinstance(value, tuple) else str(value)
