"""Every wrong input is one line that names it, and nothing half-written is left."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot
import yaml

from helpers.files import (
    analysis_content,
    make_analysis,
    make_sample,
    write_pair,
    write_parquet,
    write_root,
    write_tree,
)
from particle_transformer.config import load_analysis
from particle_transformer.data import Store, check_inputs, prepare
from particle_transformer.data.chunk import Chunk, ChunkReader
from particle_transformer.errors import AOTError, InputFileError, OutputError, SampleError

if TYPE_CHECKING:
    from helpers.files import Sample


def leftovers(base: Path) -> list[str]:
    return sorted(path.name for path in base.iterdir() if path.name.startswith(("out", ".out")))


def refusal(base: Path, kind: type[AOTError], **changes: object) -> str:
    """The message of a preparation that fails and leaves no store, at most chunks it has read."""
    with pytest.raises(kind) as caught:
        prepare(make_analysis(base, **changes), base / "out")
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 600
    assert leftovers(base) in ([], ["out"])
    assert {path.suffix for path in (base / "out").rglob("*.*")} <= {".arrow"}
    return message


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    write_pair(tmp_path)
    return tmp_path


def processes(files: object, background: str = "b.root") -> dict[str, object]:
    return {
        "sig": {"class": "signal", "cross_section": 1.0, "files": files},
        "bkg": {"class": "background", "cross_section": 1.0, "files": [background]},
    }


# -- files -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "there"),
    [
        ("s1.root", "in {pair} nearest: s.root, b.root"),
        ("gone*.root", "in {pair} nearest: s.root, b.root"),
        (["s.root", "sub/**/gone.root"], "{pair} has no folder sub"),
        ("empty/gone.root", "{pair}/empty has no files"),
    ],
)
def test_no_such_file(pair, files, there):
    (pair / "empty").mkdir()
    pattern = files if isinstance(files, str) else files[-1]
    message = refusal(pair, InputFileError, processes=processes(files))
    said = there.format(pair=pair)
    assert message == f"processes.sig.files: no file matches '{pair / pattern}'; {said}"


def test_a_folder_is_no_file(pair):
    (pair / "s-folder").mkdir()
    message = refusal(pair, InputFileError, processes=processes("s-folder"))
    assert message.endswith(
        f"no file matches '{pair}/s-folder'; it is a folder, expected files as in folder/*.root"
    )


@pytest.mark.parametrize("name", ["mit Leerzeichen", "événements-ϕ", "run[1]", "a:b#c%20d"])
def test_any_name_of_a_folder_will_do(pair, name):
    """Of the analysis file, of the input files, found by a pattern, and of the store."""
    base = pair / name
    base.mkdir()
    for file in ("s.root", "b.root"):
        shutil.copyfile(pair / file, base / f"{name} {file}")
    analysis = analysis_content(processes=processes("* s.root", background="* b.root"))
    (base / f"{name}.yaml").write_text(yaml.safe_dump(analysis, sort_keys=False), "utf-8")
    found = Store(prepare(load_analysis(base / f"{name}.yaml"), base / f"{name} out"))
    expected = Store(prepare(make_analysis(pair, processes=processes("s.root")), pair / "plain"))
    assert [Path(record.path).parent.name for record in found.manifest.inputs] == [name, name]
    np.testing.assert_array_equal(found.events().identity, expected.events().identity)
    np.testing.assert_array_equal(found.events().weight, expected.events().weight)
    assert len(found.events()) > 50


@pytest.mark.parametrize("suffix", ["root", "parquet"])
def test_empty_file(pair, suffix):
    (pair / f"e.{suffix}").write_bytes(b"")
    message = refusal(pair, InputFileError, processes=processes(f"e.{suffix}"))
    assert message.startswith(f"{pair}/e.{suffix}: cannot be read as a")
    assert "it is empty, truncated or damaged (" in message


@pytest.mark.parametrize("suffix", ["root", "parquet"])
def test_file_of_another_kind(pair, suffix):
    (pair / f"e.{suffix}").write_text("these are not the events you are looking for\n" * 50)
    message = refusal(pair, InputFileError, processes=processes(f"e.{suffix}"))
    assert message.startswith(f"{pair}/e.{suffix}: cannot be read as a")


def add_tree(file: uproot.WritableDirectory, name: str, sample: Sample) -> None:
    content = {**sample.flat, "Jet": ak.zip(sample.jagged["Jet"])}
    file.mktree(
        name,
        {
            branch: values.type.content if isinstance(values, ak.Array) else values.dtype
            for branch, values in content.items()
        },
    )
    file[name].extend(content)


@pytest.mark.parametrize("share", [0.02, 0.2, 0.5, 0.9, 0.99, -1])
@pytest.mark.parametrize("suffix", ["root", "parquet"])
def test_truncated_file(pair, suffix, share):
    sample = make_sample(7, 400)
    whole = pair / "whole"
    (write_root if suffix == "root" else write_parquet)(whole, sample)
    content = whole.read_bytes()
    size = len(content) - 1 if share < 0 else int(share * len(content))
    (pair / f"t.{suffix}").write_bytes(content[:size])
    message = refusal(pair, InputFileError, processes=processes(f"t.{suffix}"))
    assert message.startswith(f"{pair}/t.{suffix}: ")
    assert "damaged" in message


@pytest.mark.parametrize("suffix", ["root", "parquet"])
def test_overwritten_middle_is_an_error_and_never_other_numbers(pair, suffix):
    """Damage inside compressed baskets or pages is found by the checks of the format."""
    sample = make_sample(7, 4000)
    path = pair / f"t.{suffix}"
    if suffix == "root":  # zlib's own checksum finds it
        write_root(path, sample)
    else:
        write_parquet(path, sample)
        pq.write_table(pq.read_table(path), path, write_page_checksum=True)
    content = bytearray(path.read_bytes())
    half = len(content) // 2
    content[half - 2000 : half + 2000] = bytes(4000)
    path.write_bytes(bytes(content))
    features = {"objects": {"jets": {"collection": "Jet", "features": [
        "pt", "eta", "phi", "mass", "btag"]}}}  # fmt: skip
    assert "damaged" in refusal(pair, InputFileError, processes=processes(path.name), **features)


def test_unguessable_ending(pair):
    (pair / "s.root").rename(pair / "s.ntuple")
    message = refusal(pair, InputFileError, processes=processes("s.ntuple"))
    assert message == (
        f"{pair}/s.ntuple: the format cannot be guessed from the file's ending; expected one of "
        f".root, .parquet, .pq, .h5, .hdf5, or say source.format in the analysis file"
    )
    settings = make_analysis(
        pair, processes=processes("s.ntuple"), source={"format": "root", "event_number": "event"}
    )
    assert len(Store(prepare(settings, pair / "out")).events()) > 0


def test_an_ending_of_another_format_than_the_declared_one(pair):
    (pair / "s.root").rename(pair / "s.parquet")
    source = {"format": "nanoaod", "event_number": "event"}
    message = refusal(pair, InputFileError, processes=processes("s.parquet"), source=source)
    assert message == (
        f"{pair}/s.parquet: its ending says parquet, but source.format of the analysis file is "
        "nanoaod; expected .root"
    )


def test_two_processes_matching_one_file(pair):
    message = refusal(pair, InputFileError, processes=processes(["s.root", "*.root"]))
    assert message.startswith(
        f"{pair}/b.root: matched by processes.sig (era all) and processes.bkg"
    )
    assert message.endswith(": name tree 'Events' of it once, or split it into two files")


def test_a_link_to_the_same_file_is_found_out(pair):
    (pair / "link.root").symlink_to(pair / "b.root")
    message = refusal(pair, InputFileError, processes=processes("link.root"))
    assert "matched by processes.sig (era all) and processes.bkg (era all)" in message


def test_a_table_has_no_trees_to_tell_two_processes_apart(tmp_path):
    write_parquet(tmp_path / "s.parquet", make_sample(1, 20))
    one = {"class": "signal", "cross_section": 1.0, "files": ["s.parquet"], "tree": "one"}
    two = {"class": "background", "cross_section": 1.0, "files": ["s.parquet"], "tree": "two"}
    message = refusal(tmp_path, InputFileError, processes={"sig": one, "bkg": two})
    assert "matched by processes.sig (era all) and processes.bkg (era all)" in message
    assert message.endswith(": name it once, or split it into two files")


def test_two_patterns_of_one_process_may_match_one_file(pair):
    settings = make_analysis(pair, processes=processes(["s.root", "s*.root"]))
    assert len(Store(prepare(settings, pair / "out")).manifest.inputs) == 2


@pytest.mark.parametrize("name", ["f.root", "what?.root"])
def test_two_trees_of_one_file_are_two_processes(tmp_path, name):
    with uproot.recreate(tmp_path / name) as file:
        for seed, tree in enumerate(("sig_tree", "bkg_tree"), 1):
            add_tree(file, tree, make_sample(seed, 20))
    settings = make_analysis(tmp_path, processes={
        "sig": {"class": "signal", "cross_section": 1.0, "files": name, "tree": "sig_tree"},
        "bkg": {"class": "background", "cross_section": 1.0, "files": name, "tree": "bkg_tree"},
    })  # fmt: skip
    manifest = Store(prepare(settings, tmp_path / "out")).manifest
    assert [record.tree for record in manifest.inputs] == ["sig_tree", "bkg_tree"]


# -- trees and branches ------------------------------------------------------------------------


def test_no_such_tree(pair):
    message = refusal(pair, InputFileError, source={"tree": "Event"})
    assert message == f"{pair}/s.root: no tree 'Event' in this file; nearest: Events"


def test_pair_bias_says_which_fields_it_needs(tmp_path):
    for name in "sb":
        sample = make_sample(1, 10)
        jets = {field: array for field, array in sample.jagged["Jet"].items() if field != "mass"}
        without = type(sample)(sample.flat, {**sample.jagged, "Jet": jets})
        write_root(tmp_path / f"{name}.root", without)
    message = refusal(tmp_path, InputFileError, model={"pair_bias": True})
    assert "field 'mass' of jets (branch 'Jet_mass') is neither in the file nor" in message
    assert message.endswith("; model.pair_bias needs pt, eta, phi, mass")


def test_pair_bias_takes_no_number_per_event_for_the_objects_mass(tmp_path):
    """An event's own ``mass`` (of the dijet, say) is not that of its jets."""
    for name in "sb":
        sample = make_sample(1, 10)
        jets = {field: array for field, array in sample.jagged["Jet"].items() if field != "mass"}
        flat = {**sample.flat, "mass": np.full(10, 125.0)}
        write_root(tmp_path / f"{name}.root", type(sample)(flat, {**sample.jagged, "Jet": jets}))
    message = refusal(tmp_path, InputFileError, model={"pair_bias": True})
    assert "field 'mass' of jets (branch 'Jet_mass') is neither in the file nor" in message
    assert message.endswith("; model.pair_bias needs pt, eta, phi, mass")
    event = {"define": {"mass": "MET_pt"}, "features": ["MET_pt"]}
    assert "field 'mass' of jets" in refusal(
        tmp_path, InputFileError, model={"pair_bias": True}, event=event
    )
    # Written under fields it is the user's own choice.
    objects = {"jets": {"collection": "Jet", "fields": {"mass": "mass"}, "features": ["pt"]}}
    prepare(make_analysis(tmp_path, model={"pair_bias": True}, objects=objects), tmp_path / "out")


