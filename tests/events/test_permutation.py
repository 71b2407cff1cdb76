"""The order of an epoch: a bijection, well mixed, the same for ever."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from particle_transformer.events import Permutation

# Published test vectors: a change here changes the order of every training.
VECTORS = [
    (10, (0, 0), [3, 6, 9, 1, 4, 5, 0, 2, 7, 8]),
    (10, (1, 0), [0, 8, 5, 7, 6, 9, 2, 1, 4, 3]),
    (1000, (1, 2), [131, 146, 778, 460, 943, 88, 570, 394, 126, 341]),
    (10**9 + 7, (1, 0, 3), [892779569, 214114189, 785876954, 749882852, 43734601]),
    (2**40, (2**40 + 1, 5), [968821231924, 164936251780, 819109738270, 1081493595343]),
]
MASK = 2**64 - 1


def _mix(value: int) -> int:
    value &= MASK
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB & MASK
    return value ^ (value >> 31)


def _plain(size: int, key: tuple[int, ...], position: int) -> int:
    """The definition once more, in Python's integers."""
    golden = 0x9E3779B97F4A7C15
    low = next(a for a in range(int(size**0.5) - 1, size + 1) if a > 0 and a * a >= size)
    high = (size + low - 1) // low
    state = 0
    for part in key:
        state = _mix(state + golden + part)
    number = position
    while True:
        right, left = divmod(number, low)
        for turn in range(12):
            round_key = _mix(state + (turn + 1) * golden)
            if turn % 2 == 0:
                left = (left + _mix(right + round_key)) % low
            else:
                right = (right + _mix(left + round_key)) % high
        number = right * low + left
        if number < size:
            return number


@settings(deadline=None)
@given(st.integers(1, 3000), st.integers(0, 2**70), st.integers(0, 100))
def test_it_is_a_bijection(size: int, seed: int, epoch: int) -> None:
    order = Permutation(size, seed, epoch)(np.arange(size))
    assert order.dtype == np.int64
    assert np.array_equal(np.sort(order), np.arange(size))


@settings(deadline=None)
@given(st.integers(1, 2**50), st.tuples(st.integers(0, 2**64), st.integers(0, 50)), st.data())
def test_it_is_what_its_definition_says(
    size: int, key: tuple[int, int], data: st.DataObject
) -> None:
    positions = data.draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=5))
    found = Permutation(size, *key)(np.array(positions))
    assert found.tolist() == [_plain(size, key, position) for position in positions]


@pytest.mark.parametrize(("size", "key", "expected"), VECTORS)
def test_published_vectors(size: int, key: tuple[int, ...], expected: list[int]) -> None:
    assert Permutation(size, *key)(np.arange(len(expected))).tolist() == expected


@pytest.mark.parametrize("size", [2, 3, 5, 16, 100])
def test_every_event_is_equally_likely_at_every_position(size: int) -> None:
    orders = np.array([Permutation(size, seed, 1)(np.arange(size)) for seed in range(4000)])
    for position in {0, 1, size // 2, size - 1}:
        counts = np.bincount(orders[:, position], minlength=size)
        assert stats.chisquare(counts).pvalue > 1e-5


def test_all_orders_of_four_events_are_equally_likely() -> None:
    orders = [tuple(Permutation(4, seed, 0)(np.arange(4)).tolist()) for seed in range(6000)]
    counts = np.unique(np.array(orders), axis=0, return_counts=True)[1]
    assert len(counts) == 24
    np.testing.assert_allclose(counts, 250, atol=100)  # 6 standard deviations


@pytest.mark.parametrize("size", [10_007, 65_536])
def test_neighbours_in_the_order_know_nothing_of_each_other(size: int) -> None:
    order = Permutation(size, 7, 3)(np.arange(size))
    for lag in (1, 2, 128, 257):
        assert abs(np.corrcoef(order[:-lag], order[lag:])[0, 1]) < 5 / np.sqrt(size)
    # Nor position and event, nor two epochs.
    other = Permutation(size, 7, 4)(np.arange(size))
    for second in (np.arange(size), other):
        assert abs(np.corrcoef(order, second)[0, 1]) < 5 / np.sqrt(size)
    assert np.count_nonzero(order == other) < 10  # Poisson of mean 1
    # The variance of the number of rises of a random order is (N + 1) / 12.
    rises = np.count_nonzero(np.diff(order) > 0)
    assert abs(rises - (size - 1) / 2) < 5 * np.sqrt(size / 12)


def test_parts_of_a_batch_are_spread_over_all_events() -> None:
    # 100 batches of 500: events of each twentieth of the table, multinomially.
    size = 50_000
    order = Permutation(size, 1, 0)(np.arange(size)).reshape(100, 500)
    pvalues = [
        stats.chisquare(np.bincount(batch * 20 // size, minlength=20)).pvalue for batch in order
    ]
    assert stats.kstest(pvalues, "uniform").pvalue > 1e-4
