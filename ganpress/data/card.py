"""`data/dataset.json`: what lies below `data/`. Imports nothing heavy, so that asking costs no time."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from ganpress.errors import DataError

CARD_NAME = "dataset.json"
FOLDER_PREFIX = "folder:"
SOURCE_FOLDER, TARGET_FOLDER = "source", "target"
"""Below `data/`, where there is a pairing: what a conditional generator reads, and what it shall draw."""
Layout = Literal["idx", "zip", "folder"]
Pairing = Literal["paired", "unpaired", "semantic"]
"""Source images with their targets, two domains without, or label maps with their images."""


@dataclass(frozen=True)
class DatasetCard:
    """Description of raw data, written by the import."""

    source: str
    """`digits`, `mnist`, `fashion-mnist`, `cifar10`, `celeba` or `folder:<name>`."""
    layout: Layout
    counts: dict[str, int]
    """Images in `train` and `test`, or in `unsplit` where the source has no split."""
    classes: list[str] = field(default_factory=list)
    """Class names; for idx files in the order of their label bytes. Empty for unlabelled data."""
    origin: str = ""
    """Where the images come from, for people."""

    @property
    def images(self) -> int:
        return sum(self.counts.values())

    def save(self, folder: Path) -> None:
        """Write `dataset.json`; equal content is equal bytes."""
        text = json.dumps(asdict(self), indent=2, sort_keys=True)
        (folder / CARD_NAME).write_text(text + "\n", encoding="utf-8")


def read_card(folder: Path) -> DatasetCard | None:
    """Read `dataset.json` below `folder`; None where there is none.

    Raises:
        DataError: if it is there but cannot be understood.
    """
    path = folder / CARD_NAME
    try:
        return DatasetCard(**json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, TypeError) as error:
        raise DataError(f"{path} is damaged ({error}); run `ganpress data add <source>` again") from None


def display_name(source: str) -> str:
    """Return how `dataset.json` names a source: a folder by its own name, since where it lies must not change bytes."""
    if not source.startswith(FOLDER_PREFIX):
        return source
    return FOLDER_PREFIX + Path(source.removeprefix(FOLDER_PREFIX)).expanduser().resolve().name