@pytest.mark.parametrize("flat", [True, False])
def test_pair_bias_without_a_prefix_needs_a_list_per_event(tmp_path, flat):
    counts = np.full(10, 3)
    for name in "sb":
        fields = {field: ak.unflatten(np.full(30, 2.0), counts) for field in ("pt", "eta", "phi")}
        mass = np.full(10, 125.0) if flat else ak.unflatten(np.full(30, 5.0), counts)
        write_tree(tmp_path / f"{name}.root", {"met": np.ones(10), **fields, "mass": mass})
    changes = {
        "objects": {"jets": {"fields": {"pt": "pt"}, "features": ["pt"]}},
        "event": {"features": ["met"]},
        "weights": None,
        "source": None,
        "model": {"pair_bias": True},
    }
    if flat:
        message = refusal(tmp_path, InputFileError, **changes)
        assert "field 'mass' of jets: branch 'mass' holds one number per event" in message
        assert message.endswith("; model.pair_bias needs pt, eta, phi, mass")
    else:
        store = Store(prepare(make_analysis(tmp_path, **changes), tmp_path / "out"))
        momenta = store.events().objects["jets"].momenta
        assert momenta is not None
        # E² − p² = m²
        mass_squared = momenta[:, 3] ** 2 - (momenta[:, :3] ** 2).sum(axis=1)
        np.testing.assert_allclose(mass_squared, 25.0, rtol=1e-4)


