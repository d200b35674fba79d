"""The card beside an edge file: what it is, what it was made from, and the proof that it was checked."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ganpress.config.edge_section import TargetName
from ganpress.edge.graphs.onnx_format import OPSET
from ganpress.edge.proof.verification import Verification
from ganpress.errors import CheckpointError, shown
from ganpress.files.checkpoint import file_digest
from ganpress.files.frames import CODING, read_content
from ganpress.files.plain_values import read_bounded
from models.quantized import CalibrationRecord

LABELS = "one-hot labels: "
"""How the meaning of an input begins that has a channel for each label."""


class CardPart(BaseModel):
    """Frozen, every key declared."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TensorCard(CardPart):
    """One input or output of the graph."""

    name: str
    shape: tuple[int | str, ...]
    """`batch` is any number from 1 on."""
    dtype: Literal["float32"]
    values: str
    """Range or distribution."""
    meaning: str | None = None
    """What it holds; for one-hot labels the names of the channels in order."""

    @property
    def label_names(self) -> tuple[str, ...] | None:
        """The labels of its channels in order; None where it holds no one-hot labels."""
        if self.meaning is None or not self.meaning.startswith(LABELS):
            return None
        return tuple(self.meaning.removeprefix(LABELS).split(", "))


class QuantizationCard(CardPart):
    """How a quantized generator came to its integers."""

    weight_bits: int | None
    activation_bits: int | None
    calibration: CalibrationRecord | None
    activation_ranges: tuple[tuple[float, float], ...]
    """Of what is rounded, in the order in which it is computed; the last is the output of the last layer."""
    float_layers: tuple[str, ...] = ()
    """Convolutions and linear layers that stayed in floats."""
    scheme: str | None = None
    """How the target's own quantizer was used; None where ganpress quantized, see `CompressionCard`."""


class ReceptiveFieldCard(CardPart):
    """How far a pixel of the images sees; see `ganpress.structure.receptive_field`."""

    reach: int | None
    """In pixels of the input; None where it may be the whole picture."""
    stride: int


class CostCard(CardPart):
    """What it takes to run."""

    parameters: int
    macs_exact: int
    """Of the trained architecture, comparable between number types."""
    macs_torchprofile: int
    macs_deployed: int
    """Of the graph in the file: sub-pixel layers compute one border pixel that is cropped."""


class CompressionCard(CardPart):
    """Every choice of the stage that compressed the generator, as in its compression.json."""

    sparsity: float
    """Share of the smallest weights that was set to zero."""
    weight_scheme: str | None
    """How weights were rounded, in words; None for floats."""
    activation_scheme: str | None
    options: Mapping[str, Any]
    """All options beside bits and sparsity, as in `compress.items`, defaults included."""
    layer_bits: Mapping[str, int] = Field(default_factory=dict)
    """Width of the weights of layers that have one of their own."""


class Lineage(CardPart):
    """What it was made from; digests are md5, as in dvc.lock."""

    source: str
    """Reference of the generator, e.g. `compress/subnet-int8`."""
    source_md5: str
    builder: str
    teacher_md5: str | None = None
    """None where the generator has no teacher."""
    data_md5: str | None = None
    """Of the prepared data; None where it is not known."""
    compression: CompressionCard | None = None
    """None where the generator was not compressed after training."""


class FileCard(CardPart):
    """A file that belongs to the edge file: it is of no use without."""

    file: str
    sha256: str
    size_bytes: int


class PackedCard(CardPart):
    """The runtime's own files, of which the files on disk are Zstandard frames."""

    coding: str = CODING
    size_bytes: int
    """Of all files together, decoded."""
    files: tuple[FileCard, ...]
    """Each file, decoded, in the order of those on disk: the one that is opened, then those beside it."""


class KernelsCard(CardPart):
    """Which kernels the runtime ran, by its own profile."""

    summary: str
    layers: int
    """Convolutions and matrix products."""
    integer_layers: int
    """Those that multiplied integers."""


class SpeedCard(CardPart):
    """What it took to run on the machine that exported it; one thread, one input."""

    latency_ms_p50: float
    latency_ms_p95: float
    rounds: int
    peak_memory_bytes: int | None
    """Growth of a fresh process that loads and runs the file once, the runtime's code included."""
    arena_bytes: int | None = None
    """Memory that the caller gives a file which asks for a stated amount; None where the runtime allocates."""


