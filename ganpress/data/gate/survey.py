"""Surveys raw pictures for the facts from which settings follow."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ganpress.basics.progress import ticker
from ganpress.data.gate.manifest import manifest_rows, typed_manifest
from ganpress.data.gate.near_duplicates import MOST_COMPARED, NearDuplicates, find_near_duplicates
from ganpress.data.gate.validation import class_table, image_table
from ganpress.data.prepared.image_choice import rank
from ganpress.data.raw.dataset_card import DatasetCard
from ganpress.data.raw.raw_images import RawImage, RawImages

if TYPE_CHECKING:
    import pandas as pd

MOST_DECODED = 20_000
"""Largest number of pictures that a survey opens; from larger sets they are drawn by a hash of their names."""


@dataclass(frozen=True)
class Survey:
    """Facts about unconditional pictures."""

    card: DatasetCard
    """Source, counts and classes."""
    decoded: int
    """Number of pictures that were opened; the shares below refer to these."""
    unreadable: tuple[str, ...]
    channels: tuple[int, ...]
    side: int
    """Median of the pictures' shorter sides, in pixels."""
    smallest_side: int
    smallest_class_share: float
    """Share of the smallest class relative to an even share; 1 if there are no classes."""
    duplicates: float
    """Share of pictures whose pixels equal another one's."""
    leaked: float
    """Share of test pictures that also occur in train."""
    flat: float
    """Share of pictures of one grey level."""
    near: NearDuplicates = field(default_factory=NearDuplicates)
    """Pictures that are nearly equal to another one."""


def survey(raw: RawImages, card: DatasetCard) -> Survey:
    """Open at most `MOST_DECODED` pictures, and collect the facts from which settings follow."""
    looked_at = _sample(raw, card.images, MOST_DECODED)
    with ticker("survey", min(card.images, MOST_DECODED), "images") as progress:
        manifest = typed_manifest(manifest_rows(looked_at, progress))
    with ticker("near duplicates", min(card.images, MOST_COMPARED), "images") as progress:
        near = find_near_duplicates(_sample(raw, card.images, MOST_COMPARED), progress)
    table, readable = image_table(manifest), manifest[manifest["decodes"]]
    sides = readable[["width", "height"]].min(axis=1)
    classes = class_table(manifest)
    return Survey(
        card=card,
        decoded=len(manifest),
        unreadable=tuple(manifest.loc[~manifest["decodes"], "path"]),
        channels=tuple(sorted(int(one) for one in readable["channels"].unique())),
        side=int(sides.median()) if len(sides) else 0,
        smallest_side=int(sides.min()) if len(sides) else 0,
        smallest_class_share=float(classes["relative_share"].min()) if len(classes) else 1.0,
        duplicates=_share(readable["md5"].duplicated(keep=False)),
        leaked=_share(table["leaked"].dropna().astype(bool)),
        flat=_share(table["flat"].dropna().astype(bool)),
        near=near,
    )


def _share(flags: "pd.Series[bool]") -> float:
    return float(flags.mean()) if len(flags) else 0.0


def _sample(raw: RawImages, images: int, most: int) -> RawImages:
    if images <= most:
        return raw
    threshold = 2**63 * most // images

    def chosen() -> Iterator[RawImage]:
        return (image for image in raw if rank(0, "survey", image.path) < threshold)

    return replace(raw, _iterate=chosen)
