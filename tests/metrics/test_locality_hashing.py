import numpy as np
import pytest
import torch

from ganpress.errors import DataError
from ganpress.metrics.neighbours.buckets import bucket_sizes, bucket_tiles, occupancy
from ganpress.metrics.neighbours.hashing import BLOCK, blocks, fit_family, fitted


def features(count: int, seed: int = 0, size: int = 16) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, size)).astype(np.float32)


def test_keys_are_the_definition_in_python_integers():
    reference = features(40).astype(np.float64)
    family, projections = fit_family(reference, tables=3, bits=4, seed=5)
    keys = family.keys(projections)
    centred = reference - reference.mean(axis=0)
    for sample in range(40):
        for table in range(3):
            total = 0
            for bit in range(4):
                column = 4 * table + bit
                value = centred[sample] @ family.vectors[:, column].numpy() / family.width + float(
                    family.offsets[column]
                )
                total += int(np.floor(value)) * int(family.multipliers[bit])
            assert total % 2**64 == int(keys[sample, table]) % 2**64
    assert all(int(multiplier) % 2 for multiplier in family.multipliers)


def test_near_samples_share_keys_more_often_than_far_ones():
    reference = features(500)
    family, projections = fit_family(reference, 64, 1, 0)
    own = family.keys(projections)
    shares = [float((family.hash(reference + step, "near") == own).double().mean()) for step in (0.001, 0.1, 1.0, 10.0)]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 0.99 > 0.5 > shares[-1]


def test_the_collision_rate_of_one_hash_is_that_of_the_paper():
    # Datar et al. 2004, section 3.2, s-stable with s = 2 and c = ||x - y|| / w
    from scipy.stats import norm

    family, _ = fit_family(np.concatenate([np.zeros((1, 8)), np.ones((1, 8))]), 20_000, 1, 0)
    for distance in (0.5, 1.0, 2.0):
        step = np.zeros((1, 8))
        step[0, 0] = distance
        found = float((family.hash(np.zeros((1, 8)), "x") == family.hash(step, "y")).double().mean())
        expected = 1 - 2 * norm.cdf(-1 / distance)
        expected -= 2 * distance / np.sqrt(2 * np.pi) * (1 - np.exp(-1 / (2 * distance**2)))
        assert found == pytest.approx(expected, abs=4 * np.sqrt(0.25 / 20_000))


def test_equal_seeds_give_equal_families_and_others_do_not():
    reference = features(30)
    (one, _), (same, _), (other, _) = (fit_family(reference, 2, 4, seed) for seed in (1, 1, 2))
    assert torch.equal(one.vectors, same.vectors)
    assert torch.equal(one.multipliers, same.multipliers)
    assert not torch.equal(one.vectors, other.vectors)


def test_the_global_generator_is_left_alone():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    fit_family(features(30), 2, 4, 0)
    assert torch.equal(torch.rand(2), expected)


@pytest.mark.parametrize("batch", [1, 7, 1000, BLOCK, 3000])
def test_blocks_do_not_depend_on_the_batches(batch):
    whole = features(2 * BLOCK + 100)
    expected = list(blocks(whole, "x"))
    found = list(blocks((whole[start : start + batch] for start in range(0, len(whole), batch)), "x"))
    assert [len(block) for block in found] == [len(block) for block in expected]
    assert torch.equal(torch.cat(found), torch.from_numpy(whole))


def test_the_width_brings_a_measure_to_its_target():
    family, projections = fit_family(features(800), 4, 4, 0)

    def mean_bucket(candidate):
        return float(np.mean([float(bucket_sizes(table).double().mean()) for table in candidate.keys(projections).T]))

    assert mean_bucket(fitted(family, projections, mean_bucket, 20.0)) == pytest.approx(20, rel=0.01)


def test_equal_samples_have_no_width():
    family, projections = fit_family(np.ones((10, 4)), 2, 2, 0)
    with pytest.raises(DataError, match="the reference features are all equal; the judge does not see"):
        fitted(family, projections, lambda _: 0.0, 1.0)


def test_batches_of_unequal_width_and_no_batches_are_refused():
    with pytest.raises(DataError, match="16 and 8 features"):
        list(blocks([features(5), features(5, size=8)], "x"))
    with pytest.raises(DataError, match="the fakes: found no batches"):
        list(blocks([], "the fakes"))


def test_occupancy_counts_both_sets():
    reference, generated = torch.tensor([5, 5, 7, -9]), torch.tensor([7, 5, 7, 3])
    table = occupancy(reference, generated)
    assert table.reference_counts[table.generated_places].tolist() == [1, 2, 1, 0]
    assert table.generated_counts[table.reference_places].tolist() == [1, 1, 2, 0]


@pytest.mark.parametrize("piece", [3, 256])
def test_tiles_hold_each_pair_of_a_bucket_once_at_its_distance(piece, monkeypatch):
    monkeypatch.setattr("ganpress.metrics.neighbours.buckets.PIECE", piece)
    monkeypatch.setattr("ganpress.metrics.neighbours.buckets.NUMBERS", 500)
    random = np.random.default_rng(0)
    first, second = torch.from_numpy(features(60)).double(), torch.from_numpy(features(50, 1)).double()
    first_keys, second_keys = (torch.from_numpy(random.integers(0, 6, count)) for count in (60, 50))
    found = {}
    for tiles in bucket_tiles(first, second, first_keys, second_keys):
        rows = tiles.rows[tiles.rows < 60]
        assert len(rows.unique()) == len(rows), "a row comes twice in one batch"
        for tile, row, column in tiles.squared.isfinite().nonzero().tolist():
            pair = int(tiles.rows[tile, row]), int(tiles.columns[tile, column])
            assert pair not in found
            found[pair] = float(tiles.squared[tile, row, column])
    distances = torch.cdist(first, second, compute_mode="donot_use_mm_for_euclid_dist") ** 2
    shared = (first_keys[:, None] == second_keys).nonzero().tolist()
    assert sorted(found) == sorted(map(tuple, shared))
    for pair, squared in found.items():
        assert squared == pytest.approx(float(distances[pair]), rel=1e-9)


def test_equal_samples_are_at_distance_zero_whatever_their_offset():
    twins = torch.from_numpy(np.repeat(features(20), 2, axis=0) + np.float32(1e4))
    keys = torch.zeros(40, dtype=torch.long)
    (tiles,) = bucket_tiles(twins, twins, keys, keys)
    place = torch.argsort(tiles.rows[0])
    squared = tiles.squared[0][place][:, place]
    assert all(squared[2 * pair, 2 * pair + 1] == 0 for pair in range(20))


def test_sets_that_share_no_bucket_have_no_tiles():
    x = torch.from_numpy(features(5))
    keys = torch.arange(5)
    assert list(bucket_tiles(x, x, keys, keys + 10)) == []
