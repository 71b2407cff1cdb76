"""Names, values and refusals of each format, on files with a known truth."""

from __future__ import annotations

import http.server
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import awkward as ak
import fsspec
import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot

from particle_transformer.data.readers import open_reader
from particle_transformer.data.readers.arrays import to_column
from particle_transformer.errors import AnalysisFileError, InputFileError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from particle_transformer.data.readers import Column

DELPHES = Path(__file__).parents[2].parent / "shared" / "data" / "delphes" / "delphes.root"
needs_delphes = pytest.mark.skipif(not DELPHES.is_file(), reason="no shared files")

PT = [[50.5, 20.25], [], [30.0]]
MET = [1.5, 2.5, 3.5]


def lists(column: Column) -> Any:
    return (
        column.values.tolist()
        if column.offsets is None
        else ak.unflatten(column.values, np.diff(column.offsets)).to_list()
    )


def read(path: object, *names: str, **options: Any) -> dict[str, Any]:
    settings = {"file_format": None, "tree": "Events", **options}
    with open_reader(str(path), **settings) as reader:
        columns = reader.read(names, 0, reader.entries)
        assert list(columns) == list(names)
        return {name: lists(column) for name, column in columns.items()}


def refusal(path: object, *names: str, **options: Any) -> str:
    with pytest.raises(InputFileError) as caught:
        read(path, *names, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(str(path))
    return message.removeprefix(f"{path}: ")


def write(path: Path) -> Path:
    """Three events with jets and MET in the format of the file's ending."""
    jets = ak.values_astype(ak.Array(PT), np.float32)
    if path.suffix == ".root":
        with uproot.recreate(path) as file:
            file.mktree("Events", {"Jet": "var * {pt: float32}", "MET_pt": "float64"})
            file["Events"].extend({"Jet": ak.zip({"pt": jets}), "MET_pt": np.array(MET)})
    elif path.suffix == ".parquet":
        column = ak.to_arrow(jets, extensionarray=False)
        pq.write_table(pa.table({"Jet_pt": column, "MET_pt": MET}), path)
    else:
        with h5py.File(path, "w") as file:
            file["Jet/pt"] = np.array([[50.5, 20.25], [-1, -1], [-1, 30]], dtype=np.float32)
            file["Jet/MASK"] = np.array([[True, True], [False, False], [False, True]])
            file["MET/pt"] = np.array(MET)
    return path


ENDINGS = ["root", "parquet", "h5"]


# -- every format ------------------------------------------------------------------------------


@pytest.mark.parametrize("stem", ["a", "mit Leerzeichen", "événements-ϕ", "a:b", "a#b%20c"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_names_of_files(tmp_path, ending, stem):
    folder = tmp_path / stem
    folder.mkdir()
    path = write(folder / f"{stem}.{ending}")
    assert read(path, "Jet_pt", "MET_pt") == {"Jet_pt": PT, "MET_pt": MET}


class Ranges(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, and ranges of bytes as servers of data do."""

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        content = path.read_bytes()
        start, stop = 0, len(content)
        if asked := self.headers.get("Range"):
            first, last = asked.removeprefix("bytes=").split("-")
            start, stop = int(first), min(int(last) + 1 if last else stop, stop)
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(content)}")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(stop - start))
        self.end_headers()
        self.wfile.write(content[start:stop])


@pytest.fixture
def server(tmp_path) -> Iterator[str]:
    handler = partial(Ranges, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as started:
        threading.Thread(target=started.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{started.server_port}"
        started.shutdown()


@pytest.mark.parametrize("ending", ENDINGS)
def test_urls(tmp_path, server, ending):
    path = write(tmp_path / f"a.{ending}")
    memory = fsspec.filesystem("memory")
    memory.pipe(f"/readers/a.{ending}", path.read_bytes())
    expected = {"Jet_pt": PT, "MET_pt": MET}
    for url in (
        f"{server}/a.{ending}",
        f"{server}/a.{ending}?token=b.c",
        f"file://{path}",
        f"memory://readers/a.{ending}",
    ):
        assert read(url, *expected) == expected
    memory.rm("/readers", recursive=True)


@pytest.mark.parametrize("ending", ENDINGS)
def test_urls_that_lead_nowhere(tmp_path, server, ending):
    assert refusal(f"{server}/gone.{ending}").startswith("cannot be opened (")
    assert refusal(f"memory://readers/gone.{ending}").startswith("cannot be opened (")
    assert "nosuch" in refusal(f"nosuch://host/a.{ending}")


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_folder_and_a_missing_file(tmp_path, ending):
    folder = tmp_path / f"a.{ending}"
    folder.mkdir()
    assert refusal(folder) == "is a folder; expected a file"
    assert refusal(tmp_path / f"gone.{ending}").startswith("cannot be opened (")


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("share", [0.0, 0.01, 0.1, 0.3, 0.6, 0.9, 0.99])
def test_truncated(tmp_path, ending, share):
    whole = write(tmp_path / f"whole.{ending}").read_bytes()
    path = tmp_path / f"a.{ending}"
    path.write_bytes(whole[: int(share * len(whole))])
    assert "damaged" in refusal(path, "Jet_pt", "MET_pt")


@pytest.mark.parametrize("ending", ENDINGS)
def test_no_entries(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    if ending == "root":
        with uproot.recreate(path) as file:
            file.mktree("Events", {"Jet": "var * {pt: float32}", "MET_pt": "float64"})
    elif ending == "parquet":
        schema = pa.schema({"Jet_pt": pa.list_(pa.float32()), "MET_pt": pa.float64()})
        pq.write_table(schema.empty_table(), path)
    else:
        with h5py.File(path, "w") as file:
            file["Jet/pt"] = np.empty((0, 4), dtype=np.float32)
            file["Jet/MASK"] = np.empty((0, 4), dtype=np.bool_)
            file["MET/pt"] = np.empty(0)
    with open_reader(str(path), file_format=None, tree="Events") as reader:
        assert reader.entries == 0
        columns = reader.read(["Jet_pt", "MET_pt"], 0, 0)
    assert columns["Jet_pt"].values.dtype == np.float32
    assert columns["Jet_pt"].values.shape == (0,)
    assert columns["Jet_pt"].offsets is not None
    assert columns["Jet_pt"].offsets.tolist() == [0]
    assert columns["MET_pt"].values.dtype == np.float64
    assert columns["MET_pt"].offsets is None


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("dtype", ["f4", "f8", "i2", "i4", "i8", "u1", "u4", "u8", "?"])
def test_every_kind_of_number_keeps_its_type(tmp_path, ending, dtype):
    values = np.array([0, 1, 1], dtype=dtype)
    path = tmp_path / f"a.{ending}"
    if ending == "root":
        with uproot.recreate(path) as file:
            file.mktree("Events", {"x": values.dtype})
            file["Events"].extend({"x": values})
    elif ending == "parquet":
        pq.write_table(pa.table({"x": values}), path)
    else:
        with h5py.File(path, "w") as file:
            file["x"] = values
    with open_reader(str(path), file_format=None, tree="Events") as reader:
        found = reader.read(["x"], 0, 3)["x"].values
    assert found.dtype == values.dtype
    np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize("ending", ENDINGS)
def test_no_such_branch(tmp_path, ending):
    path = write(tmp_path / f"a.{ending}")
    message = refusal(path, "Jet_p")
    assert message.startswith("no branch 'Jet_p' in this file; nearest: Jet_pt")


@pytest.mark.parametrize(
    ("offsets", "found"),
    [([0, 3, 2, 5], "from 3 to 2"), ([-1, 0, 2, 5], "from -1 to 0"), ([0, 3, 4, 9], "from 4 to 9")],
)
def test_offsets_that_lead_astray(offsets, found):
    layout = ak.contents.ListOffsetArray(
        ak.index.Index64(np.array(offsets)), ak.contents.NumpyArray(np.arange(5.0))
    )
    with pytest.raises(InputFileError) as caught:
        to_column(ak.Array(layout), "Jet_pt", "a.root")
    message = str(caught.value)
    assert message.startswith("a.root: branch 'Jet_pt': the list of entry ")
    assert f"{found} of 5 numbers; the file is damaged" in message


# -- ROOT --------------------------------------------------------------------------------------


def test_rntuple(tmp_path):
    path = tmp_path / "a.root"
    jets = ak.values_astype(ak.Array(PT), np.float32)
    with uproot.recreate(path) as file:
        file["Events"] = {
            "event": np.arange(3, dtype=np.int64),
            "Jet": ak.zip({"pt": jets, "eta": jets * 2}),
            "Muon_pt": jets,
            "MET": ak.zip({"pt": np.array(MET)}),
        }
        file["Runs"] = {"genEventCount": np.array([5, 7]), "genEventSumw": np.array([2.5, 4.0])}
    with open_reader(str(path), file_format="nanoaod", tree="Events") as reader:
        assert set(reader.names) == {"event", "Jet_pt", "Jet_eta", "Muon_pt", "MET_pt"}
        columns = reader.read(["Jet_pt", "MET_pt", "Muon_pt", "event"], 1, 3)
        assert {name: lists(column) for name, column in columns.items()} == {
            "Jet_pt": PT[1:], "MET_pt": MET[1:], "Muon_pt": PT[1:], "event": [1, 2]
        }  # fmt: skip
        assert columns["Jet_pt"].values.dtype == np.float32
        sums = reader.generated()
        assert sums is not None
        assert (sums.count, sums.sum_of_weights) == (12.0, 6.5)
    assert refusal(path, "Jet").startswith("branch 'Jet' holds a record of pt, eta; expected one")
    assert "no tree 'Event' in this file; nearest: Events" in refusal(path, tree="Event")
    assert refusal(path, file_format="delphes").startswith("tree 'Events' has no branches of Delph")


def test_the_latest_of_several_cycles(tmp_path):
    path = tmp_path / "a.root"
    with uproot.recreate(path) as file:
        for cycle in (1, 2, 3):
            file.mktree("Events", {"x": np.int64})
            file["Events"].extend({"x": np.full(cycle, cycle)})
    with uproot.open(path) as file:
        assert len(file.keys()) == 3
    assert read(path, "x") == {"x": [3, 3, 3]}


def test_a_list_whose_length_the_counter_denies(tmp_path):
    """A counter written by hand beside the list, one object short in entry 2."""
    path = write(tmp_path / "a.root")
    content = bytearray(path.read_bytes())
    with uproot.open(path) as file:
        key = file["Events"]["nJet"].basket_key(0)
        start = key.fSeekKey + key.fKeylen
        assert key.fNbytes - key.fKeylen == key.fObjlen  # too short to be compressed
    assert content[start : start + 12] == np.array([2, 0, 1], dtype=">i4").tobytes()
    content[start : start + 12] = np.array([2, 0, 0], dtype=">i4").tobytes()
    path.write_bytes(content)
    assert refusal(path, "Jet_pt") == (
        "entry 2: branch 'Jet_pt' holds 1 numbers, 'nJet' says 0; the file is damaged, fetch or "
        "write it again"
    )


@needs_delphes
def test_delphes_names(tmp_path):
    with open_reader(str(DELPHES), file_format=None, tree="Delphes") as reader:
        assert {"Jet_PT", "MissingET_MET", "Event_Weight", "ScalarHT_HT", "Jet_size"} <= set(
            reader.names
        )
        for name, found in {
            "Jet_Tau": "float[][5]",
            "Electron_Particle": "TRef[]",
            "Jet_SoftDroppedJet": "TLorentzVector[]",
            "Jet_fBits": "the bookkeeping of ROOT's TObject",
        }.items():
            assert name not in reader.names
            with pytest.raises(InputFileError) as caught:
                reader.read([name], 0, 1)
            assert f"branch {name!r} holds {found}; expected one number, or" in str(caught.value)
    # As a plain tree the branches keep their own names.
    assert len(read(DELPHES, "Jet.PT", file_format="root", tree="Delphes")["Jet.PT"]) == 25
    assert "nearest: Delphes" in refusal(DELPHES, tree="delphes")


@needs_delphes
def test_two_objects_where_delphes_writes_one(monkeypatch):
    """Were jets of a class with one object per event, the first event with two is named."""
    monkeypatch.setattr("particle_transformer.data.readers.delphes._ONE_PER_EVENT", ("Jet",))
    with uproot.open(DELPHES) as file:
        sizes = file["Delphes/Jet_size"].array(library="np")
    first = int(np.argmax(sizes != 1))
    message = refusal(DELPHES, "Jet_PT", tree="Delphes")
    assert message == (
        f"entry {first}: branch 'Jet_PT' holds {sizes[first]} numbers, expected one per event"
    )


def test_a_plain_tree_is_not_delphes(tmp_path):
    path = write(tmp_path / "a.root")
    assert refusal(path, file_format="delphes") == (
        "tree 'Events' has no branches of Delphes' form (Jet/Jet.PT beside Jet_size); say "
        "source.format: root"
    )


# -- HDF5 --------------------------------------------------------------------------------------


def hdf5(path: Path, **datasets: Any) -> Path:
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            file[name.replace("__", "/")] = values
    return path


def test_hdf5_without_a_mask_everything_is_real(tmp_path):
    path = hdf5(tmp_path / "a.h5", jets__pt=np.arange(6.0).reshape(3, 2), met=np.array(MET))
    assert read(path, "jets_pt", "met") == {"jets_pt": [[0, 1], [2, 3], [4, 5]], "met": MET}


@pytest.mark.parametrize("name", ["MASK", "mask", "Mask"])
@pytest.mark.parametrize("dtype", ["?", "u1", "i8"])
def test_hdf5_masks(tmp_path, name, dtype):
    mask = np.array([[1, 0], [0, 0], [1, 1]], dtype=dtype)
    path = hdf5(
        tmp_path / "a.h5", **{f"j__{name}": mask, "j__pt": np.arange(6.0).reshape(3, 2)}, x=MET
    )
    assert read(path, "j_pt") == {"j_pt": [[0], [], [4, 5]]}


@pytest.mark.parametrize(
    ("mask", "found"),
    [
        (np.ones((3, 4), dtype=np.bool_), "has shape (3, 4), /j/pt (3, 2); expected the same"),
        (np.ones(3, dtype=np.bool_), "has shape (3,), /j/pt (3, 2); expected the same"),
        (np.ones((3, 2)), "holds float64; expected bool, or 0 and 1 (1: a real object)"),
        (np.full((3, 2), 2, dtype=np.uint8), "holds 2; expected only 0 and 1"),
        (np.full((3, 2), -1, dtype=np.int8), "holds -1; expected only 0 and 1"),
    ],
)
def test_hdf5_masks_that_are_none(tmp_path, mask, found):
    path = hdf5(tmp_path / "a.h5", j__MASK=mask, j__pt=np.arange(6.0).reshape(3, 2), x=MET)
    message = refusal(path, "j_pt")
    assert message.startswith("mask /j/MASK ")
    assert found in message


def test_hdf5_datasets_that_are_not_offered(tmp_path):
    path = hdf5(
        tmp_path / "a.h5", x=MET, y=MET, edges=np.arange(7.0), cube=np.ones((3, 2, 2)),
        label=np.array([b"a", b"b", b"c"]), pair=np.zeros(3, dtype=[("a", "f4"), ("b", "i8")]),
        one=1.0,
    )  # fmt: skip
    with open_reader(str(path), file_format=None, tree="") as reader:
        assert reader.names == ("x", "y")
    for name, found in {
        "edges": "7 rows where most have 3",
        "cube": "an array of shape (3, 2, 2)",
        "label": "text or objects",
        "pair": "a record of a, b",
        "one": "an array of shape ()",
    }.items():
        assert refusal(path, name).startswith(f"branch {name!r} holds {found}; expected one number")


def test_hdf5_table(tmp_path):
    table = np.array(
        [(1.5, 7, b"a"), (2.5, 8, b"b")], dtype=[("pt", ">f4"), ("n", "i8"), ("s", "S1")]
    )
    path = hdf5(tmp_path / "a.h5", events=table)
    with open_reader(str(path), file_format="hdf5", tree="") as reader:
        assert reader.names == ("pt", "n")
        columns = reader.read(["n", "pt"], 1, 2)
    assert columns["pt"].values.dtype == np.dtype("=f4")
    assert {name: lists(column) for name, column in columns.items()} == {"n": [8], "pt": [2.5]}
    assert "branch 's' holds text" in refusal(path, "s")


def test_hdf5_lengths_in_dispute(tmp_path):
    path = hdf5(tmp_path / "a.h5", x=np.ones(3), y=np.ones(4))
    assert refusal(path) == (
        "as many datasets have 3 rows as have 4; expected one length, the number of events, in "
        "most of them"
    )
    assert refusal(hdf5(tmp_path / "b.h5", label=np.array([b"a"]))) == (
        "no dataset of numbers in this file"
    )


def test_hdf5_two_datasets_of_one_name(tmp_path):
    path = hdf5(tmp_path / "a.h5", j__pt=np.ones(3), j_pt=np.ones(3))
    assert refusal(path) == "/j/pt and /j_pt would both be the branch 'j_pt'; rename one"


def test_hdf5_chunks_that_were_never_written(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        values = file.create_dataset("x", shape=(100,), chunks=(10,), dtype="f8")
        values[:50] = 1.0
    assert refusal(path, "x").startswith("rows 50 to 60 of /x are not stored; the file is damaged")
    with open_reader(str(path), file_format=None, tree="") as reader:
        assert reader.read(["x"], 20, 50)["x"].values.tolist() == [1.0] * 30
        with pytest.raises(InputFileError, match="rows 50 to 60"):
            reader.read(["x"], 20, 51)


# -- Parquet -----------------------------------------------------------------------------------


@pytest.mark.parametrize("groups", [2, 3])
def test_parquet_records(tmp_path, groups):
    jets: list[Any] = [[{"pt": 1.0, "n": 1}, {"pt": 2.0, "n": 2}], [], [{"pt": 3.0, "n": 3}]]
    met = [{"pt": value, "label": "x"} for value in MET]
    path = tmp_path / "a.parquet"
    kind = pa.struct({"pt": pa.float32(), "n": pa.int16()})
    columns = {
        "Jet": pa.array(jets, pa.list_(kind)),
        "Large": pa.array(jets, pa.large_list(kind)),
        "Pair": pa.array(
            [[row[0] if row else {"pt": 0, "n": 0}] * 2 for row in jets], pa.list_(kind, 2)
        ),
        "MET": pa.array(met),
        "x": pa.array([1, 2, 3]),
    }
    pq.write_table(pa.table(columns), path, row_group_size=groups)
    with open_reader(str(path), file_format=None, tree="") as reader:
        assert reader.names == (
            "Jet_pt", "Jet_n", "Large_pt", "Large_n", "Pair_pt", "Pair_n", "MET_pt", "MET_label", "x"
        )  # fmt: skip
        wanted = ["x", "Jet_n", "MET_pt", "Jet_pt", "Large_n", "Pair_pt"]
        for start, stop in ((0, 3), (1, 3), (2, 2)):
            found = reader.read(wanted, start, stop)
            expected: dict[str, list[Any]] = {
                "x": [1, 2, 3], "Jet_n": [[1, 2], [], [3]], "MET_pt": MET,
                "Jet_pt": [[1, 2], [], [3]], "Large_n": [[1, 2], [], [3]],
                "Pair_pt": [[1, 1], [0, 0], [3, 3]],
            }  # fmt: skip
            assert {name: lists(column) for name, column in found.items()} == {
                name: values[start:stop] for name, values in expected.items()
            }
        assert found["Jet_n"].values.dtype == np.int16
    assert refusal(path, "MET_label").startswith("branch 'MET_label' holds string; expected")


def test_parquet_decodes_only_the_leaves_asked_for(tmp_path, monkeypatch):
    path = tmp_path / "a.parquet"
    table = pa.table({"Jet": [[{"pt": 1.0, "eta": 2.0}]], "MET": [{"pt": 1.0, "phi": 0.0}]})
    pq.write_table(table, path)
    asked: list[Any] = []
    iterate = pq.ParquetFile.iter_batches

    def noting(self: pq.ParquetFile, **options: Any) -> Any:
        asked.append(options["columns"])
        return iterate(self, **options)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", noting)
    assert read(path, "Jet_eta", "MET_phi") == {"Jet_eta": [[2.0]], "MET_phi": [0.0]}
    assert asked == [["Jet.list.element.eta", "MET.phi"]]


def test_parquet_missing_records_are_refused(tmp_path):
    path = tmp_path / "a.parquet"
    table = pa.table({"Jet": [[{"pt": 1.0}], None, [None]], "MET": [{"pt": 1.0}, None, None]})
    pq.write_table(table, path)
    assert "branch 'Jet_pt' holds" in refusal(path, "Jet_pt")
    assert "branch 'MET_pt' holds ?float64" in refusal(path, "MET_pt")


# -- numbered columns --------------------------------------------------------------------------


def numbered(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def test_numbered_in_numeric_order(tmp_path):
    columns = {f"jet{n}_pt": [float(n), 100.0 + n] for n in (10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0)}
    path = numbered(tmp_path / "a.parquet", **columns, met=[1.0, 2.0])
    found = read(path, "met", "jet{}_pt", "jet3_pt", numbered=("jet{}",))
    assert found == {
        "met": [1.0, 2.0],
        "jet{}_pt": [[float(n) for n in range(11)], [100.0 + n for n in range(11)]],
        "jet3_pt": [3.0, 103.0],
    }


@pytest.mark.parametrize("ending", ["root", "h5"])
def test_numbered_columns_of_every_format(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    columns = {f"lep_{n}_pt": np.array([n, -999.0]) for n in (1, 2)}
    if ending == "root":
        with uproot.recreate(path) as file:
            file.mktree("Events", {name: values.dtype for name, values in columns.items()})
            file["Events"].extend(columns)
    else:
        hdf5(
            path,
            events=np.rec.fromarrays(
                list(columns.values()), dtype=[(name, "f8") for name in columns]
            ),
        )
    found = read(path, "lep_{}_pt", numbered=("lep_{}",))
    assert found == {"lep_{}_pt": [[1.0, 2.0], [-999.0, -999.0]]}


@pytest.mark.parametrize(
    ("columns", "found"),
    [
        ({"jet1_pt": [1.0], "jet3_pt": [1.0]}, "are numbered 1, 3; expected 0, 1, … or 1, 2, …"),
        ({"jet2_pt": [1.0], "jet3_pt": [1.0]}, "are numbered 2, 3; expected 0, 1, … or 1, 2, …"),
        (
            {"jet1_pt": [1.0], "jet2_pt": [1.0], "jet3_pt": [1.0], "jet2_m": [1.0]},
            "'jet{}_m': number 1, 3 has no such branch (jet2_m have)",
        ),
        ({"jet1_m": [1], "jet2_m": [1.0]}, "of 'jet{}_m' hold double"),
        ({"jet1_m": [[1]], "jet2_m": [[1]]}, "branch 'jet1_m' of 'jet{}_m' holds a list per event"),
        ({"jet1_m": [1], "jet01_m": [1]}, "'jet1_m' and 'jet01_m' are both number 1 of 'jet{}'"),
        ({"jet_m": [1]}, "no branch is numbered as 'jet{}' asks (such as 'jet1_pt'); "),
    ],
)
def test_numbers_that_do_not_fit(tmp_path, columns, found):
    path = numbered(tmp_path / "a.parquet", **columns)
    found = found.replace("hold double", "hold float64, int64; expected one kind of number")
    assert found in refusal(path, "jet{}_m", numbered=("jet{}",))


@pytest.mark.parametrize("prefix", ["jet", "{}{}"])
def test_a_prefix_has_one_place_for_the_number(tmp_path, prefix):
    path = numbered(tmp_path / "a.parquet", jet1_pt=[1.0])
    with pytest.raises(AnalysisFileError, match=r"expected one {} in the place of the number"):
        open_reader(str(path), file_format=None, tree="", numbered=(prefix,))
