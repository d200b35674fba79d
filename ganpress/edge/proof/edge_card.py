"""The card of an edge file: what the file is, what it was made from, and how it was verified."""

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
"""Beginning of `TensorCard.meaning` for an input with a channel for each label."""


class CardPart(BaseModel):
    """Base of all parts of the card: frozen, and without undeclared keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TensorCard(CardPart):
    """One input or output of the graph."""

    name: str
    shape: tuple[int | str, ...]
    """Sizes of its axes; `batch` is any number from 1 on."""
    dtype: Literal["float32"]
    values: str
    """Range or distribution of its values."""
    meaning: str | None = None
    """Meaning of its values; for one-hot labels the names of the channels in order."""

    @property
    def label_names(self) -> tuple[str, ...] | None:
        """Return the labels of its channels in order; None if it holds no one-hot labels."""
        if self.meaning is None or not self.meaning.startswith(LABELS):
            return None
        return tuple(self.meaning.removeprefix(LABELS).split(", "))


class QuantizationCard(CardPart):
    """How a generator was quantized."""

    weight_bits: int | None
    activation_bits: int | None
    calibration: CalibrationRecord | None
    activation_ranges: tuple[tuple[float, float], ...]
    """Ranges of the rounded activations in the order of computation; the last is the output of the last layer."""
    float_layers: tuple[str, ...] = ()
    """Convolutions and linear layers that stayed in floats."""
    scheme: str | None = None
    """Settings of the target's own quantizer; None if ganpress quantized, see `CompressionCard`."""


class ReceptiveFieldCard(CardPart):
    """The receptive field of a pixel of the images; see `ganpress.structure.receptive_field`."""

    reach: int | None
    """Reach in pixels of the input; None if it may be the whole picture."""
    stride: int


class CostCard(CardPart):
    """Computing cost."""

    parameters: int
    macs_exact: int
    """MACs of the trained architecture, comparable between number types."""
    macs_torchprofile: int
    macs_deployed: int
    """MACs of the graph in the file, where sub-pixel layers compute one border pixel that is cropped."""


class CompressionCard(CardPart):
    """Settings of the stage that compressed the generator, as in its compression.json."""

    sparsity: float
    """Share of the weights that were pruned (set to zero), the smallest first."""
    weight_scheme: str | None
    """Description of how weights were rounded; None for floats."""
    activation_scheme: str | None
    options: Mapping[str, Any]
    """All options except bits and sparsity, as in `compress.items`, defaults included."""
    layer_bits: Mapping[str, int] = Field(default_factory=dict)
    """Weight bits of layers with their own setting."""


class Lineage(CardPart):
    """Origin of the generator; digests are md5, as in dvc.lock."""

    source: str
    """Reference of the generator, e.g. `compress/subnet-int8`."""
    source_md5: str
    builder: str
    teacher_md5: str | None = None
    """Digest of the teacher; None if the generator has none."""
    data_md5: str | None = None
    """Digest of the prepared data; None if it is not known."""
    compression: CompressionCard | None = None
    """Settings of the compression; None if the generator was not compressed after training."""


class FileCard(CardPart):
    """A further file without which the edge file cannot be used."""

    file: str
    sha256: str
    size_bytes: int


class PackedCard(CardPart):
    """The runtime's own files, which are stored on disk as Zstandard frames."""

    coding: str = CODING
    size_bytes: int
    """Size of all decoded files together."""
    files: tuple[FileCard, ...]
    """Each decoded file in the order of those on disk: the file that is opened, then the files beside it."""


class KernelsCard(CardPart):
    """The kernels that ran, by the runtime's own profile."""

    summary: str
    layers: int
    """Number of convolutions and matrix products."""
    integer_layers: int
    """Number of them that multiplied integers."""


class SpeedCard(CardPart):
    """Latency and memory on the machine that exported the file, for one thread and one input."""

    latency_ms_p50: float
    latency_ms_p95: float
    rounds: int
    peak_memory_bytes: int | None
    """Memory growth of a new process that loads and runs the file once, the runtime's code included."""
    arena_bytes: int | None = None
    """Size of the memory that the caller must provide; None if the runtime allocates its memory itself."""


class Card(CardPart):
    """The card of one edge file."""

    version: Literal[1] = 1
    file: str
    format: TargetName = "onnx"
    """Name of the file's target."""
    opset: int | None = OPSET
    """Operator set; None if the format has none."""
    sha256: str
    md5: str
    size_bytes: int
    """Size of all files on disk together."""
    beside: tuple[FileCard, ...] = ()
    """Further files that belong to the edge file."""
    packed: PackedCard | None = None
    """The decoded files; None if the files on disk are not compressed."""
    inputs: tuple[TensorCard, ...]
    outputs: tuple[TensorCard, ...]
    any_size: bool = False
    """Whether it accepts pictures of any height and width; it was verified with those of `inputs`."""
    receptive_field: ReceptiveFieldCard | None = None
    """The receptive field; None if the generator reads latents."""
    number_type: str
    """`float32`, `float16`, `bfloat16`, `int8` of the target's own quantizer; or ganpress's own: `w8a8` for weights
    and activations of 8 bits, `w8`, `a8` for one of them.
    """
    form: str = "native"
    """Form of transposed convolutions: `native` or `subpixel`."""
    form_ms: dict[str, float] = Field(default_factory=dict)
    """Median latency of each form in milliseconds if the faster one was chosen by measurement."""
    kernels: KernelsCard | None = None
    speed: SpeedCard | None = None
    quantization: QuantizationCard | None
    cost: CostCard
    verification: Verification
    verified_against: Literal["torch float32", "torch integer simulation"]
    runtime: str
    """Name and version of the runtime in which it was verified."""
    stand_in: str | None = None
    """Name of the program that computed it for verification if the target's own runtime does not run on the exporting
    system; None if the runtime itself did.
    """
    lineage: Lineage


def read_card(path: Path) -> Card:
    """Read the card beside the edge file `path`, and check the file against it.

    Raises:
        CheckpointError: if the card or the file is missing, the card is not readable, or the file does not match the
            card.
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
    """Refuse a card that names files in other folders."""
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
        raise CheckpointError(f"{path} {reason}: it was made from another file; export again")