def test_something_else_than_a_tree(tmp_path):
    write_pair(tmp_path)
    with uproot.recreate(tmp_path / "s.root") as file:
        file["Events"] = np.histogram(np.arange(5.0))
    message = refusal(tmp_path, InputFileError)
    assert message.endswith("'Events' is a TH1D, expected a TTree; the file holds no TTree")
    with uproot.update(tmp_path / "s.root") as file:
        add_tree(file, "Others", make_sample(1, 5))
    assert refusal(tmp_path, InputFileError).endswith("expected a TTree; known: Others")


def test_the_latest_cycle_is_read(tmp_path):
    write_pair(tmp_path)
    old, new = make_sample(5, 10), make_sample(6, 30)
    with uproot.recreate(tmp_path / "s.root") as file:
        for sample in (old, new):
            add_tree(file, "Events", sample)
        assert sorted(file.keys()) == ["Events;1", "Events;2"]
    store = Store(prepare(make_analysis(tmp_path), tmp_path / "out"))
    assert store.manifest.inputs[0].entries == 30


def test_ragged_and_flat_mixed(pair):
    objects = {"jets": {"collection": "Jet", "features": ["pt - sum(MET_pt)"]}}
    message = refusal(pair, AOTError, objects=objects)
    assert "works on the objects of each event, but x is one value" in message