class Card(CardPart):
    """Everything about one edge file."""

    version: Literal[1] = 1
    file: str
    format: TargetName = "onnx"
    """The target whose file it is."""
    opset: int | None = OPSET
    """None where the format has no operator sets."""
    sha256: str
    md5: str
    size_bytes: int
    """Of all files together, on disk."""
    beside: tuple[FileCard, ...] = ()
    """Further files that belong to it."""
    packed: PackedCard | None = None
    """None where the files on disk are the runtime's own."""
    inputs: tuple[TensorCard, ...]
    outputs: tuple[TensorCard, ...]
    any_size: bool = False
    """Whether it takes pictures of any height and width; those of `inputs` are the ones that it was verified with."""
    receptive_field: ReceptiveFieldCard | None = None
    """None where it draws from latents."""
    number_type: str
    """`float32`, `float16`, `bfloat16`, `int8` of the target's own quantizer; or that of ganpress: `w8a8` for weights
    and activations of 8 bits, `w8`, `a8` for one of them."""
    form: str = "native"
    """Of transposed convolutions: `native` or `subpixel`."""
    form_ms: dict[str, float] = Field(default_factory=dict)
    """Median latency of each form in milliseconds, where the faster was chosen."""
    kernels: KernelsCard | None = None
    speed: SpeedCard | None = None
    quantization: QuantizationCard | None
    cost: CostCard
    verification: Verification
    verified_against: Literal["torch float32", "torch integer simulation"]
    runtime: str
    """Name and version of what it was verified in."""
    stand_in: str | None = None
    """What computed it for the proof where the target's own runtime does not run on the system that exported it; None
    where that runtime did."""
    lineage: Lineage


def read_card(path: Path) -> Card:
    """Read the card beside the edge file `path`, and check the file against it.

    Raises:
        CheckpointError: if the card or the file is missing, the card is not readable, or the file is not the one that
            the card describes, or does not decode to it.
    """
    beside = path.with_name("card.json")
    for needed in (beside, path):
        if not needed.exists():
            raise CheckpointError(f"{needed} does not exist; export the generator again")
    try:
        card = Card.model_validate_json(read_bounded(beside))
    except ValidationError as error:
        first = error.errors()[0]
        where = shown(".".join(map(str, first["loc"])) or "the file")
        raise CheckpointError(f"{beside} is no readable card: {where}: {shown(first['msg'])}; export again") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{beside} is no readable card: {shown(error)}; export again") from None
    _check_names(card, beside)
    size = card.size_bytes - sum(one.size_bytes for one in card.beside)
    files = (FileCard(file=path.name, sha256=card.sha256, size_bytes=size), *card.beside)
    for one in files:
        _check_file(path.with_name(one.file), one)
    for one, decoded in zip(files, card.packed.files if card.packed else (), strict=False):
        _check_decoded(path.with_name(one.file), decoded)
    return card


def _check_names(card: Card, beside: Path) -> None:
    """Refuse a card that names files elsewhere."""
    names = (card.file, *(one.file for one in (*card.beside, *(card.packed.files if card.packed else ()))))
    wrong = next((name for name in names if Path(name).name != name or not name.isprintable()), None)
    if wrong is not None:
        raise CheckpointError(f"{beside} names '{shown(wrong)}', which is no file beside it; export again")


def _check_file(path: Path, expected: FileCard) -> None:
    if not path.exists():
        raise CheckpointError(f"{path} does not exist; export the generator again")
    size = path.stat().st_size
    if size != expected.size_bytes:
        raise CheckpointError(
            f"{path} has {size:,} bytes, its card says {expected.size_bytes:,}: truncated; export again"
        )
    found = file_digest(path, "sha256")
    if found != expected.sha256:
        reason = f"has sha256 {found[:12]}…, its card says {expected.sha256[:12]}…"
        raise CheckpointError(f"{path} {reason}: it was changed after the export; export again")


def _check_decoded(path: Path, expected: FileCard) -> None:
    found = hashlib.sha256(read_content(path)).hexdigest()
    if found != expected.sha256:
        reason = f"decodes to sha256 {found[:12]}…, its card says {expected.sha256[:12]}… of {expected.file}"
        raise CheckpointError(f"{path} {reason}: it was packed of another file; export again")
