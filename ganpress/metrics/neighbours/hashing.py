"""Locality-sensitive hashing of features: near samples get equal keys, far ones different keys.

The family is E2LSH (Datar et al. 2004), made for Euclidean distance. Signs of random projections would not see a sample
whose norm is wrong, and faiss's `IndexLSH` scans all codes; here a key is an address, so that looking up a sample costs
no more with more references.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import Self

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64, Shaped
from torch import Tensor

from ganpress.basics.seeding import torch_generator
from ganpress.errors import DataError
from ganpress.metrics.feature_inputs import Matrix, as_tensor, same_columns
from ganpress.metrics.rows import MOST_BYTES, READ_ROWS, Rows

BLOCK = 1024
"""Samples that are hashed at a time."""
BRACKET = 1e4
"""Widths are sought between a typical projection divided and multiplied by this."""
BISECTIONS = 30
"""Halvings of the bracket's logarithm, at most: the width is then known to 2e-8."""

Features = Matrix | Iterable[Matrix]
"""Features (N, F), or batches of them (n, F) that are read once."""


@dataclass(frozen=True)
class HashFamily:
    """L tables of b hashes floor(a . (x - mean) / w + u), with a ~ N(0, I) and u ~ U[0, 1).

    A table's key is the sum of its hashes times odd 64-bit numbers, mod 2^64. Products of single-precision features are
    taken in single precision about `shift`, so that a common offset costs no digits.
    """

    vectors: Tensor
    """(F, L b): a."""
    shift: Tensor
    """(F,) a point amid the reference."""
    origin: Tensor
    """(L b,) projection of the reference's mean, seen from `shift`."""
    offsets: Tensor
    """(L b,): u."""
    multipliers: Tensor
    """(b,) odd int64."""
    width: float = 1.0
    """w, in units of the features."""

    @property
    def bits(self) -> int:
        """Hashes in a key, b."""
        return len(self.multipliers)

    def project(self, block: Float[Tensor, "n f"]) -> Float[Tensor, "n lb"]:
        """Return a . x of features, seen from `shift`."""
        return (block.to(self.shift) - self.shift) @ self.vectors

    def keys(self, projections: Float[Tensor, "n lb"]) -> Int64[Tensor, "n l"]:
        """Return int64 keys of projections."""
        return _collected(map(self._keys, _pieces(projections)))

    def _keys(self, projections: Float[Tensor, "n lb"]) -> Int64[Tensor, "n l"]:
        hashes = ((projections - self.origin) / self.width + self.offsets).floor_().long()
        keys: Tensor = (hashes.reshape(len(hashes), -1, self.bits) * self.multipliers).sum(dim=2)
        return keys

    def hash(self, features: Features, name: str) -> Int64[Tensor, "n l"]:
        """Return int64 keys of features, block by block; nothing else is kept of them.

        Raises:
            DataError: if there are no features, they hold NaN, or their number differs from the reference's.
        """
        return _collected(self._keys(self.project(block)) for block in self._own(blocks(features, name)))

    def _own(self, given: Iterator[Float[Tensor, "_ f"]]) -> Iterator[Float[Tensor, "_ f"]]:
        for block in given:
            _same_features(len(self.vectors), block.shape[1])
            yield block

    def first(self, tables: int) -> Self:
        """The family of the first `tables` tables."""
        columns = tables * self.bits
        parts = {name: getattr(self, name)[..., :columns] for name in ("vectors", "origin", "offsets")}
        return replace(self, **parts)


def fit_family(reference: Features, tables: int, bits: int, seed: int) -> tuple[HashFamily, Float[Tensor, "n lb"]]:
    """Draw a family about the reference and return it with the reference's projections.

    Its width is still to be chosen. Equal seeds give equal families on every device.

    Raises:
        DataError: if there are no features, or they hold NaN.
    """
    name = "the reference features"
    stream = blocks(reference, name)
    block = next(stream)
    generator = torch_generator(seed, "locality-hashing", tables, bits)
    vectors = torch.randn(block.shape[1], tables * bits, generator=generator)
    offsets = torch.rand(tables * bits, generator=generator, dtype=torch.float64)
    multipliers = torch.randint(-(2**63), 2**63 - 1, (bits,), generator=generator) | 1
    family = HashFamily(
        vectors.to(block),
        block.double().mean(dim=0).to(block),
        torch.zeros(tables * bits).to(block),
        offsets.to(block),
        multipliers.to(block.device),
    )
    own = family._own(chain([block], stream))
    projections = _collected(family.project(each) for each in own)
    return replace(family, origin=_mean(projections).to(block)), projections


