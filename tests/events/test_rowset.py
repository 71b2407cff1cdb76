"""Sets of rows as bits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from particle_transformer.events import RowSet, RowSetBuilder


@settings(deadline=None)
@given(st.integers(0, 2000), st.floats(0, 1), st.integers(0, 1000), st.data())
def test_it_is_the_set_of_flagged_rows(
    size: int, fraction: float, seed: int, data: st.DataObject
) -> None:
    flags = np.random.default_rng(seed).random(size) < fraction
    cuts = sorted(data.draw(st.lists(st.integers(0, size), max_size=6)))
    builder = RowSetBuilder(size)
    for start, stop in zip([0, *cuts], [*cuts, size], strict=True):
        builder.extend(flags[start:stop])
    rows = builder.finish()
    expected = np.flatnonzero(flags)
    assert len(rows) == len(expected)
    assert rows.select(np.arange(len(rows))).tolist() == expected.tolist()
    start, stop = sorted((data.draw(st.integers(0, size)), data.draw(st.integers(0, size))))
    assert rows.flags(start, stop).tolist() == flags[start:stop].tolist()
    again = RowSet.from_index(expected[::-1], size)
    assert again.select(np.arange(len(rows))).tolist() == expected.tolist()
    other = np.random.default_rng(seed + 1).random(size) < 0.5
    assert rows.shared(RowSet.from_index(np.flatnonzero(other), size)) == (flags & other).sum()


def test_positions_come_in_any_order() -> None:
    index = np.array([3, 200, 201, 5000])
    rows = RowSet.from_index(index, 6000)
    assert rows.select(np.array([3, 0, 0, 2])).tolist() == [5000, 3, 3, 201]


def test_a_set_that_was_not_told_all_rows_is_refused() -> None:
    builder = RowSetBuilder(10)
    builder.extend(np.ones(9, dtype=np.bool_))
    with pytest.raises(AssertionError, match="9 of 10 rows"):
        builder.finish()
