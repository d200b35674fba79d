"""Sources that are stored as idx files: digits, MNIST, Fashion-MNIST.

All are written uncompressed, so the same source has the same bytes whether it was downloaded or copied, gzipped or not.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ganpress.data.prepared.image_choice import first_of_each_class, rank
from ganpress.data.raw.dataset_card import DatasetCard
from ganpress.data.raw.idx import IMAGES_MAGIC, LABELS_MAGIC, idx_chunks, read_header, write_idx
from ganpress.errors import DataError

DIGITS_SEED = 1797
"""Fixed seed, because the test split of the digits is part of the data set, not of a run."""
DIGITS_TEST_IMAGES = 360
DIGIT_NAMES = [str(digit) for digit in range(10)]
FASHION_NAMES = [
    *("T-shirt", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
]


def write_digits(target: Path) -> DatasetCard:
    """Write scikit-learn's 1797 scans of handwritten digits, 8x8, as idx files with a stratified test split of 360."""
    from sklearn.datasets import load_digits

    scans = load_digits()
    # 0..16 onto 0..255 in whole numbers: (v * 255 / 16) rounded half up.
    images = ((scans.images.astype(np.int64) * 255 + 8) // 16).astype(np.uint8)
    labels = scans.target.astype(np.int64)
    ranks = np.array([rank(DIGITS_SEED, "split", f"digits/{index}") for index in range(len(labels))], np.int64)
    is_test = first_of_each_class(ranks, labels, DIGITS_TEST_IMAGES)
    for prefix, chosen in (("train", ~is_test), ("t10k", is_test)):
        write_idx(target / f"{prefix}-images-idx3-ubyte", images[chosen])
        write_idx(target / f"{prefix}-labels-idx1-ubyte", labels[chosen].astype(np.uint8))
    counts = {"train": int((~is_test).sum()), "test": int(is_test.sum())}
    return DatasetCard("digits", "idx", counts, DIGIT_NAMES, "scikit-learn load_digits (UCI optical digits)")


@dataclass(frozen=True)
class IdxSource:
    """One of torchvision's data sets in the four idx files."""

    source: str
    torchvision_name: str
    classes: tuple[str, ...]
    counts: tuple[tuple[str, int], ...] = (("train", 60_000), ("t10k", 10_000))

    def write(self, path: Path, target: Path) -> DatasetCard:
        """Copy the four files found anywhere below `path` into `target`, decompressed and checked to the last byte.

        Raises:
            DataError: if one is missing, truncated, of another kind, or has a wrong number of items.
        """
        for prefix, count in self.counts:
            for kind, magic in (("images-idx3", IMAGES_MAGIC), ("labels-idx1", LABELS_MAGIC)):
                name = f"{prefix}-{kind}-ubyte"
                self._copy(self._find(path, name), target / name, magic, count)
        counts = {"train": self.counts[0][1], "test": self.counts[1][1]}
        return DatasetCard(self.source, "idx", counts, list(self.classes), f"torchvision {self.torchvision_name}")

    def _find(self, path: Path, name: str) -> Path:
        found = sorted(
            [*path.rglob(f"{name}.gz"), *path.rglob(name)], key=lambda one: (str(one.parent), -len(one.name))
        )
        folders = {one.parent for one in found}
        if len(folders) > 1:  # A torchvision root has both MNIST/raw and FashionMNIST/raw.
            found = [one for one in found if self.torchvision_name in one.relative_to(path).parts]
            if len({one.parent for one in found}) != 1:
                places = ", ".join(str(one) for one in sorted(folders)[:3])
                raise DataError(f"{path} has {name} more than once ({places}); name one of these folders")
        if not found:
            raise DataError(f"{path} has no {name} or {name}.gz")
        return found[0]

    def _copy(self, origin: Path, target: Path, magic: int, expected: int) -> None:
        header = read_header(origin, magic)
        count = header.shape[0]
        if count != expected:
            kind = "images" if magic == IMAGES_MAGIC else "labels"
            raise DataError(f"{origin} has {count} {kind}, but {self.source} has {expected}; download it again")
        with target.open("wb") as file:
            file.write(header.to_bytes())
            for chunk in idx_chunks(origin, magic):
                file.write(chunk.tobytes())

    def download(self, folder: Path) -> Path:
        """Download through torchvision below `folder`."""
        from torchvision import datasets

        getattr(datasets, self.torchvision_name)(str(folder), download=True)
        return folder

    @property
    def advice(self) -> str:
        """Return what to download by hand."""
        names = [f"{prefix}-{kind}-ubyte.gz" for prefix, _ in self.counts for kind in ("images-idx3", "labels-idx1")]
        return f"get the four files {', '.join(names)}"


MNIST = IdxSource("mnist", "MNIST", tuple(DIGIT_NAMES))
FASHION_MNIST = IdxSource("fashion-mnist", "FashionMNIST", tuple(FASHION_NAMES))