def test_text_branch(tmp_path):
    for name in "sb":
        sample = make_sample(1, 10)
        write_parquet_columns(tmp_path / f"{name}.parquet", sample, label=[name] * 10)
    message = refusal(
        tmp_path,
        InputFileError,
        processes={
            "sig": {"class": "signal", "cross_section": 1.0, "files": "s.parquet"},
            "bkg": {"class": "background", "cross_section": 1.0, "files": "b.parquet"},
        },
        event={"features": ["label"]},
    )
    assert message == (
        f"{tmp_path}/s.parquet: branch 'label' holds string; expected one number, or a list of "
        f"numbers, per event"
    )


def write_parquet_columns(path: Path, sample, **columns: list[object]) -> None:
    write_parquet(path, sample)
    table = pq.read_table(path)
    for name, values in columns.items():
        table = table.append_column(name, pa.array(values))
    pq.write_table(table, path)


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([1.0, None, 3.0, 4.0], "?float64"),
        ([[1.0], [None], [], [2.0]], "?float64"),
        ([[[1.0]], [], [], []], "var"),
    ],
    ids=["missing value", "missing object", "list of lists"],
)
def test_columns_that_are_no_numbers(tmp_path, values, found):
    write_root(tmp_path / "b.root", make_sample(2, 30))
    write_parquet_columns(tmp_path / "s.parquet", make_sample(1, 4), odd=values)
    message = refusal(
        tmp_path, InputFileError, processes=processes("s.parquet"), weights={"generator": "odd"}
    )
    assert "s.parquet: branch 'odd' holds" in message
    assert found in message


def test_nullable_columns_without_a_missing_value_are_ordinary(tmp_path):
    write_root(tmp_path / "b.root", make_sample(2, 30).replaced(odd=np.ones(30)))
    write_parquet_columns(tmp_path / "s.parquet", make_sample(1, 4), odd=[1.0, 2.0, 3.0, 4.0])
    settings = make_analysis(
        tmp_path, processes=processes("s.parquet"), weights={"x": "odd"}, event={"features": []}
    )
    events = Store(prepare(settings, tmp_path / "out")).events()
    assert events.weight[events.process == 0].tolist() == [2500.0, 5000.0, 7500.0, 10000.0]
    assert events.event.shape == (34, 0)


# -- numbers that are none ---------------------------------------------------------------------


