"""Measures the distance between the pictures of two versions of the data."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

ALIKE = ("width", "height", "mean", "std")
"""Numeric columns whose distributions are compared; mean and std are brightness and contrast in grey levels."""
KINDS = ("channels", "label")
"""Categorical columns whose shares are compared."""
WORDS = {"mean": "brightness", "std": "contrast", "label": "classes"}
MAX_DIRECTIONS = 32
"""Principal directions of the features in which two versions are compared, at most."""
PICTURES_PER_DIRECTION = 10
"""Pictures to which a direction is fitted, at least."""
SHRINKAGE = 0.1
"""Share of the common covariance in that of each version."""


Features = NDArray[np.floating[Any]]
Halves = tuple[Features, Features]


@dataclass(frozen=True)
class FormerVersion:
    """The version of the data that passed before."""

    manifest: "pd.DataFrame"
    features_distance: Callable[["pd.DataFrame"], float | None] = lambda _manifest: None
    """Function that returns the `distance_of_features` of its judge, given the manifest of this version; None if they
    cannot be compared."""


def drift_table(manifest: "pd.DataFrame", former: FormerVersion) -> "pd.DataFrame":
    """Compare two versions column by column, each side of conditional data separately, and by the judge's features.

    Args:
        manifest: manifest of this version, as `ganpress.data.gate.manifest.read_manifest` gives it.
        former: the previous version.

    Returns:
        A row for each compared column: `name` with the number in words, and `found`, which is 0 for equal and 1 for
        disjoint distributions. It is the largest difference of the cumulative distributions (Kolmogorov-Smirnov) of
        numbers, and half the sum of the differences of shares (total variation) of kinds.
    """
    import pandas as pd

    rows = list(_rows(manifest, former.manifest))
    by_judge = former.features_distance(manifest)
    if by_judge is not None:
        rows.append(("features of the judge", by_judge))
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
    return _of_values(new.to_numpy(np.float64), old.to_numpy(np.float64))


def _of_values(new: Features, old: Features) -> float:
    first, second = np.sort(new), np.sort(old)
    values = np.concatenate([first, second])
    shares = [np.searchsorted(one, values, side="right") / len(one) for one in (first, second)]
    return float(np.abs(shares[0] - shares[1]).max())


def _of_kinds(new: "pd.Series[str]", old: "pd.Series[str]") -> float:
    if not len(new) or not len(old):
        return 1.0
    first, second = (dict(one.astype(str).value_counts(normalize=True)) for one in (new, old))
    return sum(abs(first.get(kind, 0.0) - second.get(kind, 0.0)) for kind in first | second) / 2


def distance_of_features(new: Halves, former: Halves) -> float:
    """Return how well the features of two versions can be told apart: 0 for equal, 1 for disjoint distributions.

    A Gaussian is fitted to one half of each version. The distance is the largest difference of the cumulative
    distributions of its log-likelihood ratio in the other halves, averaged over both ways round. Since the other halves
    are not fitted, it is no larger than the total variation of the features, up to noise of about 1 / sqrt(pictures).

    Args:
        new: features (N, F) of both halves of this version.
        former: those of the previous version. A picture of both versions must be in the same half of both, else it
            would be both fitted and held out.
    """
    if not np.ptp(np.concatenate([*new, *former]), axis=0).any():
        return 0.0
    found = []
    for fitted, held_out in ((0, 1), (1, 0)):
        ratio = _likelihood_ratio(new[fitted].astype(np.float64), former[fitted].astype(np.float64))
        found.append(_of_values(ratio(new[held_out]), ratio(former[held_out])))
    return float(np.mean(found))


def _likelihood_ratio(new: Features, former: Features) -> Callable[[Features], Features]:
    """Return the log-likelihood ratio of Gaussians, up to a constant, in the principal directions of both together."""
    both = np.concatenate([new, former])
    values, vectors = np.linalg.eigh(np.cov(both.T, bias=True).reshape(both.shape[1], -1))
    count = min(MAX_DIRECTIONS, max(1, min(len(new), len(former)) // PICTURES_PER_DIRECTION))
    chosen = np.flatnonzero(values > values[-1] * 1e-9)[-count:]
    whitening = vectors[:, chosen] / np.sqrt(values[chosen])
    fits = []
    for one in (new, former):
        inside = one @ whitening
        covariance = (1 - SHRINKAGE) * np.cov(inside.T, bias=True).reshape(len(chosen), -1)
        precision = np.linalg.inv(covariance + SHRINKAGE * np.eye(len(chosen)))
        fits.append((inside.mean(axis=0), precision))

    def ratio(features: Features) -> Features:
        inside = features @ whitening
        (first, second) = (
            np.einsum("ni,ij,nj->n", inside - mean, precision, inside - mean, optimize=True) for mean, precision in fits
        )
        return np.asarray(second - first)

    return ratio
