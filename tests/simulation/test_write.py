from __future__ import annotations

from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np
import pyarrow.parquet as pq
import uproot

from particle_transformer.simulation.write import (
    joined_columns,
    load_columns,
    save_columns,
    write_parquet,
    write_root,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

COLUMNS: dict[str, NDArray[Any]] = {
    "run": np.ones(3, np.uint32),
    "event": np.array([1, 2, 2**63 + 5], np.uint64),
    "MET_pt": np.array([120.5, 3e5, 130.25], np.float32),
    "nJet": np.array([2, 0, 1], np.int32),
    "Jet_pt": np.array([50.5, 40, 30], np.float32),
    "Jet_hadronFlavour": np.array([5, 0, 4], np.int32),
    "nMuon": np.zeros(3, np.int32),
    "Muon_pt": np.zeros(0, np.float32),
}
COLUMNS_JETS = [[50.5, 40], [], [30]]
RUNS = {"run": 1, "genEventCount": 10, "genEventSumw": 10.000000000000002}


def test_root_and_parquet_hold_the_same_events(tmp_path):
    write_root(tmp_path / "a.root", [COLUMNS], RUNS)
    write_parquet(tmp_path / "a.parquet", [COLUMNS], RUNS)
    table = pq.read_table(tmp_path / "a.parquet")
    with uproot.open(tmp_path / "a.root") as file:
        events = file["Events"].arrays()
        runs = file["Runs"].arrays(library="np")
    assert set(events.fields) == set(table.column_names) == set(COLUMNS)
    for name in COLUMNS:
        assert events[name].to_list() == table.column(name).to_pylist()
    assert events.Jet_pt.to_list() == [[50.5, 40], [], [30]]
    assert events.event.to_list() == [1, 2, 2**63 + 5]
    assert ak.type(events.Jet_hadronFlavour).content.content.primitive == "int32"
    assert runs["genEventSumw"].tolist() == [10.000000000000002]
    metadata = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
    assert {name: type(RUNS[name])(value) for name, value in metadata.items()} == RUNS


def test_equal_columns_give_equal_parquet_bytes(tmp_path):
    for name in ("a", "b"):
        write_parquet(tmp_path / f"{name}.parquet", [COLUMNS], RUNS)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_chunks_round_trip(tmp_path):
    save_columns(tmp_path / "chunk.npz", COLUMNS)
    loaded = load_columns(tmp_path / "chunk.npz")
    assert list(loaded) == list(COLUMNS)
    for name, values in COLUMNS.items():
        assert loaded[name].dtype == values.dtype
        assert loaded[name].tobytes() == values.tobytes()


def test_pieces_hold_the_same_events_as_the_whole(tmp_path):
    paths = []
    for number in range(5):
        paths.append(tmp_path / f"{number}.npz")
        save_columns(paths[-1], COLUMNS | {"MET_pt": COLUMNS["MET_pt"] + number})
    pieces = list(joined_columns(paths, 6))  # chunks of three events
    assert [len(piece["event"]) for piece in pieces] == [6, 6, 3]
    (whole,) = joined_columns(paths, 100)
    for name, parts in (("pieces", pieces), ("whole", [whole])):
        write_root(tmp_path / f"{name}.root", parts, RUNS)
        write_parquet(tmp_path / f"{name}.parquet", parts, RUNS)
    tables = [pq.read_table(tmp_path / f"{name}.parquet") for name in ("pieces", "whole")]
    assert pq.ParquetFile(tmp_path / "pieces.parquet").num_row_groups == 3
    assert tables[0].equals(tables[1])
    assert tables[0].schema.equals(tables[1].schema, check_metadata=True)
    trees = [
        uproot.open(tmp_path / f"{name}.root")["Events"].arrays() for name in ("pieces", "whole")
    ]
    assert trees[0].fields == trees[1].fields
    for name in trees[0].fields:
        assert trees[0][name].to_list() == trees[1][name].to_list()
    assert trees[0]["Jet_pt"].to_list() == COLUMNS_JETS * 5