def spoilt(base: Path) -> dict[str, object]:
    """Signal with NaN and ±inf: MET in entries 1, 2, 3, pt of a jet in 3 and two jets of 4."""
    size = 20
    met = np.full(size, 100, dtype=np.float32)
    met[[1, 2, 3]] = [np.nan, np.inf, -np.inf]
    pt = [[50.0, 40.0] for _ in range(size)]
    pt[3] = [float("nan"), 40.0]
    pt[4] = [float("inf"), float("nan")]
    pt[7] = []
    content = {
        "event": np.arange(size, dtype=np.int64),
        "genWeight": np.ones(size, dtype=np.float32),
        "MET_pt": met,
        "Jet": ak.zip({"pt": ak.values_astype(ak.Array(pt), np.float32)}),
    }
    write_tree(base / "s.root", content)
    content["MET_pt"] = np.full(size, 100, dtype=np.float32)
    content["Jet"] = ak.zip({"pt": ak.values_astype(ak.Array([[50.0]] * size), np.float32)})
    write_tree(base / "b.root", content)
    return {
        "objects": {"jets": {"collection": "Jet", "features": ["pt"]}},
        "event": {"features": ["MET_pt", "count(jets)"]},
    }


def test_non_finite_features_are_counted_and_refused(tmp_path):
    message = refusal(tmp_path, SampleError, **spoilt(tmp_path))
    assert message == (
        "process sig: NaN or infinite: 'jets: pt' in 2, 'event: MET_pt' in 3 of 20 events; mend "
        "the expression (as in log(max(x, 0.1))) or set source.non_finite: drop"
    )


@pytest.mark.parametrize("entries", [100, 3])
def test_non_finite_features_are_dropped_and_counted(tmp_path, monkeypatch, entries):
    monkeypatch.setitem(prepare.__globals__, "CHUNK_ENTRIES", entries)
    source = {"event_number": "event", "non_finite": "drop"}
    settings = make_analysis(tmp_path, **spoilt(tmp_path), source=source)
    store = Store(prepare(settings, tmp_path / "out"))
    events = store.events()
    chosen = events.take(np.flatnonzero(events.process == 0))
    expected = sorted(set(range(20)) - {1, 2, 3, 4})
    assert chosen.identity[:, 0].tolist() == expected
    assert np.isfinite(chosen.event).all()
    assert np.isfinite(events.objects["jets"].values).all()
    assert store.manifest.non_finite == {"sig": {"jets: pt": 2, "event: MET_pt": 3}, "bkg": {}}
    rows = {row.cut: row for row in store.manifest.cutflow if row.process == "sig"}
    assert (rows["read"].events, rows["signal: all"].events, rows["kept"].events) == (20, 20, 16)
    # Σ w runs over all generated events: what was dropped is missing from the yield.
    assert rows["kept"].yield_ == pytest.approx(0.5e4 * 16 / 20)


def test_non_finite_values_of_unselected_events_do_no_harm(tmp_path):
    changes = spoilt(tmp_path)
    changes["event"] = {"select": "MET_pt > 0 and MET_pt < 1000 and sum(jets.pt) < 1000",
                        "features": ["MET_pt"]}  # fmt: skip
    store = Store(prepare(make_analysis(tmp_path, **changes), tmp_path / "out"))
    assert store.manifest.non_finite == {"sig": {}, "bkg": {}}


def test_overflow_to_float32_is_counted_like_any_infinity(tmp_path):
    changes = spoilt(tmp_path)
    changes["event"] = {"features": ["event * 1.0 * 1e38"]}
    changes["objects"] = {"jets": {"collection": "Jet", "features": ["where(pt > 0, 1, 1)"]}}
    message = refusal(tmp_path, SampleError, **changes)
    assert "'event: event * 1.0 * 1e38' in 16 of 20 events" in message  # above 3.4e38


