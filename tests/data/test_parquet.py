"""Parquet files are read in any order, and decoded once when they are read in order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from particle_transformer.data.readers.parquet import ParquetReader

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EVENTS = 1000
COUNTS = np.random.default_rng(3).poisson(2, EVENTS)
OFFSETS = np.concatenate([[0], np.cumsum(COUNTS)])
JETS = np.arange(OFFSETS[-1], dtype=np.float32)
MET = np.arange(EVENTS, dtype=np.float64)


@pytest.fixture(scope="module", params=[1000, 300, 7], ids=lambda rows: f"row groups of {rows}")
def path(tmp_path_factory: pytest.TempPathFactory, request: Any) -> Path:
    file: Path = tmp_path_factory.mktemp("parquet") / "a.parquet"
    jets = ak.to_arrow(ak.unflatten(JETS, COUNTS), extensionarray=False)
    pq.write_table(pa.table({"MET": MET, "Jet_pt": jets}), file, row_group_size=request.param)
    return file


SPANS = st.tuples(st.integers(0, EVENTS), st.integers(0, EVENTS)).map(sorted)
NAMES = st.lists(st.sampled_from(["MET", "Jet_pt"]), min_size=1, max_size=2, unique=True)


@given(st.lists(st.tuples(SPANS, NAMES), min_size=1, max_size=6))
def test_any_order_gives_the_rows_asked_for(path, calls):
    with ParquetReader(str(path)) as reader:
        for (start, stop), names in calls:
            columns = reader.read(names, start, stop)
            assert list(columns) == names
            if "MET" in columns:
                np.testing.assert_array_equal(columns["MET"].values, MET[start:stop])
            if "Jet_pt" in columns:
                jets = columns["Jet_pt"]
                np.testing.assert_array_equal(
                    jets.offsets, OFFSETS[start : stop + 1] - OFFSETS[start]
                )
                np.testing.assert_array_equal(jets.values, JETS[OFFSETS[start] : OFFSETS[stop]])


@pytest.mark.parametrize("chunk", [1, 64, 999])
def test_chunks_in_order_decode_every_row_once(path, chunk, monkeypatch):
    decoded = 0
    iterate = pq.ParquetFile.iter_batches

    def counting(self: pq.ParquetFile, **options: Any) -> Iterator[pa.RecordBatch]:
        nonlocal decoded
        for batch in iterate(self, **options):
            decoded += batch.num_rows
            yield batch

    def refuse(*_: object, **__: object) -> None:
        pytest.fail("whole row groups are read")

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", counting)
    monkeypatch.setattr(pq.ParquetFile, "read_row_groups", refuse)
    with ParquetReader(str(path)) as reader:
        parts = [
            reader.read(["MET", "Jet_pt"], start, min(start + chunk, EVENTS))["MET"].values
            for start in range(0, EVENTS, chunk)
        ]
    np.testing.assert_array_equal(np.concatenate(parts), MET)
    assert decoded == EVENTS
