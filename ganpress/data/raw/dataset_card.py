"""Reads and writes `data/dataset.json`, the description of `data/`. It imports nothing heavy, so that reading is
fast.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from ganpress.errors import DataError, shown
from ganpress.files.plain_values import dataclass_of, read_json

CARD_NAME = "dataset.json"
FOLDER_PREFIX = "folder:"
PATH_KINDS = ("folder", "pairs", "unpaired", "semantic")
"""Sources that contain a path: `<kind>:<path>`, for pairs also `pairs:<path>:AB` or `:BA`."""
DERIVED_KINDS = ("edges", "segments", "superres", "domains")
"""Sources that are derived from another one: `<kind>:<base>`, for domains `domains:<base>:<classes>:<classes>`."""
BUNDLED = ("digits", "scenes")
"""Sources that ship with a dependency, so that they can be created again at any time."""
DIRECTIONS = ("AB", "BA")
SOURCE_FOLDER, TARGET_FOLDER = "source", "target"
"""Folders below `data/` for conditional data: the inputs of a generator, and the images that it should produce."""
IGNORED = 255
"""Label id of a pixel that belongs to no class."""
TEST_FRACTION = 0.1
"""Share of the images that becomes the test split if the source has none."""
Layout = Literal["idx", "zip", "folder"]
Pairing = Literal["paired", "unpaired", "semantic"]
"""Kinds of conditional data: source images with their targets, two domains without correspondence, or label maps with
their images."""


@dataclass(frozen=True)
class DatasetCard:
    """Description of raw data, written by the import."""

    source: str
    """The source as requested, but with only the last name of a path: `digits`, `folder:<name>`, `edges:mnist`, …"""
    layout: Layout
    counts: dict[str, int]
    """Number of (target) images in `train` and `test`, or in `unsplit` if the source has no split."""
    classes: list[str] = field(default_factory=list)
    """Class names; for idx files in the order of their label bytes. Empty for unlabelled data."""
    origin: str = ""
    """Origin of the images, as text for people."""
    pairing: Pairing | None = None
    """Kind of pairing, with a raw data set in each of `source/` and `target/`; None for unconditional data."""
    label_names: list[str] = field(default_factory=list)
    """Names of the label ids 0, 1, … of semantic data; empty otherwise."""
    notes: list[str] = field(default_factory=list)
    """Notes of the import for the user; not saved."""

    @property
    def images(self) -> int:
        return sum(self.counts.values())

    @property
    def test_images(self) -> int:
        """Return the number of images that the test split will have."""
        return self.counts.get("test") or round(self.images * TEST_FRACTION)

    def train_images(self, validation_fraction: float) -> int:
        """Return the number of images that remain for training."""
        rest = self.images - self.test_images
        return rest - round(rest * validation_fraction)

    def save(self, folder: Path) -> None:
        """Write `dataset.json`; equal content is equal bytes."""
        content = asdict(self)
        del content["notes"]
        if self.pairing is None:  # The bytes of unconditional data, and so its pins, stay the same.
            del content["pairing"], content["label_names"]
        text = json.dumps(content, indent=2, sort_keys=True)
        (folder / CARD_NAME).write_text(text + "\n", encoding="utf-8")


def read_card(folder: Path) -> DatasetCard | None:
    """Read `dataset.json` below `folder`; None where there is none.

    Raises:
        DataError: if it exists but cannot be parsed.
    """
    path = folder / CARD_NAME
    try:
        return dataclass_of(DatasetCard, read_json(path))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is damaged ({shown(error, 200)}); run `ganpress data add <source>` again") from None


def display_name(source: str) -> str:
    """Return the name of a source in `dataset.json`: only the last name of a path, because its location must not
    change the bytes.
    """
    return with_place(source, lambda path: Path(path).expanduser().resolve().name)


def with_place(source: str, change: Callable[[str], str]) -> str:
    """Return `source` with the path inside it changed; sources without a path are returned unchanged.

    ``with_place("edges:folder:faces", str.upper)`` is ``"edges:folder:FACES"``.
    """
    kind, colon, rest = source.partition(":")
    if not colon:
        return source
    if kind == "domains":
        base, *classes = rest.rsplit(":", 2)
        return ":".join([kind, with_place(base, change), *classes])
    if kind in DERIVED_KINDS:
        return f"{kind}:{with_place(rest, change)}"
    if kind not in PATH_KINDS:
        return source
    path, direction = split_direction(rest) if kind == "pairs" else (rest, None)
    return ":".join([kind, change(path), *([direction] if direction else [])])


def is_bundled(source: str) -> bool:
    """Return whether a source, or the one that it is derived from, ships with a dependency."""
    kind, colon, rest = source.partition(":")
    if colon and kind in DERIVED_KINDS:
        return is_bundled(rest.rsplit(":", 2)[0] if kind == "domains" else rest)
    return source in BUNDLED


def split_direction(place: str) -> tuple[str, str | None]:
    """Divide `<path>` or `<path>:AB` into path and direction."""
    path, _, last = place.rpartition(":")
    return (path, last) if path and last in DIRECTIONS else (place, None)
