"""Measures the distance between the pictures of two versions of the data, from their manifests alone."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

ALIKE = ("width", "height", "mean", "std")
"""Numeric columns whose distributions are compared; mean and std are brightness and contrast in grey levels."""
KINDS = ("channels", "label")
"""Categorical columns whose shares are compared."""
WORDS = {"mean": "brightness", "std": "contrast", "label": "classes"}


def drift_table(manifest: "pd.DataFrame", former: "pd.DataFrame") -> "pd.DataFrame":
    """Compare two manifests column by column, each side of conditional data separately.

    Args:
        manifest: manifest of this version, as `ganpress.data.gate.manifest.read_manifest` gives it.
        former: manifest of the previous version.

    Returns:
        A row for each compared column: `name` with the number in words, and `found`, which is 0 for equal and 1 for
        disjoint distributions. It is the largest difference of the cumulative distributions (Kolmogorov-Smirnov) of
        numbers, and half the sum of the differences of shares (total variation) of kinds.
    """
    import pandas as pd

    rows = list(_rows(manifest, former))
    names = [f"{name} ({distance:.3g})" for name, distance in rows]
    return pd.DataFrame({"name": names, "found": [distance for _, distance in rows]})


def _rows(manifest: "pd.DataFrame", former: "pd.DataFrame") -> Iterator[tuple[str, float]]:
    for side, own in _sides(manifest).items():
        before = _sides(former).get(side, former.iloc[:0])
        for column in (*KINDS, *ALIKE):
            new, old = (rows.loc[rows["decodes"], column].dropna() for rows in (own, before))
            if len(new) or len(old):
                distance = _of_kinds(new, old) if column in KINDS else _of_numbers(new, old)
                yield f"{side}{WORDS.get(column, column)}", distance


def _sides(manifest: "pd.DataFrame") -> "dict[str, pd.DataFrame]":
    """Return the pictures of each side of conditional data, by `source ` and `target `; else all of them."""
    if "highest_id" not in manifest:
        return {"": manifest}
    sides = manifest["path"].str.partition("/")[0]
    return {f"{side} ": manifest[sides == side] for side in ("source", "target")}


def _of_numbers(new: "pd.Series[float]", old: "pd.Series[float]") -> float:
    if not len(new) or not len(old):
        return 1.0
    first, second = (np.sort(one.to_numpy(np.float64)) for one in (new, old))
    values = np.concatenate([first, second])
    shares = [np.searchsorted(one, values, side="right") / len(one) for one in (first, second)]
    return float(np.abs(shares[0] - shares[1]).max())


def _of_kinds(new: "pd.Series[str]", old: "pd.Series[str]") -> float:
    if not len(new) or not len(old):
        return 1.0
    first, second = (dict(one.astype(str).value_counts(normalize=True)) for one in (new, old))
    return sum(abs(first.get(kind, 0.0) - second.get(kind, 0.0)) for kind in first | second) / 2
