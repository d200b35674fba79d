"""Raw conditional data below `data/`: a source and a target data set, and their correspondence."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path, PurePosixPath
from typing import Literal

from ganpress.data.raw.dataset_card import SOURCE_FOLDER, TARGET_FOLDER, Pairing, read_card
from ganpress.data.raw.image_files import IMAGE_SUFFIXES
from ganpress.data.raw.raw_images import RawImage, RawImages, open_raw
from ganpress.errors import DataError

Side = Literal["source", "target"]


@dataclass(frozen=True)
class RawPairs:
    """Two raw data sets, each of which can be iterated repeatedly."""

    name: str
    """Data source, e.g. `edges:mnist`."""
    pairing: Pairing
    label_names: tuple[str, ...]
    """Names of the label ids 0, 1, … of semantic data; empty otherwise."""
    source: RawImages
    target: RawImages

    def sides(self) -> tuple[tuple[Side, RawImages], ...]:
        return ("source", self.source), ("target", self.target)

    @property
    def paired(self) -> bool:
        """Whether each source has its own target (`paired` and `semantic`)."""
        return self.pairing != "unpaired"

    def matched(self) -> Iterator[tuple[int, RawImage, RawImage]]:
        """Yield (number of the target, source, target), streamed: both sides come in (nearly) the same order.

        Raises:
            DataError: if one of them has no partner.
        """
        sources: dict[str, RawImage] = {}
        targets: dict[str, tuple[int, RawImage]] = {}
        for number, (source, target) in enumerate(zip_longest(self.source, self.target)):
            arrived = []
            if source is not None:
                sources[arrived_id := pair_id(source.path)] = source
                arrived.append(arrived_id)
            if target is not None:
                targets[arrived_id := pair_id(target.path)] = (number, target)
                arrived.append(arrived_id)
            for one in dict.fromkeys(arrived):
                if one in sources and one in targets:
                    place, partner = targets.pop(one)
                    yield place, sources.pop(one), partner
        if alone := sorted([*sources, *targets]):
            raise DataError(
                f"{self.name}: {len(alone)} images have no partner, first {alone[0]}; see the gate's summary"
            )


def pair_id(path: str) -> str:
    """Return what a source and its target have in common: the path without the suffix of its image format."""
    suffix = PurePosixPath(path).suffix
    return path.removesuffix(suffix) if suffix.lower() in IMAGE_SUFFIXES else path


def open_raw_pairs(folder: Path) -> RawPairs | None:
    """Open conditional raw data; return None if `folder` has none, or has unconditional data.

    Raises:
        DataError: if a side is missing, empty or mixes formats, or `dataset.json` is damaged.
    """
    card = read_card(folder)
    if card is None or card.pairing is None:
        return None
    source, target = open_raw(folder / SOURCE_FOLDER), open_raw(folder / TARGET_FOLDER)
    return RawPairs(card.source, card.pairing, tuple(card.label_names), source, target)


def integer_scale(one: tuple[int, int], other: tuple[int, int]) -> int | None:
    """Return the integer factor between two sizes (height, width); None if there is none."""
    small, large = sorted((one, other))
    factor = large[0] // max(small[0], 1)
    return factor if large == (small[0] * factor, small[1] * factor) else None