def test_non_finite_momenta_are_counted(tmp_path):
    write_root(tmp_path / "b.root", make_sample(2, 30))
    sample = make_sample(1, 30)
    jets = dict(sample.jagged["Jet"])
    counts = ak.num(jets["mass"])
    mass = ak.to_numpy(ak.flatten(jets["mass"])).copy()
    mass[:] = np.nan
    jets["mass"] = ak.unflatten(mass, counts)
    write_root(tmp_path / "s.root", type(sample)(sample.flat, {**sample.jagged, "Jet": jets}))
    changes = {
        "objects": {"jets": {"collection": "Jet", "features": ["pt"]}},
        "event": {"features": ["MET_pt"]},
        "model": {"pair_bias": True},
    }
    message = refusal(tmp_path, SampleError, **changes)
    assert f"'jets: momentum' in {int(ak.sum(counts > 0))} of 30 events" in message


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_weights(tmp_path, bad):
    write_root(tmp_path / "b.root", make_sample(2, 30))
    weight = np.ones(30, dtype=np.float32)
    weight[[4, 9]] = bad
    met = np.full(30, 100, dtype=np.float32)
    met[9] = 1  # one of them fails the selection; the sum of weights needs it all the same
    write_root(tmp_path / "s.root", make_sample(1, 30).replaced(genWeight=weight, MET_pt=met))
    message = refusal(tmp_path, SampleError)
    assert message.startswith("process sig: NaN or infinite: 'weight' in 2 of 30 events")
    source = {"event_number": "event", "non_finite": "drop"}
    store = Store(prepare(make_analysis(tmp_path, source=source), tmp_path / "out"))
    events = store.events()
    signal = events.weight[events.process == 0]
    assert signal.tolist() == pytest.approx([0.5e4 / 28] * 28)
    assert store.manifest.non_finite["sig"] == {"weight": 2}


# -- samples -----------------------------------------------------------------------------------


def test_process_with_no_event_left(pair):
    event = {"select": "MET_pt > 1e6", "features": ["MET_pt"]}
    message = refusal(pair, SampleError, event=event)
    assert message == (
        "process sig: none of its 60 events is left after the selections of signal (MET_pt > 1e6);"
        " loosen them or take the process out"
    )


def test_blinded_data_with_nothing_left_says_so(pair):
    write_root(pair / "d.root", make_sample(3, 20))
    with_data = {**processes("s.root"), "met": {"class": "data", "files": "d.root"}}
    regions = {"signal": {"select": "True", "role": "signal", "blind": True}}
    message = refusal(
        pair, SampleError, processes=with_data, regions=regions, event={"features": ["MET_pt"]}
    )
    assert message.startswith("process met: none of its 20 events is left")
    assert "without those in blind regions (--unblind reads them)" in message


def test_tree_without_entries(pair):
    write_root(pair / "s.root", make_sample(1, 5).taken(slice(0, 0)))
    message = refusal(pair, SampleError)
    assert message.startswith("process sig: none of its 0 events is left")


def test_an_empty_file_beside_a_full_one_is_fine(pair):
    write_root(pair / "s0.root", make_sample(1, 5).taken(slice(0, 0)))
    store = Store(prepare(make_analysis(pair, processes=processes("s*.root")), pair / "out"))
    assert [record.entries for record in store.manifest.inputs] == [60, 0, 60]


@pytest.mark.parametrize(("kept_weights", "total"), [([1, -1], "0"), ([1, -3], "-")])
def test_class_without_positive_weight(pair, kept_weights, total):
    """The generated sum is positive, but what the selection leaves of it is not."""
    size = 12
    weight = np.full(size, 5, dtype=np.float32)
    weight[:2] = kept_weights
    met = np.full(size, 1, dtype=np.float32)
    met[:2] = 100
    write_root(pair / "b.root", make_sample(1, size).replaced(genWeight=weight, MET_pt=met))
    message = refusal(pair, SampleError)
    assert message.startswith(
        f"class background (bkg): the total weight of its selected events is {total}"
    )
    assert message.endswith("expected a positive one; mend its weights, or add events")


# -- expressions that cannot be evaluated ------------------------------------------------------


def jets(**settings: object) -> dict[str, object]:
    return {"jets": {"collection": "Jet", "features": ["pt"], **settings}}


