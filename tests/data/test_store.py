"""The prepared store: readable by others, shared memory, refused when it is not whole."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np
import pyarrow as pa
import pytest

from helpers.files import make_analysis, write_pair
from particle_transformer.config import parse_analysis
from particle_transformer.data import Store, prepare, read_manifest
from particle_transformer.errors import InputFileError, OutputError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def store(tmp_path) -> Path:
    write_pair(tmp_path)
    return prepare(make_analysis(tmp_path, model={"pair_bias": True}), tmp_path / "out")


def shards(store: Path) -> list[Path]:
    return sorted((store / "shards").iterdir())


def test_columns_are_views_of_the_mapped_file(store):
    before = pa.total_allocated_bytes()
    events = Store(store).shard(0)
    assert pa.total_allocated_bytes() == before
    columns: list[Any] = [events.event, events.identity]
    columns += [*events.regions.values()]
    for collection in events.objects.values():
        assert collection.momenta is not None
        columns += [collection.values, collection.offsets, collection.momenta]
    for column in columns:
        assert not column.flags.writeable
        assert not column.flags.owndata


def test_pyarrow_alone_reads_every_column(store):
    manifest = json.loads((store / "manifest.json").read_text())
    tables = []
    assert {path.name for path in shards(store)} == {shard["name"] for shard in manifest["shards"]}
    for shard in manifest["shards"]:
        path = store / "shards" / shard["name"]
        with pa.memory_map(str(path)) as source:
            tables.append(pa.ipc.open_file(source).read_all())
        tables[-1].validate(full=True)
        assert tables[-1].num_rows == shard["rows"] == shard["events"]
    table = pa.concat_tables(tables)
    assert table.column_names == [
        "identity", "event_weight", "process", "era", "file", "entry", "region.signal", "event",
        "objects.jets", "momenta.jets",
    ]  # fmt: skip
    events = Store(store).events()
    assert table["event"].to_pylist() == events.event.tolist()
    assert table["identity"].to_pylist() == events.identity.tolist()
    counts = [len(jets) for jets in table["objects.jets"].to_pylist()]
    assert counts == events.objects["jets"].counts.tolist()
    processes = table["process"].to_pylist()
    factors = [manifest["normalisation"][name]["all"] for name in processes]
    physics = np.array(table["event_weight"]) * np.array(factors)
    assert processes == [manifest["processes"][index] for index in events.process]
    assert set(table["era"].to_pylist()) == {"all"}
    assert set(table["file"].to_pylist()) == {record["path"] for record in manifest["inputs"]}
    np.testing.assert_array_equal(events.weight, physics)


def test_awkward_reads_the_collections(store):
    tables = [
        pa.ipc.open_file(pa.memory_map(str(store / "shards" / shard.name))).read_all()
        for shard in read_manifest(store).shards
    ]
    array = {
        name: ak.concatenate([ak.from_arrow(table)[name] for table in tables])
        for name in ("objects.jets", "momenta.jets")
    }
    events = Store(store).events()
    jets = events.objects["jets"]
    assert ak.num(array["objects.jets"]).tolist() == jets.counts.tolist()
    assert ak.flatten(array["objects.jets"]).tolist() == jets.values.tolist()
    assert jets.momenta is not None
    assert ak.flatten(array["momenta.jets"]).tolist() == jets.momenta.tolist()


def test_manifest_says_where_everything_came_from(store, tmp_path):
    manifest = read_manifest(store)
    assert manifest.complete
    assert [record.path for record in manifest.inputs] == [
        str((tmp_path / name).resolve()) for name in ("s.root", "b.root")
    ]
    assert [record.size for record in manifest.inputs] == [
        (tmp_path / name).stat().st_size for name in ("s.root", "b.root")
    ]
    assert manifest.objects == {"jets": ["log(pt)", "eta"]}
    assert manifest.event == ["met.pt", "ht", "count(jets)"]
    assert manifest.events == len(Store(store).events())
    resolved = tmp_path / "resolved.yaml"
    resolved.write_text(manifest.analysis)
    assert "pair_bias: true" in manifest.analysis
    assert set(manifest.versions) >= {"analysis-object-transformer", "uproot", "pyarrow"}


def test_prepared_again_nothing_is_done(store, tmp_path):
    def state() -> dict[str, int]:
        return {str(path): path.stat().st_mtime_ns for path in sorted(store.rglob("*"))}

    before = state()
    calls: list[tuple[str, int, int]] = []
    analysis = make_analysis(tmp_path, model={"pair_bias": True})
    assert prepare(analysis, store, progress=lambda *call: calls.append(call)) == store
    assert state() == before
    assert calls == []


def test_training_settings_do_not_rebuild(store, tmp_path):
    before = (store / "manifest.json").stat().st_mtime_ns
    analysis = make_analysis(tmp_path, model={"pair_bias": True}, training={"folds": 3})
    prepare(analysis, store)
    assert (store / "manifest.json").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "changes",
    [
        {"event": {"select": "MET_pt > 40", "features": ["MET_pt"]}},
        {"luminosity": 11.0},
        {"model": {"pair_bias": False}},
        {"source": {"identity": ["run", "event"]}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_change_that_matters_rebuilds(store, tmp_path, changes):
    before = read_manifest(store)
    prepare(make_analysis(tmp_path, **{"model": {"pair_bias": True}, **changes}), store)
    after = read_manifest(store)
    assert after.fingerprint != before.fingerprint
    assert len(Store(store).events()) == after.events
    assert [path.name for path in tmp_path.iterdir() if "out" in path.name] == ["out"]


def test_a_changed_cut_changes_the_events(store, tmp_path):
    before = Store(store).events()
    event = {"select": "MET_pt > 100", "features": ["MET_pt"]}
    after = Store(prepare(make_analysis(tmp_path, event=event), store)).events()
    assert len(after) < len(before)
    assert (after.event[:, 0] > 100).all()


def test_a_changed_input_file_rebuilds(store, tmp_path):
    analysis = make_analysis(tmp_path, model={"pair_bias": True})
    before = read_manifest(store).events
    write_pair(tmp_path, events=90)
    assert read_manifest(prepare(analysis, store)).events > before


def test_bytes_are_deterministic(store, tmp_path):
    analysis = make_analysis(tmp_path, model={"pair_bias": True})
    again = prepare(analysis, tmp_path / "again")
    assert [path.read_bytes() for path in shards(store)] == [
        path.read_bytes() for path in shards(again)
    ]
    assert (store / "manifest.json").read_bytes() == (again / "manifest.json").read_bytes()


def test_the_resolved_analysis_makes_the_same_store(store, tmp_path):
    import yaml

    content = yaml.safe_load(read_manifest(store).analysis)
    again = prepare(parse_analysis(content, base=tmp_path), tmp_path / "again")
    assert read_manifest(again).fingerprint == read_manifest(store).fingerprint


# -- refused -----------------------------------------------------------------------------------


def edit(store: Path, **changes: object) -> None:
    path = store / "manifest.json"
    content = json.loads(path.read_text())
    content.update(changes)
    path.write_text(json.dumps({k: v for k, v in content.items() if v != "absent"}))


def test_not_a_store(tmp_path):
    with pytest.raises(InputFileError, match=r"not a prepared store \(no manifest.json\); make"):
        Store(tmp_path)
    with pytest.raises(InputFileError, match=r"nowhere: not a prepared store"):
        Store(tmp_path / "nowhere")


def test_incomplete_store(store):
    failed = {"path": "/data/s.root", "start": 7, "stop": 14, "error": "/data/s.root: is damaged"}
    edit(store, complete=False, failed=[failed])
    message = (
        r"out: the store is marked incomplete, 1 chunk is missing \(the first is /data/s.root, "
        r"entries 7 to 14: /data/s.root: is damaged\); mend the file and run aot prepare again, or "
        r"leave the file out with exclude under its process$"
    )
    with pytest.raises(InputFileError, match=message):
        Store(store)


@pytest.mark.parametrize("version", [0, 2, "absent"])
def test_store_of_another_format(store, version):
    edit(store, format_version=version)
    found = "None" if version == "absent" else version
    message = rf"manifest.json: store format {found}, expected 3; prepare the store anew$"
    with pytest.raises(InputFileError, match=message):
        Store(store)


@pytest.mark.parametrize("text", ["", "{", "[]", "\x00\x01"], ids=repr)
def test_damaged_manifest(store, text):
    (store / "manifest.json").write_text(text)
    with pytest.raises(InputFileError, match=r"manifest.json: .*; prepare the store anew$") as got:
        Store(store)
    assert "\n" not in str(got.value)


@pytest.mark.parametrize(
    "changes",
    [{"eras": "absent"}, {"surplus": 1}, {"cutflow": "absent"}, {"inputs": [{}]}],
    ids=str,
)
def test_manifest_with_missing_or_unknown_keys(store, changes):
    edit(store, **changes)
    with pytest.raises(InputFileError, match=r"manifest.json: a key is missing or unknown \("):
        Store(store)


def damage_cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def damage_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def damage_empty(path: Path) -> None:
    path.write_bytes(b"")


def damage_noise(path: Path) -> None:
    path.write_bytes(np.random.default_rng(1).bytes(path.stat().st_size))


def damage_missing(path: Path) -> None:
    path.unlink()


DAMAGES = [damage_cut, damage_half, damage_empty, damage_noise, damage_missing]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_shard(store, tmp_path, damage):
    damage(shards(store)[-1])
    with pytest.raises(
        InputFileError, match=r"[0-9a-f]{32}.arrow: missing or damaged \(.*; prepare"
    ):
        Store(store)
    # The advice works: preparing anew mends it, although the manifest says nothing changed.
    prepare(make_analysis(tmp_path, model={"pair_bias": True}), store)
    assert len(Store(store).events()) == read_manifest(store).events


def test_shard_of_another_store(store):
    shutil.copy(shards(store)[0], shards(store)[1])
    message = rf"{shards(store)[1].name}: holds \d+ events, expected \d+; pre"
    with pytest.raises(InputFileError, match=message):
        Store(store)


def test_altered_bytes_are_found(store, tmp_path):
    path = shards(store)[0]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputFileError, match=rf"{path.name}: its content has changed since it was"):
        Store(store).verify()
    # The advice works.
    path.unlink()
    prepare(make_analysis(tmp_path, model={"pair_bias": True}), store)
    Store(store).verify()


# -- only stores are replaced ------------------------------------------------------------------


def test_a_store_with_somebody_elses_file_in_it_is_not_replaced(store, tmp_path):
    (store / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"is not a prepared store \(it holds notes.txt\)"):
        prepare(make_analysis(tmp_path), store)
    assert (store / "notes.txt").read_text() == "mine"


def test_a_folder_with_another_programs_manifest_is_not_replaced(tmp_path):
    write_pair(tmp_path)
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "manifest.json").write_text('{"name": "app"}')
    with pytest.raises(OutputError, match=r"app: exists and is not a prepared store"):
        prepare(make_analysis(tmp_path), tmp_path / "app")
    assert (tmp_path / "app" / "manifest.json").read_text() == '{"name": "app"}'


def test_a_backup_beside_the_store_survives(store, tmp_path):
    (tmp_path / "out.old").mkdir()
    (tmp_path / "out.old" / "precious").write_text("mine")
    prepare(make_analysis(tmp_path, luminosity=3.0), store)
    assert (tmp_path / "out.old" / "precious").read_text() == "mine"


def test_an_empty_folder_is_filled(tmp_path):
    write_pair(tmp_path)
    (tmp_path / "empty").mkdir()
    assert len(Store(prepare(make_analysis(tmp_path), tmp_path / "empty")).events()) > 0


# -- two programs, one store -------------------------------------------------------------------


def test_a_second_program_is_told_to_wait(tmp_path):
    write_pair(tmp_path)
    analysis = make_analysis(tmp_path)
    told = []

    def progress(text: str, done: int, total: int) -> None:
        with pytest.raises(OutputError) as caught:
            prepare(analysis, tmp_path / "out")
        told.append(str(caught.value))

    out = prepare(analysis, tmp_path / "out", progress=progress)
    message = f"{tmp_path}/out: another aot prepare is writing this store; wait for it"
    assert told == [message, message]
    assert len(Store(out).events()) == read_manifest(out).events
    assert sorted(path.name for path in out.iterdir()) == ["manifest.json", "shards"]
