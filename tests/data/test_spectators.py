"""Spectators: what the store holds of them, against uproot, awkward and rewritten files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pyarrow as pa
import pytest
import uproot

from helpers.files import Sample, make_analysis, make_sample, write_root
from particle_transformer.data import Store, check_inputs, prepare, read_manifest
from particle_transformer.data.chunk import Chunk, ChunkReader
from particle_transformer.data.rows import StoreRows
from particle_transformer.errors import AOTError, ExpressionError, InputFileError, SampleError

FILES = {"sig": "s.root", "bkg": "b.root", "data": "d.root"}
PROCESSES: dict[str, dict[str, Any]] = {
    "sig": {"class": "signal", "cross_section": 0.5, "files": ["s.root"]},
    "bkg": {"class": "background", "cross_section": 20.0, "files": ["b.root"]},
    "data": {"class": "data", "files": ["d.root"]},
}
DEFINE = {"met.pt": "MET_pt", "met.phi": "MET_phi", "ht": "sum(jets.pt)", "gen_met": "GenMET_pt"}
SPECTATORS = ["met.pt", "log(max(ht, 1))", "gen_met"]


def event(spectators: list[str], **changes: Any) -> dict[str, Any]:
    plain = {"define": DEFINE, "select": "met.pt > 20", "features": ["ht", "count(jets)"]}
    return {**plain, "spectators": spectators, **changes}


def samples() -> dict[str, Sample]:
    """Signal and background with the truth, data without."""
    given = {name: make_sample(seed, 120) for seed, name in enumerate(FILES)}
    for name in ("sig", "bkg"):
        met = given[name].flat["MET_pt"]
        given[name] = given[name].replaced(GenMET_pt=met * np.float32(0.75))
    return given


def written(base: Path, given: dict[str, Sample]) -> Path:
    for name, sample in given.items():
        write_root(base / FILES[name], sample)
    return base


def prepared(base: Path, spectators: list[str], **changes: Any) -> Store:
    content = {"processes": PROCESSES, "event": event(spectators), **changes}
    return Store(prepare(make_analysis(base, **content), base / "out"))


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return written(tmp_path, samples())


def shard_columns(store: Store, process: int) -> Any:
    entry = next(
        entry for entry in store.manifest.shards if store.manifest.inputs[entry.input].process
        == store.manifest.processes[process]
    )  # fmt: skip
    return pa.ipc.open_file(pa.memory_map(str(store.path / "shards" / entry.name))).read_all()


def test_what_uproot_and_awkward_give(base):
    store = prepared(base, SPECTATORS)
    assert store.manifest.spectators == SPECTATORS
    events = store.events()
    assert events.spectators.dtype == np.float32
    _, entries = store.origin()
    for number, name in enumerate(("sig", "bkg")):
        tree = uproot.open(base / FILES[name])["Events"].arrays()
        kept = tree[tree.MET_pt > 20]
        jets = kept.Jet_pt[(kept.Jet_pt > 30) & (abs(kept.Jet_eta) < 2.5)]
        own = events.spectators[events.process == number]
        np.testing.assert_array_equal(own[:, 0], kept.MET_pt)
        np.testing.assert_allclose(own[:, 1], np.log(np.maximum(ak.sum(jets, axis=1), 1)), 1e-6)
        np.testing.assert_array_equal(own[:, 2], kept.GenMET_pt)
        np.testing.assert_array_equal(
            entries[events.process == number], np.flatnonzero(tree.MET_pt > 20)
        )


def test_nothing_else_changes(base):
    """Not the features, and not the identity of events that have no number."""
    source: dict[str, Any] = {"event_number": None}
    without = prepared(base, [], source=source)
    assert without.events().spectators.shape == (len(without.events()), 0)
    assert "spectators" not in shard_columns(without, 0).column_names
    before = without.events()
    store = prepared(base, SPECTATORS, source=source)
    after = store.events()
    assert shard_columns(store, 0).column_names.count("spectators") == 1
    for name in ("event", "weight", "identity", "process"):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name))
    np.testing.assert_array_equal(after.objects["jets"].values, before.objects["jets"].values)


def test_pyarrow_reads_the_column(base):
    store = prepared(base, SPECTATORS)
    table = shard_columns(store, 1)
    table.validate(full=True)
    events = store.events()
    own = events.spectators[events.process == 1]
    assert table["spectators"].to_pylist() == own.tolist()
    assert len(own) > 50


def test_the_column_is_a_view_of_the_mapped_file(base):
    store = prepared(base, SPECTATORS)
    before = pa.total_allocated_bytes()
    spectators = store.shard(0).spectators
    assert pa.total_allocated_bytes() == before
    assert not spectators.flags.owndata
    assert not spectators.flags.writeable
    np.testing.assert_array_equal(spectators, store.events().spectators[: len(spectators)])


def test_rows_of_the_store_bring_their_spectators(base, monkeypatch):
    monkeypatch.setitem(prepare.__globals__, "CHUNK_ENTRIES", 50)
    store = prepared(base, ["met.pt", "event"])
    index = np.random.default_rng(1).permutation(len(StoreRows(store)))[:90]
    taken = StoreRows(store).take(index)
    np.testing.assert_array_equal(taken.spectators, store.events().spectators[index])
    np.testing.assert_array_equal(taken.spectators[:, 1], taken.identity[:, 0])


# -- recorded data has no truth ------------------------------------------------------------------


def test_data_without_the_truth_has_nan_there(base):
    store = prepared(base, SPECTATORS)
    events = store.events()
    own = events.spectators[events.process == 2]
    met = samples()["data"].flat["MET_pt"]
    np.testing.assert_array_equal(own[:, 0], met[met > 20])
    assert np.isnan(own[:, 2]).all()
    assert np.isfinite(events.spectators[events.process < 2]).all()
    assert store.manifest.non_finite == {"sig": {}, "bkg": {}, "data": {}}


def test_data_with_the_branch_has_its_value(base):
    data = samples()["data"]
    write_root(base / "d.root", data.replaced(GenMET_pt=data.flat["MET_pt"] * np.float32(2)))
    events = prepared(base, SPECTATORS).events()
    own = events.spectators[events.process == 2]
    np.testing.assert_array_equal(own[:, 2], own[:, 0] * 2)


def test_simulation_must_have_the_branch(base):
    write_root(base / "b.root", make_sample(1, 30))
    message = (
        r"b.root: 'GenMET_pt' is neither in the file nor defined in the analysis file; nearest: "
        r".*MET_pt"
    )
    for attempt in (lambda: prepared(base, ["gen_met"]), lambda: validated(base, ["gen_met"])):
        with pytest.raises(InputFileError, match=message):
            attempt()


def validated(base: Path, spectators: list[str]) -> None:
    check_inputs(make_analysis(base, processes=PROCESSES, event=event(spectators)))


def test_a_misspelt_spectator_is_found(base):
    with pytest.raises(InputFileError, match=r"s.root: 'met.p' is neither .*; nearest: met.pt"):
        validated(base, ["met.p"])


def test_a_wrong_expression_names_its_key(base):
    with pytest.raises(ExpressionError, match=r"^event.spectators.1: expression 'jets.pt'"):
        validated(base, ["ht", "jets.pt"])
    with pytest.raises(AOTError, match=r"^event.spectators.0: .*branch 'Jet_pt' holds a list"):
        validated(base, ["Jet_pt"])


# -- NaN and infinity ----------------------------------------------------------------------------


def test_what_is_not_finite_is_refused_by_its_name(base):
    with pytest.raises(SampleError, match=r"infinite: 'spectator: log\(count\(jets\)\)' in \d+ of"):
        prepared(base, ["ht", "log(count(jets))"])


def test_what_is_not_finite_is_dropped_and_counted(base):
    source = {"event_number": "event", "non_finite": "drop"}
    store = prepared(base, ["log(count(jets))"], source=source)
    events = store.events()
    assert np.isfinite(events.spectators).all()
    assert (events.event[:, 1] > 0).all()
    for name, sample in samples().items():
        jets, met = sample.jagged["Jet"], sample.flat["MET_pt"]
        count = ak.sum((jets["pt"] > 30) & (abs(jets["eta"]) < 2.5), axis=1)
        expected = int(np.count_nonzero((count == 0) & (met > 20)))
        assert expected > 0
        assert store.manifest.non_finite[name] == {"spectator: log(count(jets))": expected}


# -- variations ----------------------------------------------------------------------------------


def test_a_variation_of_the_met_equals_rewritten_files(tmp_path):
    given = samples()
    rewritten = {
        name: sample.replaced(MET_pt=sample.flat["MET_pt"] * np.float32(1.25))
        if name != "data" else sample
        for name, sample in given.items()
    }  # fmt: skip
    variations = {
        "MET": {"up": {"met.pt": "met.pt * 1.25"}},
        "jets": {"up": {"jets.mass": "mass * 2"}, "down": {"jets.pt": "pt * 0.5"}},
    }
    store = prepared(written(tmp_path / "v", given), SPECTATORS, variations=variations)
    expected = prepared(written(tmp_path / "e", rewritten), SPECTATORS).events()
    varied = store.events("MET.up")
    np.testing.assert_array_equal(varied.identity, expected.identity)
    np.testing.assert_array_equal(
        varied.spectators.view(np.uint32), expected.spectators.view(np.uint32)
    )
    np.testing.assert_array_equal(varied.event, expected.event)
    nominal, down = store.events(), store.events("jets.down")
    assert nominal.identity.tolist() != varied.identity.tolist()
    np.testing.assert_array_equal(down.spectators[:, [0, 2]], nominal.spectators[:, [0, 2]])
    softer = down.spectators[:, 1] < nominal.spectators[:, 1]
    np.testing.assert_array_equal(softer, nominal.event[:, 0] > down.event[:, 0])
    np.testing.assert_array_equal(store.events("jets.up").spectators, nominal.spectators)


def test_only_columns_that_change_are_stored(base):
    variations = {
        "MET": {"up": {"met.pt": "met.pt * 1.25"}, "down": {"met.pt": "met.pt * 1"}},
        "jets": {"up": {"jets.mass": "mass * 2"}, "down": {"jets.pt": "pt * 0.5"}},
    }
    store = prepared(base, SPECTATORS, variations=variations)
    columns = shard_columns(store, 0)
    varied = {name for name in columns.column_names if "@" in name and "region" not in name}
    assert varied == {
        "spectators@MET.up", "spectators@jets.down", "event@jets.down", "objects.jets@jets.down",
    }  # fmt: skip
    record = json.loads(columns.schema.metadata[b"chunk"])
    assert record["varied_columns"] == {
        "MET.up": {"spectators": [0]},
        "jets.down": {"event": [0, 1], "spectators": [1]},
    }
    assert columns["spectators@MET.up"].type.list_size == 1
    assert not [name for name in shard_columns(store, 2).column_names if "@" in name]


def test_files_that_replace_a_process_bring_their_own(base):
    other = make_sample(9, 70)
    write_root(base / "o.root", other.replaced(GenMET_pt=other.flat["MET_pt"] + np.float32(1)))
    variations = {"tune": {"up": {"processes.bkg.files": "o.root"}}}
    store = prepared(base, ["gen_met", "met.pt"], variations=variations)
    events = store.events("tune.up")
    own = events.spectators[events.process == 1]
    assert len(own) == np.count_nonzero(other.flat["MET_pt"] > 20)
    np.testing.assert_array_equal(own[:, 0], own[:, 1] + 1)


# -- what is prepared anew -----------------------------------------------------------------------


@pytest.fixture
def reads(monkeypatch) -> list[str]:
    """The files of which more than the first entries were read."""
    seen: list[str] = []
    read = ChunkReader.read

    def counted(self: ChunkReader, start: int, stop: int) -> Chunk:
        if stop - start > 100:
            seen.append(Path(self._file.path).name)
        return read(self, start, stop)

    monkeypatch.setattr(ChunkReader, "read", counted)
    return seen


def test_other_spectators_are_read_anew_and_the_same_are_not(base, reads):
    before = prepared(base, SPECTATORS).manifest
    assert reads == ["s.root", "b.root", "d.root"]
    reads.clear()
    assert prepared(base, SPECTATORS).manifest == before
    assert reads == []
    after = prepared(base, SPECTATORS[:1]).manifest
    assert reads == ["s.root", "b.root", "d.root"]
    assert after.fingerprint != before.fingerprint


def test_shards_are_used_again(base, reads):
    prepared(base, SPECTATORS)
    reads.clear()
    weights = {"generator": "genWeight", "pileup": "puWeight"}
    store = prepared(base, SPECTATORS, weights=weights)
    assert reads == ["s.root", "b.root"]  # data has no weights
    events = store.events()
    assert np.isnan(events.spectators[events.process == 2, 2]).all()


def test_the_training_and_parameters_leave_the_store_alone(base, reads):
    before = prepared(base, SPECTATORS)
    written_at = (before.path / "manifest.json").stat().st_mtime_ns
    reads.clear()
    parameters = {"mass": 500}
    processes = {**PROCESSES, "sig": {**PROCESSES["sig"], "parameters": parameters}}
    training = {"disco": {"against": ["met.pt"]}, "regression": {"targets": ["gen_met"]}}
    after = prepared(base, SPECTATORS, processes=processes, training=training)
    assert reads == []
    assert (after.path / "manifest.json").stat().st_mtime_ns == written_at
    elsewhere = prepare(
        make_analysis(base, processes=processes, event=event(SPECTATORS)), base / "elsewhere"
    )
    assert [shard.name for shard in read_manifest(elsewhere).shards] == [
        shard.name for shard in before.manifest.shards
    ]


def test_a_store_of_the_format_before_is_prepared_anew(base):
    store = prepared(base, SPECTATORS)
    path = store.path / "manifest.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "format_version": content["format_version"] - 1}))
    message = r"store format 2, expected 3; prepare the store anew$"
    with pytest.raises(InputFileError, match=message):
        Store(store.path)
    assert prepared(base, SPECTATORS).manifest == store.manifest