@pytest.mark.parametrize(
    ("key", "changes"),
    [
        ("event.features.1", {"event": {"features": ["MET_pt", "jets.pt"]}}),
        ("objects.jets.features.1", {"objects": jets(features=["pt", "pt and eta"])}),
        ("objects.jets.select", {"objects": jets(select="pt + 1")}),
        (
            "objects.jets.fields.z",
            {"objects": jets(fields={"z": "pt and eta"}, features=["pt", "z"])},
        ),
        (
            "regions.a.select",
            {
                "regions": {"a": {"role": "signal", "select": "sum(jets.pt) + 1"}},
                "event": {"features": ["MET_pt"]},
            },
        ),
        ("weights.pileup", {"weights": {"generator": "genWeight", "pileup": "jets.pt"}}),
        (
            "event.define.ht",
            {"event": {"define": {"ht": "jets.pt"}, "features": ["MET_pt", "log(ht + 1)"]}},
        ),
    ],
)
def test_an_error_in_an_expression_begins_with_its_key(pair, key, changes):
    message = refusal(pair, AOTError, **changes)
    assert message.startswith(f"{key}: ")
    assert message.count(f"{key}: ") == 1
    # aot validate refuses it with the same words.
    with pytest.raises(AOTError) as caught:
        check_inputs(make_analysis(pair, **changes))
    assert str(caught.value) == message


def test_an_error_keeps_its_class_beside_its_key(pair):
    message = refusal(pair, InputFileError, event={"features": ["Jet_pt"]})
    assert message.startswith(f"event.features.0: {pair}/s.root: branch 'Jet_pt' holds a list")


def test_a_floating_identity_is_refused_before_anything_is_read_whole(pair):
    with pytest.raises(InputFileError, match=r"'MET_pt' of source.identity holds float"):
        check_inputs(make_analysis(pair, source={"identity": ["MET_pt"]}))


def test_checking_reads_the_first_entries_only_and_writes_nothing(pair, monkeypatch):
    spans: list[tuple[int, int]] = []
    read = ChunkReader.read

    def recording(self: ChunkReader, start: int, stop: int) -> Chunk:
        spans.append((start, stop))
        return read(self, start, stop)

    monkeypatch.setattr(ChunkReader, "read", recording)
    monkeypatch.setitem(check_inputs.__globals__, "CHECKED_ENTRIES", 17)
    before = sorted(pair.rglob("*"))
    assert [entries for _, entries in check_inputs(make_analysis(pair))] == [60, 60]
    assert spans == [(0, 17), (0, 17)]
    assert sorted(pair.rglob("*")) == before


# -- outputs -----------------------------------------------------------------------------------


def test_output_is_a_file(pair):
    (pair / "results").write_text("mine")
    with pytest.raises(OutputError, match=r"results: exists and is not a folder; give --out"):
        prepare(make_analysis(pair), pair / "results")
    assert (pair / "results").read_text() == "mine"


def test_output_is_somebody_elses_folder(pair):
    (pair / "thesis").mkdir()
    (pair / "thesis" / "chapter.tex").write_text("mine")
    with pytest.raises(OutputError, match=r"thesis: exists and is not a prepared store \(it holds"):
        prepare(make_analysis(pair), pair / "thesis")
    assert (pair / "thesis" / "chapter.tex").read_text() == "mine"


def test_output_below_a_file(pair):
    (pair / "file").write_text("mine")
    with pytest.raises(OutputError, match=r"file/out: cannot be written \(.+\)$"):
        prepare(make_analysis(pair), pair / "file" / "out")
    assert (pair / "file").read_text() == "mine"


@pytest.mark.parametrize("out", [".", "..", "/"])
def test_output_without_a_name_of_its_own(pair, monkeypatch, out):
    (pair / "empty").mkdir()
    monkeypatch.chdir(pair / "empty")
    with pytest.raises(OutputError, match=r"give --out a folder with its own name"):
        prepare(make_analysis(pair), Path(out))
    assert list((pair / "empty").iterdir()) == []


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from helpers.files import make_analysis
from particle_transformer.data import prepare
from particle_transformer.errors import OutputError
base = Path(sys.argv[1])
analysis = make_analysis(base)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
try:
    prepare(analysis, base / "out")
except OutputError as error:
    print(error)
