"""What is known of a data source."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ganpress.data.raw.dataset_card import DatasetCard


@dataclass(frozen=True)
class Source:
    """How one source comes in."""

    write: Callable[[Path, Path, Path], DatasetCard]
    """(local copy, target, scratch folder) -> card; leaves exactly the data set in target."""
    download: Callable[[Path], Path] | None
    """Downloads below a folder and returns where `write` finds it; None where nothing is downloaded."""
    advice: str
    """What to fetch by hand."""
    conditional: bool = False
    """Whether it has sources and targets, so that nothing can be derived from it."""
