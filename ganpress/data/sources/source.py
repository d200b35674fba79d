"""Declaration of a data source."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ganpress.data.raw.dataset_card import DatasetCard


@dataclass(frozen=True)
class Source:
    """Functions and facts for the import of one source."""

    write: Callable[[Path, Path, Path], DatasetCard]
    """Function (local copy, target, scratch folder) -> card, which writes exactly the data set to target."""
    download: Callable[[Path], Path] | None
    """Function that downloads below a folder and returns the path for `write`; None if nothing is downloaded."""
    advice: str
    """Description of what to download by hand."""
    conditional: bool = False
    """Whether it has sources and targets, so that no other source can be derived from it."""