"""


@pytest.mark.parametrize("limit", [0, 3000], ids=["first byte", "within a shard"])
def test_writing_fails_in_mid_run(pair, limit):
    tests = str(Path(__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(pair), tests, str(limit)],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    assert done.stdout.startswith(f"{pair}/out: cannot be written (")
    assert "too large" in done.stdout
    assert len(done.stdout.splitlines()) == 1
    assert leftovers(pair) == []


def test_interrupt_in_mid_run_leaves_what_is_finished_to_the_next_run(pair, monkeypatch):
    whole = prepare(make_analysis(pair), pair / "whole")
    seen: list[tuple[str, int, int]] = []

    def progress(text: str, done: int, total: int) -> None:
        seen.append((text, done, total))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(make_analysis(pair), pair / "out", progress=progress)
    assert [path.suffix for path in (pair / "out").rglob("*.*")] == [".arrow"]
    with pytest.raises(
        InputFileError, match=r"out: not a prepared store \(no manifest.json\); mak"
    ):
        Store(pair / "out")
    prepare(make_analysis(pair), pair / "out", progress=lambda *call: seen.append(call))
    assert [text for text, *_ in seen] == ["reading (sig)", "reading (bkg)"]
    assert [path.read_bytes() for path in sorted((pair / "out").rglob("*.*"))] == [
        path.read_bytes() for path in sorted(whole.rglob("*.*"))
    ]


def test_failure_removes_the_parents_it_made(pair):
    (pair / "mine").mkdir()
    event = {"features": ["MET_ptt"]}
    before = sorted(pair.rglob("*"))
    for out in (pair / "zz" / "a" / "b", pair / "mine" / "c" / "d"):
        with pytest.raises(InputFileError):
            prepare(make_analysis(pair, event=event), out)
        assert sorted(pair.rglob("*")) == before


def test_failure_keeps_a_made_parent_that_somebody_else_uses(pair):
    def progress(text: str, done: int, total: int) -> None:
        (pair / "zz" / "notes").write_text("mine")
        for shard in pair.rglob("*.arrow"):
            shard.unlink()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(make_analysis(pair), pair / "zz" / "a" / "b", progress=progress)
    assert [path.name for path in (pair / "zz").iterdir()] == ["notes"]


def test_interrupt_leaves_the_older_store(pair):
    out = prepare(make_analysis(pair), pair / "out")
    before = (out / "manifest.json").read_bytes()

    def progress(text: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(make_analysis(pair, event={"features": ["MET_pt"]}), out, progress=progress)
    assert (out / "manifest.json").read_bytes() == before
    Store(out).verify()
    assert len(Store(out).events()) > 0
    assert leftovers(pair) == ["out"]


def test_failure_leaves_the_older_store(pair):
    out = prepare(make_analysis(pair), pair / "out")
    before = (out / "manifest.json").read_bytes()
    event = {"select": "MET_pt > 1e6", "features": ["MET_pt"]}
    with pytest.raises(SampleError):
        prepare(make_analysis(pair, event=event), out)
    assert (out / "manifest.json").read_bytes() == before
    assert leftovers(pair) == ["out"]


def test_failure_to_write_the_manifest_leaves_the_older_store(pair, monkeypatch):
    out = prepare(make_analysis(pair), pair / "out")
    before = (out / "manifest.json").read_bytes()
    move = Path.replace

    def refuse_manifest(self: Path, target: Path) -> Path:
        if target.name == "manifest.json":
            raise PermissionError(13, "Permission denied")
        return move(self, target)

    monkeypatch.setattr(Path, "replace", refuse_manifest)
    with pytest.raises(OutputError, match=r"out: cannot be written \(Permission denied\)$"):
        prepare(make_analysis(pair, luminosity=2.0), out)
    assert (out / "manifest.json").read_bytes() == before
    Store(out).verify()
    assert sorted(path.name for path in out.iterdir()) == ["manifest.json", "shards"]


def test_progress_rises_to_the_size_of_the_files(pair, monkeypatch):
    monkeypatch.setitem(prepare.__globals__, "CHUNK_ENTRIES", 13)
    calls: list[tuple[str, int, int]] = []
    prepare(make_analysis(pair), pair / "out", progress=lambda *call: calls.append(call))
    total = sum((pair / name).stat().st_size for name in ("s.root", "b.root"))
    done = [call[1] for call in calls]
    assert done == sorted(done)
    assert done[-1] == total
    assert {call[2] for call in calls} == {total}
    assert len(calls) == 10
    assert [text for text, *_ in calls[::5]] == ["reading (sig)", "reading (bkg)"]
