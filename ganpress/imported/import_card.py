"""Facts about an imported generator: `imported/<name>/import.json` beside its `generator.safetensors`."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from torch import nn

from ganpress.errors import CheckpointError, ConfigError, shown
from ganpress.files.checkpoint import file_digest, load_model
from ganpress.files.import_pins import CARD, FOLDER, LARGEST_CARD_BYTES, card_sources
from ganpress.files.plain_values import dataclass_of, parse_json, read_json
from ganpress.performance.generator_cost import Cost
from ganpress.structure.channel_groups import Refusal
from models.builders import Blueprint
from models.factory_pins import changed_source, pin_factory
from models.imported_generator import Range
from models.user_modules import find_source, split_factory

MODEL, FORMER_MODEL = "generator.safetensors", "generator.pt"
"""Names of the model file: the present one, and the one before safetensors."""


@dataclass(frozen=True)
class GroupSummary:
    """One position of a spec."""

    name: str
    """The first layer that makes these channels."""
    units: int
    layers: list[str]
    """Every layer that is cut with it."""


@dataclass(frozen=True)
class ImportCard:
    """Origin and properties of a generator."""

    name: str
    source: str
    """`module:function`, or `family:spec` of a known architecture."""
    source_sha256: str | None
    """Digest of the user's module; None for a known architecture."""
    weights: str | None
    """Name of the weights file; None if the user's function provides them."""
    weights_sha256: str | None
    keys: str | None
    """The mapping from third-party tensor names, if one was used."""
    input_shape: list[int]
    """Shape of one input sample."""
    output_shape: list[int]
    input_range: Range
    """Values of black and white in the network's own input; inside ganpress images are in [-1, 1]."""
    output_range: Range
    cost: Cost
    groups: list[GroupSummary]
    """The channel groups of a user's network, in the order of a spec's numbers; [] for a known architecture."""
    not_thinned: list[Refusal]
    modules: dict[str, str] = field(default_factory=dict)
    """Name of a module -> sha256, of every file beside the user's module that it imports; {} in cards of before."""
    notes: list[str] = field(default_factory=list)
    """Findings and changes of the import, as sentences."""

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "ImportCard":
        """Build a card from JSON; the inverse of `to_json`."""
        return dataclass_of(cls, parse_json(text.encode()), CARD)


def load_imported(root: Path, name: str) -> tuple[nn.Module, Blueprint]:
    """Load the generator `imported/<name>` in eval mode on the CPU, with its blueprint.

    Its module, if it has one, is imported from the working directory.

    Raises:
        ConfigError: if there is none of this name, or the user's module is not what it was at the import.
        CheckpointError: if a file is damaged or the module cannot rebuild it.
    """
    model = imported_model(root / FOLDER / name)
    if not model.is_file():
        known = ", ".join(imported_names(root)) or "none yet"
        raise ConfigError(f"no imported generator '{name}' (imported: {known}); bring it in with `ganpress import`")
    card = read_card(root, name)
    if card.source_sha256 is not None:
        _check_source(card)
    return load_model(model)


def read_card(root: Path, name: str) -> ImportCard:
    """Read import.json.

    Raises:
        CheckpointError: if it is missing or damaged.
    """
    path = root / FOLDER / name / CARD
    try:
        return dataclass_of(ImportCard, read_json(path, LARGEST_CARD_BYTES), CARD)
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing; import the generator again") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged ({shown(error)}); import the generator again") from None


def imported_names(root: Path) -> Sequence[str]:
    """Return the names of the generators below imported/."""
    return sorted(path.name for path in (root / FOLDER).glob("[!.]*") if imported_model(path).is_file())


def imported_model(folder: Path) -> Path:
    """Return the model file in the folder of an imported generator."""
    before = folder / FORMER_MODEL
    return before if before.is_file() else folder / MODEL


def source_digest(factory: str) -> str | None:
    """sha256 of the file of a user's module, found without importing it; None where it has none."""
    path = find_source(split_factory(factory)[0])
    return None if path is None else file_digest(path, "sha256")


def _check_source(card: ImportCard) -> None:
    """Pin the function on the card, if the user's files still match it."""
    sources = card_sources(card.source, card.source_sha256, card.modules)
    assert sources is not None
    reason = changed_source(card.source, sources)
    if reason is not None:
        raise ConfigError(
            f"{FOLDER}/{card.name}: {reason}, so the network may be another; import it again with `ganpress import`, "
            "or restore the file"
        )
    pin_factory(card.source, sources)
