"""Rows of a store drawn from disk are the store's events."""

from __future__ import annotations

import gc
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.runs import small_analysis
from particle_transformer.config import load_analysis
from particle_transformer.data import Store, StoreRows, prepare
from particle_transformer.errors import InputFileError
from particle_transformer.events import Events


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("rows")
    return Store(prepare(load_analysis(small_analysis(folder, pair_bias=True)), folder / "store"))


def assert_equal(found: Events, expected: Events) -> None:
    assert len(found) == len(expected)
    for field in fields(Events):
        if field.name not in ("objects", "regions"):
            column = getattr(expected, field.name)
            np.testing.assert_array_equal(getattr(found, field.name), column)
            assert getattr(found, field.name).dtype == column.dtype
    assert found.objects.keys() == expected.objects.keys()
    for name, ragged in expected.objects.items():
        np.testing.assert_array_equal(found.objects[name].offsets, ragged.offsets)
        np.testing.assert_array_equal(found.objects[name].values, ragged.values)
        assert ragged.momenta is not None
        np.testing.assert_array_equal(found.objects[name].momenta, ragged.momenta)
    assert found.regions.keys() == expected.regions.keys()
    for name, flags in expected.regions.items():
        np.testing.assert_array_equal(found.regions[name], flags)


@settings(deadline=None, max_examples=30)
@given(st.data())
def test_rows_come_in_the_order_asked_for(store: Store, data: st.DataObject) -> None:
    rows = StoreRows(store)
    every = store.events()
    assert len(rows) == len(every) > 0
    assert len(store.manifest.shards) > 1
    index = np.array(data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=50)), dtype=int)
    assert_equal(rows.take(index), every.take(index))


def test_pieces_are_all_events(store: Store) -> None:
    # Copies: a piece is valid until the next one.
    pieces = [piece.take(np.arange(len(piece))) for piece in StoreRows(store).chunks()]
    assert_equal(Events.concatenate(pieces), store.events())


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for the mappings")
def test_a_shard_is_mapped_only_while_it_is_read(store: Store) -> None:
    def mapped() -> int:
        return Path("/proc/self/maps").read_text().count(str(store.path))

    gc.collect()  # what earlier tests have left in cycles
    rows = StoreRows(store)
    taken = rows.take(np.arange(len(rows)))
    assert mapped() == 0
    assert len(taken) == len(rows)
    pieces = rows.chunks()
    first = next(pieces)
    assert mapped() == 1
    del first, pieces
    assert mapped() == 0


def test_a_shard_lost_meanwhile_is_named(tmp_path: Path) -> None:
    store = Store(prepare(load_analysis(small_analysis(tmp_path)), tmp_path / "store"))
    rows = StoreRows(store)
    lost = next((tmp_path / "store" / "shards").iterdir())
    lost.unlink()
    with pytest.raises(InputFileError, match=rf"{lost.name}: missing or damaged"):
        rows.take(np.arange(len(rows)))
