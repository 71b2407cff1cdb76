"""Every value of a reader equals, bit for bit, what the format's own library gives another way."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import awkward as ak
import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
import uproot

from particle_transformer.data.readers import open_reader

if TYPE_CHECKING:
    from particle_transformer.data.readers import Column

SHARED = Path(__file__).parents[2].parent / "shared" / "data"

pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="no shared files beside the repository")


def lists(column: Column) -> Any:
    """One Python number or list per event."""
    if column.offsets is None:
        return column.values.tolist()
    assert column.offsets[0] == 0
    assert column.offsets[-1] == len(column.values)
    pairs = zip(column.offsets[:-1], column.offsets[1:], strict=True)
    return [column.values[start:stop].tolist() for start, stop in pairs]


def assert_same(column: Column, expected: list[Any]) -> None:
    # repr of a float is exact, and NaN equals itself there.
    assert repr(lists(column)) == repr(expected)


# -- ROOT --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["nano_tt_v12", "nano_tt_v15", "nano_dy", "ttH_M125_2017", "EGamma_2022E_v13"]
)
def test_nanoaod(name):
    """Against uproot's NumPy objects, branch by branch."""
    path = SHARED / "nanoaod" / f"{name}.root"
    with (
        open_reader(str(path), file_format=None, tree="Events") as reader,
        uproot.open(path) as file,
    ):
        names = [branch for branch in reader.names if branch.startswith(("Jet_", "Muon_", "gen"))]
        columns = reader.read([*names, "run", "event"], 0, reader.entries)
        for branch, column in columns.items():
            expected = [value.tolist() for value in file["Events"][branch].array(library="np")]
            assert_same(column, expected)


DELPHES = SHARED / "delphes" / "delphes.root"


def test_delphes():
    """Against uproot's NumPy objects of ``Jet/Jet.PT``, all classes, all numbers."""
    with (
        open_reader(str(DELPHES), file_format=None, tree="Delphes") as reader,
        uproot.open(DELPHES) as file,
    ):
        single = {"Event", "EventLHEF", "GenMissingET", "MissingET", "ScalarHT"}
        names = [
            name
            for name in reader.names
            if name.split("_")[0] in single | {"Jet", "Electron", "Muon", "WeightLHEF", "Track"}
        ]
        columns = reader.read(names, 0, reader.entries)
        assert {"Jet_PT", "Jet_BTag", "MissingET_MET", "Event_Weight", "ScalarHT_HT"} <= set(names)
        for name, column in columns.items():
            cls, field = name.split("_", 1)
            if field == "size":
                assert_same(column, file["Delphes"][name].array(library="np").tolist())
                continue
            arrays = file[f"Delphes/{cls}/{cls}.{field}"].array(library="np")
            expected = [array.tolist() for array in arrays]
            if cls in single:
                assert column.offsets is None
                expected = [value for (value,) in expected]
            assert_same(column, expected)


def test_delphes_entry_range():
    with open_reader(str(DELPHES), file_format="delphes", tree="Delphes") as reader:
        whole = reader.read(["Jet_PT", "MissingET_MET"], 0, 25)
        part = reader.read(["Jet_PT", "MissingET_MET"], 7, 19)
    for name in whole:
        assert lists(part[name]) == lists(whole[name])[7:19]


# -- HDF5 --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["full_hadronic_ttbar", "semi_leptonic_ttH"])
def test_padded_hdf5_with_masks(name):
    """Against a loop over events with h5py's boolean masks."""
    path = SHARED / "spanet" / f"{name}.h5"
    with (
        open_reader(str(path), file_format=None, tree="unused") as reader,
        h5py.File(path) as file,
    ):
        columns = reader.read(reader.names, 0, reader.entries)
        seen = set()

        def compare(key: str, dataset: object) -> None:
            if not isinstance(dataset, h5py.Dataset):
                return
            column = columns[key.replace("/", "_")]
            seen.add(key.replace("/", "_"))
            group = dataset.parent
            values = dataset[:]
            if "MASK" in group and not key.endswith("MASK"):
                real = group["MASK"][:]
                expected = [
                    [x for x, good in zip(*pair, strict=True) if good]
                    for pair in zip(values.tolist(), real.tolist(), strict=True)
                ]
            else:
                expected = values.tolist()
            assert column.values.dtype == dataset.dtype
            assert_same(column, expected)

        file.visititems(compare)
        assert seen == set(reader.names)
        part = reader.read([reader.names[1]], 100, 250)[reader.names[1]]
        assert lists(part) == lists(columns[reader.names[1]])[100:250]


# -- Parquet -----------------------------------------------------------------------------------


def test_nanoaod_parquet():
    """Against pyarrow's to_pylist."""
    path = SHARED / "nanoaod" / "nano_dy.parquet"
    table = pq.read_table(path)
    with open_reader(str(path), file_format=None, tree="unused") as reader:
        assert reader.names == tuple(table.column_names)
        columns = reader.read(reader.names, 0, reader.entries)
    for name, column in columns.items():
        assert_same(column, table.column(name).to_pylist())


# -- numbered columns --------------------------------------------------------------------------


@pytest.mark.parametrize("tree", ["sig_tree", "bkg_tree"])
def test_numbered_columns(tree):
    path = SHARED / "higgs_root" / "Higgs_data.root"
    fields = ("pt", "eta", "phi", "b-tag")
    with (
        open_reader(str(path), file_format=None, tree=tree, numbered=("jet{}",)) as reader,
        uproot.open(path) as file,
    ):
        assert set(reader.names) >= {f"jet{{}}_{field}" for field in fields} | {"jet1_b-tag"}
        names = [f"jet{{}}_{field}" for field in fields]
        columns = reader.read([*names, "m_bb"], 5, 905)
        flat = {name: file[tree][name].array(library="np")[5:905] for name in file[tree].keys()}  # noqa: SIM118
    for field in fields:
        expected = ak.Array(np.stack([flat[f"jet{n}_{field}"] for n in (1, 2, 3, 4)], axis=1))
        assert_same(columns[f"jet{{}}_{field}"], expected.to_list())
    assert_same(columns["m_bb"], flat["m_bb"].tolist())