def blocks(features: Features, name: str) -> Iterator[Float[Tensor, "_ f"]]:
    """Yield features in blocks (at most BLOCK, F) on their own device, float32 unless they are float64.

    Batches are cut anew, so that what is computed from a block does not depend on how the features came.

    Raises:
        DataError: if there are no features, or they hold NaN.
    """
    if isinstance(features, np.ndarray | Tensor):
        yield from _pieces(as_tensor(features, name))
        return
    waiting: list[Tensor] = []
    for batch in features:
        waiting.append(as_tensor(batch, name))
        _same_features(waiting[0].shape[1], waiting[-1].shape[1])
        if sum(map(len, waiting)) >= BLOCK:
            *whole, rest = _pieces(torch.cat(waiting))
            yield from whole
            waiting = [rest]
    if not waiting:
        raise DataError(f"{name}: found no batches; give more images")
    yield torch.cat(waiting)


def enough(found: int, needed: int, name: str) -> None:
    """Check that a set is large enough.

    Raises:
        DataError: if it holds fewer than `needed` samples.
    """
    if found < needed:
        raise DataError(f"{name}: found {found} samples, at least {needed} are needed; give more images")


def _collected(parts: Iterable[Shaped[Tensor, "_ c"]]) -> Shaped[Tensor, "n c"]:
    """Return rows of all parts, in one tensor where they are; on the processor, many of them in a file.

    A list of small tensors would lie between the temporaries of the blocks and keep their memory from being given back.
    """
    rows, waiting = Rows(), []
    for part in parts:
        if part.device.type == "cpu":
            rows.append(part.numpy())
        else:
            waiting.append(part)
    return torch.cat(waiting) if waiting else torch.from_numpy(rows.all())


def _mean(rows: Float[Tensor, "n c"]) -> Float64[Tensor, " c"]:
    """Mean of rows in float64; of many a piece at a time, as they are not to be held in float64."""
    if rows.nbytes <= MOST_BYTES:
        return rows.mean(dim=0, dtype=torch.float64)
    return sum(
        (piece.sum(dim=0, dtype=torch.float64) for piece in torch.split(rows, READ_ROWS)), torch.zeros(())
    ) / len(rows)


def _pieces(rows: Float[Tensor, "n c"]) -> list[Float[Tensor, "_ c"]]:
    return [rows[start : start + BLOCK] for start in range(0, len(rows), BLOCK)]


def _same_features(first: int, second: int) -> None:
    same_columns(np.empty((0, first)), np.empty((0, second)))


def fitted(
    family: HashFamily, projections: Float[Tensor, "n lb"], measure: Callable[[HashFamily], float], target: float
) -> HashFamily:
    """Return the family with the width at which `measure`, which grows with the width, comes to `target`.

    Args:
        family: With any width.
        projections: The reference's, whose typical size tells where to look.
        measure: Number measured with a family.
        target: What it shall be, to 0.1 %. If no width gives it, the end of the bracket that is nearer to it is taken.

    Raises:
        DataError: if all samples of the reference are equal.
    """
    centred = (projections[:, : family.bits] - family.origin[: family.bits]).abs()
    typical = float(centred.median()) or float(centred.double().mean())
    if typical == 0:
        raise DataError("the reference features are all equal; the judge does not see these images")
    low, high = math.log(typical / BRACKET), math.log(typical * BRACKET)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        family = replace(family, width=math.exp(middle))
        found = measure(family)
        if abs(found - target) <= 1e-3 * target:
            break
        low, high = (middle, high) if found < target else (low, middle)
    return family
