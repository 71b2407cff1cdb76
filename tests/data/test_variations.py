"""Variations against preparing input files that were rewritten with the varied values."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

import awkward as ak
import correctionlib.schemav2 as schema
import numpy as np
import pyarrow as pa
import pytest

from helpers.files import Sample, make_analysis, make_sample, write_root
from particle_transformer.data import Store, prepare
from particle_transformer.data.rows import StoreRows
from particle_transformer.errors import InputFileError, SampleError
from particle_transformer.events import Events
from particle_transformer.training.roles import fold_samples

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


FILES = {"sig": ("s.root", 1, 150), "bkg": ("b.root", 2, 150), "data": ("d.root", 3, 80)}

CONTENT: dict[str, Any] = {
    "processes": {
        "sig": {"class": "signal", "cross_section": 0.5, "files": ["s.root"]},
        "bkg": {"class": "background", "cross_section": 20.0, "files": ["b.root"]},
        "data": {"class": "data", "files": ["d.root"]},
    },
    "objects": {
        "jets": {
            "collection": "Jet",
            "fields": {"scaled": "pt * 2", "twice": "scaled + 1"},
            "select": "pt > 30 and abs(eta) < 2.5",
            "clean": {"against": ["muons"], "dr": 0.4},
            "sort_by": "pt",
            "max": 3,
            "features": ["log(pt)", "eta", "delta_phi(phi, met.phi)", "twice", "pt / ht", "index(jets)"],
        },
        "muons": {
            "collection": "Muon",
            "select": "pt > 25",
            "sort_by": "pt",
            "features": ["eta", "pt", "pt / (1 + count(jets))"],
        },
    },
    "event": {
        "define": {
            "met.pt": "MET_pt",
            "met.phi": "MET_phi",
            "ht": "sum(jets.pt)",
            "lead": "leading(jets.pt, default=0)",
        },
        "features": ["met.pt", "lead / (1 + ht)", "count(muons)", "sum(jets.twice)", "puWeight"],
    },
    "regions": {
        "signal": {"select": "met.pt > 60 and ht > 80", "role": "signal"},
        "control": {"select": "count(jets) == 1 and met.pt < 60", "role": "control"},
    },
    "weights": {"generator": "genWeight", "pileup": "puWeight", "top": "exp(-ht / 1000)"},
    "model": {"pair_bias": True},
}  # fmt: skip


def samples() -> dict[str, Sample]:
    return {name: make_sample(seed, events) for name, (_, seed, events) in FILES.items()}


def prepared(base: Path, content: dict[str, Any], given: dict[str, Sample]) -> Store:
    for name, sample in given.items():
        write_root(base / FILES[name][0], sample)
    return Store(prepare(make_analysis(base, **content), base / "out"))


def changed(sample: Sample, collection: str, **fields: ak.Array) -> Sample:
    jagged = {**sample.jagged, collection: {**sample.jagged[collection], **fields}}
    return Sample(sample.flat, jagged)


def columns(events: Events) -> dict[str, Any]:
    """Every column, as bits."""
    found = {
        "event": events.event.view(np.uint32),
        "weight": events.weight.view(np.uint64),
        "identity": events.identity,
        "process": events.process,
        "era": events.era,
        **{f"region {name}": flags for name, flags in events.regions.items()},
    }
    for name, ragged in events.objects.items():
        found[f"{name} offsets"] = ragged.offsets
        found[f"{name} values"] = ragged.values.view(np.uint32)
        assert ragged.momenta is not None
        found[f"{name} momenta"] = ragged.momenta.view(np.uint32)
    return found


def assert_same(found: Events, expected: Events) -> None:
    one, other = columns(found), columns(expected)
    assert one.keys() == other.keys()
    for name, values in one.items():
        np.testing.assert_array_equal(values, other[name], err_msg=name)


def places(store: Store, variation: str | None = None) -> list[tuple[int, int]]:
    """Input and entry of each event."""
    files, entries = store.origin(variation)
    return list(zip(files.tolist(), entries.tolist(), strict=True))


def schemas(store: Store) -> list[set[str]]:
    """Columns of each shard, in the order of the inputs."""
    return [
        set(pa.ipc.open_file(pa.memory_map(str(store.path / "shards" / entry.name))).schema.names)
        for entry in store.manifest.shards
    ]


@dataclass(frozen=True)
class Scenario:
    side: dict[str, Any]
    rewrite: Callable[[Sample], Sample] = lambda sample: sample
    changes: dict[str, Any] = field(default_factory=dict)


def times(collection: str, factor: float, *names: str) -> Callable[[Sample], Sample]:
    def rewrite(sample: Sample) -> Sample:
        fields = sample.jagged[collection]
        scaled = {
            name: ak.values_astype(fields[name] * np.float32(factor), np.float32) for name in names
        }
        return changed(sample, collection, **scaled)

    return rewrite


def by_side(sample: Sample) -> Sample:
    jets = sample.jagged["Jet"]
    factor = ak.values_astype(ak.where(jets["eta"] > 0, 1.5, 0.5), np.float32)
    return changed(sample, "Jet", pt=jets["pt"] * factor)


def replaced(section: str, name: str, **changes: Any) -> dict[str, Any]:
    old = CONTENT[section][name]
    return {section: {**CONTENT[section], name: {**old, **changes}}}


SCENARIOS = {
    "energy up": Scenario({"jets.pt": "pt * 1.25", "jets.mass": "mass * 1.25"},
                          times("Jet", 1.25, "pt", "mass")),
    "energy down": Scenario({"jets.pt": "pt * 0.7", "jets.mass": "mass * 0.7"},
                            times("Jet", 0.7, "pt", "mass")),
    "another order": Scenario({"jets.pt": "where(eta > 0, pt * 1.5, pt * 0.5)"}, by_side),
    "overlap removal": Scenario({"muons.pt": "pt * 1.5"}, times("Muon", 1.5, "pt")),
    "no order, no cap": Scenario(
        {"jets.pt": "pt * 1.25"}, times("Jet", 1.25, "pt"),
        replaced("objects", "jets", sort_by=None, max=None, clean=None)),
    "quantity": Scenario(
        {"met.pt": "met.pt * 1.25"},
        lambda sample: sample.replaced(MET_pt=sample.flat["MET_pt"] * np.float32(1.25))),
    "swapped": Scenario(  # both sides of an exchange take the nominal values
        {"met.pt": "abs(met.phi) * 30", "met.phi": "met.pt / 100"},
        lambda sample: sample.replaced(
            MET_pt=np.abs(sample.flat["MET_phi"]) * np.float32(30),
            MET_phi=sample.flat["MET_pt"] / np.float32(100))),
    "both at once": Scenario(
        {"jets.pt": "pt * 1.25", "muons.pt": "pt * 1.5", "met.pt": "met.pt * 1.25"},
        lambda sample: times("Muon", 1.5, "pt")(times("Jet", 1.25, "pt")(
            sample.replaced(MET_pt=sample.flat["MET_pt"] * np.float32(1.25))))),
    "with a weight": Scenario(
        {"jets.pt": "pt * 1.25", "weights.pileup": "puWeight * puWeight"},
        times("Jet", 1.25, "pt")),
}  # fmt: skip


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_side_equals_rewritten_files(tmp_path: Path, name: str) -> None:
    scenario = SCENARIOS[name]
    content = {**CONTENT, **scenario.changes}
    nominal = samples()
    store = prepared(
        tmp_path / "varied", {**content, "variations": {"v": {"up": scenario.side}}}, nominal
    )
    rewritten = {
        key: sample if key == "data" else scenario.rewrite(sample)
        for key, sample in nominal.items()
    }
    other = content
    if "weights.pileup" in scenario.side:
        other = {**content, "weights": {**CONTENT["weights"], "pileup": "puWeight * puWeight"}}
    plain = prepared(tmp_path / "plain", content, nominal)
    expected = prepared(tmp_path / "rewritten", other, rewritten)
    assert store.manifest.variations == ["v.up"]
    assert_same(store.events("v.up"), expected.events())
    assert_same(store.events(), plain.events())
    for one, two in ((store.origin("v.up"), expected.origin()), (store.origin(), plain.origin())):
        for found, wanted in zip(one, two, strict=True):
            np.testing.assert_array_equal(found, wanted)
    assert store.manifest.cutflow == plain.manifest.cutflow
    assert store.manifest.truncated == plain.manifest.truncated
    assert [entry.kept for entry in store.manifest.inputs] == [
        entry.kept for entry in plain.manifest.inputs
    ]


def test_events_enter_and_leave(tmp_path: Path) -> None:
    """The comparison above is of different events, or it would prove little."""
    scenario = SCENARIOS["another order"]
    store = prepared(tmp_path, {**CONTENT, "variations": {"v": {"up": scenario.side}}}, samples())
    nominal, varied = (set(places(store, side)) for side in (None, "v.up"))
    assert len(nominal - varied) > 5
    assert len(varied - nominal) > 5
    assert len(nominal & varied) > 20
    rows = sum(entry.rows for entry in store.manifest.shards)
    assert rows == len(nominal | varied)
    assert sum(entry.events for entry in store.manifest.shards) == len(nominal)


def test_a_defined_field_and_what_is_computed_from_it(tmp_path: Path) -> None:
    nominal = samples()
    side = {"jets.scaled": "scaled * 1.5"}
    store = prepared(tmp_path / "v", {**CONTENT, "variations": {"v": {"up": side}}}, nominal)
    fields = {"scaled": "(pt * 2) * 1.5", "twice": "scaled + 1"}
    expected = prepared(
        tmp_path / "e", {**CONTENT, **replaced("objects", "jets", fields=fields)}, nominal
    ).events()
    own = expected.process != 2
    varied = store.events("v.up")
    assert_same(varied.take(np.flatnonzero(own)), expected.take(np.flatnonzero(own)))
    assert_same(
        varied.take(np.flatnonzero(~own)),
        store.events().take(np.flatnonzero(store.events().process == 2)),
    )


def recoiled(sample: Sample, factor: float, least: float | None) -> Sample:
    """The MET after jets (of pt > `least`) grow by `factor`: a loop in float64."""
    jets = {name: array.to_list() for name, array in sample.jagged["Jet"].items()}
    pt, phi = sample.flat["MET_pt"].copy(), sample.flat["MET_phi"].copy()
    for event in range(len(sample)):
        x = float(pt[event]) * np.cos(float(phi[event]))
        y = float(pt[event]) * np.sin(float(phi[event]))
        moved = False
        for old, angle in zip(jets["pt"][event], jets["phi"][event], strict=True):
            if least is not None and not old > least:
                continue
            new = float(np.float32(old) * np.float32(factor))
            x -= (new - old) * np.cos(angle)
            y -= (new - old) * np.sin(angle)
            moved = True
        if moved:
            pt[event], phi[event] = np.hypot(x, y), np.arctan2(y, x)
    return sample.replaced(MET_pt=pt, MET_phi=phi)


@pytest.mark.parametrize(("condition", "least"), [(True, None), ("pt > 40", 40.0)])
def test_the_met_recoils(tmp_path: Path, condition: bool | str, least: float | None) -> None:
    nominal = samples()
    variation = {
        "up": {"jets.pt": "pt * 1.25"},
        "down": {"jets.pt": "pt * 0.8"},
        "propagate_to_met": condition,
    }
    store = prepared(tmp_path / "v", {**CONTENT, "variations": {"JES": variation}}, nominal)
    for side, factor in (("up", 1.25), ("down", 0.8)):
        rewritten = {
            name: sample
            if name == "data"
            else times("Jet", factor, "pt")(recoiled(sample, factor, least))
            for name, sample in nominal.items()
        }
        found = store.events(f"JES.{side}")
        expected = prepared(tmp_path / side, CONTENT, rewritten).events()
        np.testing.assert_array_equal(found.identity, expected.identity)
        assert found.regions.keys() == expected.regions.keys()
        for name, flags in found.regions.items():
            np.testing.assert_array_equal(flags, expected.regions[name])
        np.testing.assert_array_equal(found.weight, expected.weight)
        np.testing.assert_allclose(found.event, expected.event, rtol=2e-7)
        for name, ragged in found.objects.items():
            other = expected.objects[name]
            np.testing.assert_array_equal(ragged.offsets, other.offsets)
            np.testing.assert_array_equal(ragged.momenta, other.momenta)
            np.testing.assert_allclose(ragged.values, other.values, rtol=2e-7, atol=1e-6)
        met = store.events().event[:, 0]
        assert not set(met[store.events().process < 2]) >= set(found.event[found.process < 2, 0])


def test_columns_are_there_only_where_something_differs(tmp_path: Path) -> None:
    variations = {
        "pileup": {"up": {"weights.pileup": "puWeight * 1.5"}, "down": {"weights.pileup": "puWeight"}},
        "met": {"up": {"met.pt": "met.pt * 1.01"}},
        "muons": {"up": {"muons.mass": "mass * 2"}},
        "jets": {"up": {"jets.scaled": "scaled * 1.5"}, "down": {"jets.pt": "pt * 0.5"}},
        "none": {"up": {"jets.pt": "pt * 1"}},
        "unused": {"up": {"jets.btag": "btag * 0.5"}},
    }  # fmt: skip
    store = prepared(tmp_path, {**CONTENT, "variations": variations}, samples())
    for number, names in enumerate(schemas(store)):
        by_side: dict[str, set[str]] = {}
        for name in names:
            column, at, side = name.partition("@")
            if at:
                by_side.setdefault(side, set()).add(column)
        if number == 2:
            assert not by_side, "data does not vary"
            continue
        assert by_side.pop("met.up") - {"region.signal", "region.control"} == {"event"}
        assert by_side.pop("jets.down") == {
            *("objects.jets", "momenta.jets", "event", "event_weight"),
            *("region.signal", "region.control"),
            "objects.muons",  # of which only the feature with the jets
        }
        assert by_side == {
            "pileup.up": {"event_weight"},
            "muons.up": {"objects.muons", "momenta.muons"},
            "jets.up": {"objects.jets", "momenta.jets", "event"} - {"momenta.jets"},
        }


def test_what_differs_only_in_events_that_are_left_out_is_not_stored(tmp_path: Path) -> None:
    """An event that is spoilt in all variations leaves no trace."""
    given = samples()
    muon = ak.to_numpy(ak.num(given["sig"].jagged["Muon"]["pt"])) > 0
    spoilt = np.where(muon, np.nan, given["sig"].flat["puWeight"]).astype(np.float32)
    given["sig"] = given["sig"].replaced(puWeight=spoilt)
    content = {**CONTENT, "source": {"event_number": "event", "non_finite": "drop"}, "weights": {"generator": "genWeight"},
               "variations": {"v": {"up": {"muons.mass": "mass * 2"}}}}  # fmt: skip
    store = prepared(tmp_path, content, given)
    assert not [name for name in schemas(store)[0] if "@" in name]
    assert "objects.muons@v.up" in schemas(store)[1]


def test_a_negative_zero_is_not_zero(tmp_path: Path) -> None:
    content = {**CONTENT, "variations": {"v": {"up": {"zero": "zero * -1"}}}}
    event = CONTENT["event"]
    content["event"] = {
        "define": {**event["define"], "zero": "puWeight * 0"},
        "features": ["met.pt", "zero"],
    }
    store = prepared(tmp_path, content, samples())
    found = store.events("v.up")
    assert np.signbit(found.event[found.process < 2, 1]).all()
    assert not np.signbit(store.events().event[:, 1]).any()


def pileup_file(path: Path) -> Path:
    shifts = {"nominal": [1.0, 1.25], "up": [1.5, 2.0], "down": [0.5, 0.75]}
    data = {
        "nodetype": "category",
        "input": "shift",
        "content": [
            {
                "key": key,
                "value": {
                    "nodetype": "binning", "input": "pu", "edges": [0.0, 1.0, 9.0],
                    "content": values, "flow": "error",
                },
            }
            for key, values in shifts.items()
        ],
    }  # fmt: skip
    content = schema.CorrectionSet.model_validate({
        "schema_version": 2,
        "corrections": [{
            "name": "pu", "version": 1, "data": data, "output": {"name": "w", "type": "real"},
            "inputs": [{"name": "pu", "type": "real"}, {"name": "shift", "type": "string"}],
        }],
    })  # fmt: skip
    path.write_text(content.model_dump_json(exclude_unset=True))
    return path


def test_weights_by_expressions_and_corrections(tmp_path: Path) -> None:
    given = samples()
    file = str(pileup_file(tmp_path / "pu.json"))

    def asked(shift: str) -> dict[str, Any]:
        return {"file": file, "correction": "pu", "inputs": ["puWeight", shift]}

    weights = {"generator": "genWeight", "lookup": asked("nominal"), "own": "1 + MET_pt / 100"}
    variations = {
        "pileup": {side: {"weights.lookup": asked(side)} for side in ("up", "down")},
        "own": {"up": {"weights.own": "1"}},
        "all": {
            "down": {"weights.own": "2", "weights.lookup": "puWeight", "met.pt": "met.pt * 1.25"}
        },
    }
    store = prepared(tmp_path, {**CONTENT, "weights": weights, "variations": variations}, given)
    tables = {"nominal": (1.0, 1.25), "up": (1.5, 2.0), "down": (0.5, 0.75)}

    def expected(process: str, rows: list[int], variation: str | None) -> list[float]:
        if process == "data":
            return [1.0] * len(rows)
        flat = given[process].flat
        shift = variation[7:] if variation in ("pileup.up", "pileup.down") else "nominal"
        found = []
        total = sum(float(w) for w in flat["genWeight"])
        factor = {"sig": 0.5, "bkg": 20.0}[process] * 1000 * 10.0 / total
        for row in rows:
            weight = float(flat["genWeight"][row])
            if variation == "all.down":
                weight *= float(flat["puWeight"][row]) * 2
            else:
                weight *= tables[shift][int(flat["puWeight"][row] >= 1)]
                own = np.float32(1) + flat["MET_pt"][row] / np.float32(100)
                weight *= 1.0 if variation == "own.up" else float(own)
            found.append(weight * factor)
        return found

    for variation in (None, *store.manifest.variations):
        events, (files, entries) = store.events(variation), store.origin(variation)
        for number, process in enumerate(FILES):
            chosen = files == number
            np.testing.assert_allclose(
                events.weight[chosen],
                expected(process, entries[chosen].tolist(), variation),
                rtol=1e-13,
                err_msg=f"{process} {variation}",
            )
        if variation not in (None, "all.down"):
            np.testing.assert_array_equal(events.event, store.events().event)


def test_a_weight_of_the_objects_follows_them(tmp_path: Path) -> None:
    """`top` is computed from ht; also where the side replaces another weight."""
    side = {"jets.pt": "pt * 1.25", "weights.pileup": "1 + ht / 500"}
    nominal = samples()
    store = prepared(tmp_path / "v", {**CONTENT, "variations": {"v": {"up": side}}}, nominal)
    weights = {**CONTENT["weights"], "pileup": "1 + ht / 500"}
    rewritten = {
        name: sample if name == "data" else times("Jet", 1.25, "pt")(sample)
        for name, sample in nominal.items()
    }
    expected = prepared(tmp_path / "e", {**CONTENT, "weights": weights}, rewritten)
    assert_same(store.events("v.up"), expected.events())


ERAS = {"a": {"luminosity": 1.0}, "b": {"luminosity": 2.0}}


def test_files_that_replace_a_process_in_one_era(tmp_path: Path) -> None:
    """hdamp: another number of events and another sum of weights, and only in era b."""
    parts = {name: make_sample(seed, events) for name, seed, events in (
        ("sa", 1, 60), ("sb", 2, 70), ("ba", 3, 80), ("bb", 4, 90), ("db", 5, 30),
        ("up1", 6, 50), ("up2", 7, 41), ("down", 8, 130),
    )}  # fmt: skip
    for name, sample in parts.items():
        write_root(tmp_path / f"{name}.root", sample)

    def content(bb: list[str]) -> dict[str, Any]:
        processes = {
            "sig": {"class": "signal", "cross_section": 0.5,
                    "files": {"a": ["sa.root"], "b": ["sb.root"]}},
            "bkg": {"class": "background", "cross_section": 20.0,
                    "files": {"a": ["ba.root"], "b": bb}},
            "data": {"class": "data", "files": {"b": ["db.root"]}},
        }  # fmt: skip
        return {**CONTENT, "processes": processes, "eras": ERAS, "luminosity": None}

    variations = {
        "hdamp": {
            "up": {"processes.bkg.files": {"b": ["up1.root", "up2.root"]}},
            "down": {"processes.bkg.files": {"b": ["down.root"]}},
        },
        "JES": {"up": {"jets.pt": "pt * 1.25"}},
    }
    analysis = make_analysis(tmp_path, **content(["bb.root"]), variations=variations)
    store = Store(prepare(analysis, tmp_path / "out"))
    for variation, files in (
        (None, ["bb.root"]),
        ("hdamp.up", ["up1.root", "up2.root"]),
        ("hdamp.down", ["down.root"]),
    ):
        plain = make_analysis(tmp_path, **content(files))
        expected = Store(prepare(plain, tmp_path / f"plain-{variation}"))
        found = store.events(variation)
        # Alternative files stand after all nominal ones of the process: here after era b's place.
        assert_same(found, expected.events())
        chosen = (found.process == 1) & (found.era == 1)
        total = sum(float(parts[name[:-5]].flat["genWeight"].sum(dtype=float)) for name in files)
        factors = store.manifest.normalisation
        if variation is not None:
            factors = store.manifest.varied_normalisation[variation]
            assert list(factors["bkg"]) == ["b"]
        assert factors["bkg"]["b"] == pytest.approx(20.0 * 1000 * 2.0 / total, rel=1e-13)
        np.testing.assert_array_equal(
            np.unique(store.origin(variation)[0][chosen]),
            [
                n
                for n, record in enumerate(store.manifest.inputs)
                if record.path.endswith(tuple(files))
            ],
        )
    # Neither the cutflow nor training sees the alternative files.
    read = {
        (row.process, row.era): row.events for row in store.manifest.cutflow if row.cut == "read"
    }
    assert read == {("sig", "a"): 60, ("sig", "b"): 70, ("bkg", "a"): 80, ("bkg", "b"): 90,
                    ("data", "b"): 30}  # fmt: skip
    assert len(StoreRows(store)) == sum(
        entry.rows
        for entry in store.manifest.shards
        if not store.manifest.inputs[entry.input].variation
    )
    # The kinematic variation is of the nominal files, all of them.
    assert not any("@" in name for names in schemas(store)[3:7] for name in names if "up" in names)
    jes = store.origin("JES.up")[0]
    paths = [record.path.rpartition("/")[2] for record in store.manifest.inputs]
    assert {paths[index] for index in jes} == {
        "sa.root",
        "sb.root",
        "ba.root",
        "bb.root",
        "db.root",
    }


@pytest.mark.parametrize("source", [{}, {"event_number": "event"}])
def test_the_identity_is_the_nominal_one(tmp_path: Path, source: dict[str, Any]) -> None:
    """Also a hash of the content: it is of nominal columns, and not of what only sides read."""
    variations = {
        "JES": {"up": {"jets.pt": "where(eta > 0, pt * 1.5, pt * 0.5) + btag"}},
        "w": {"up": {"weights.pileup": "event + luminosityBlock"}},
    }
    content = {**CONTENT, "source": source}
    # The same branches shape the events, and all of them are kept.
    regions = {"all": {"select": "met.pt > -1 and ht > -1", "role": "signal"}}
    plain = prepared(tmp_path / "p", {**content, "regions": regions}, samples())
    store = prepared(tmp_path / "v", {**content, "variations": variations}, samples())
    known = dict(zip(places(plain), plain.events().identity.tolist(), strict=True))
    for variation in (None, "JES.up", "w.up"):
        found = store.events(variation).identity.tolist()
        assert [known[place] for place in places(store, variation)] == found
    assert store.origin()[1].tolist() != store.origin("JES.up")[1].tolist()


def test_non_finite_values_only_in_a_variation(tmp_path: Path) -> None:
    """log(lead − 60) is nan where the leading jet falls below 60 GeV; each side by its own."""
    nominal = samples()
    event = {**CONTENT["event"], "features": ["met.pt", "log(lead - 60)"]}
    regions = {"signal": {"select": "met.pt > 20 and count(jets) > 0", "role": "signal"}}
    content = {
        **CONTENT,
        "event": event,
        "regions": regions,
        "source": {"event_number": "event", "non_finite": "drop"},
    }
    side = {"jets.pt": "where(eta > 0, pt * 1.5, pt * 0.5)"}
    store = prepared(tmp_path / "v", {**content, "variations": {"JES": {"up": side}}}, nominal)
    plain = prepared(tmp_path / "p", content, nominal)
    rewritten = {
        name: sample if name == "data" else by_side(sample) for name, sample in nominal.items()
    }
    expected = prepared(tmp_path / "e", content, rewritten)
    assert_same(store.events(), plain.events())
    assert_same(store.events("JES.up"), expected.events())
    label = "event: log(lead - 60)"
    for number, process in enumerate(("sig", "bkg")):
        # All events of the nominal and of the rewritten files in the region, nan or not.
        spoilt: list[set[int]] = []
        for sample in (nominal[process], rewritten[process]):
            everything = prepared(
                tmp_path / f"{process}{len(spoilt)}",
                {**content, "event": {**event, "features": ["met.pt", "lead"]}},
                {**rewritten, process: sample},
            )
            events, (files, entries) = everything.events(), everything.origin()
            bad = (files == number) & ~(events.event[:, 1] > np.float32(60))
            spoilt.append(set(entries[bad].tolist()))
        before, after = spoilt
        assert len(before - after) > 0
        assert len(after - before) > 0
        assert len(before & after) > 0
        assert store.manifest.non_finite[process] == {
            label: len(before),
            f"{label} (JES.up)": len(after - before),
        }


def test_events_spoilt_as_ever_that_only_a_variation_selects(tmp_path: Path) -> None:
    """Nominally they are in no region, so that nobody counted them: the side must."""
    given = samples()
    spoilt = given["sig"].flat["puWeight"].copy()
    rising = (given["sig"].flat["MET_pt"] < 60) & (given["sig"].flat["MET_pt"] > 50)
    spoilt[rising] = np.nan
    assert rising.sum() > 3
    given["sig"] = given["sig"].replaced(puWeight=spoilt)
    regions = {"signal": {"select": "met.pt > 60", "role": "signal"}}
    content = {**CONTENT, "regions": regions, "weights": {"generator": "genWeight"},
               "source": {"event_number": "event", "non_finite": "drop"}}  # fmt: skip
    side = {"up": {"met.pt": "met.pt * 1.25"}, "down": {"met.pt": "met.pt * 0.5"}}
    store = prepared(tmp_path / "v", {**content, "variations": {"MET": side}}, given)
    assert store.manifest.non_finite["sig"] == {"event: puWeight (MET.up)": rising.sum()}
    with pytest.raises(SampleError, match=r"'event: puWeight \(MET.up\)' in "):
        prepared(tmp_path / "e", {**content, "source": {}, "variations": {"MET": side}}, given)


def test_a_weight_that_is_not_finite_in_a_variation(tmp_path: Path) -> None:
    given = samples()
    content = {**CONTENT, "source": {"event_number": "event", "non_finite": "drop"},
               "variations": {"w": {"up": {"weights.pileup": "log(puWeight - 0.85)"}}}}  # fmt: skip
    store = prepared(tmp_path / "v", content, given)
    plain = prepared(
        tmp_path / "p",
        {**CONTENT, "source": {"event_number": "event", "non_finite": "drop"}},
        given,
    )
    assert_same(store.events(), plain.events())
    events = plain.events()
    for number, process in enumerate(("sig", "bkg")):
        own = events.process == number
        bad = events.event[own, 4] <= np.float32(0.85)
        assert bad.any()
        assert store.manifest.non_finite[process] == {"weight (w.up)": bad.sum()}
        varied = store.events("w.up")
        assert (varied.process == number).sum() == (~bad).sum()
    assert (store.events("w.up").process == 2).sum() == (events.process == 2).sum()


def test_data_is_nominal_in_every_variation(tmp_path: Path) -> None:
    side = {"jets.pt": "pt * 1.5", "met.pt": "met.pt * 0.5", "weights.pileup": "puWeight * 2"}
    variations = {"v": {"up": side}}
    store = prepared(tmp_path, {**CONTENT, "variations": variations}, samples())
    nominal, varied = store.events(), store.events("v.up")
    assert (nominal.process == 2).sum() > 10
    assert_same(
        varied.take(np.flatnonzero(varied.process == 2)),
        nominal.take(np.flatnonzero(nominal.process == 2)),
    )


def test_data_need_not_have_what_only_variations_read(tmp_path: Path) -> None:
    given = samples()
    flat = {name: values for name, values in given["data"].flat.items() if name != "puWeight"}
    given["data"] = Sample(flat, given["data"].jagged)
    event = {**CONTENT["event"], "features": ["met.pt"]}
    content = {**CONTENT, "event": event, "variations": {"v": {"up": {"met.pt": "puWeight * 50"}}}}
    events = prepared(tmp_path, content, given).events("v.up")
    assert (events.event[events.process < 2, 0] > 0).all()


def test_rows_of_variations_only_are_never_trained_on(tmp_path: Path) -> None:
    side = SCENARIOS["another order"].side
    content = {**CONTENT, "training": {"folds": 2, "negative_weights": "abs"}}
    analysis = make_analysis(tmp_path / "v", **content, variations={"v": {"up": side}})
    store = prepared(tmp_path / "v", {**content, "variations": {"v": {"up": side}}}, samples())
    plain = prepared(tmp_path / "p", content, samples())
    rows, plain_rows = StoreRows(store), StoreRows(plain)
    assert len(rows) > len(plain_rows)
    everything = rows.take(np.arange(len(rows)))
    inside = np.logical_or.reduce(list(everything.regions.values()))
    assert_same(everything.take(np.flatnonzero(inside)), store.events())
    assert (~inside).sum() == len(rows) - len(plain_rows) > 5
    pieces = list(rows.chunks())
    assert sum(len(piece) for piece in pieces) == len(rows)
    for fold in range(2):
        found, expected = (
            fold_samples(analysis, source, store.manifest.classes, fold)
            for source in (rows, plain_rows)
        )
        assert found[2] == expected[2]
        for one, two in zip(found[:2], expected[:2], strict=True):
            assert len(one) == len(two) > 0
            events = [Events.concatenate(list(sample.chunks())) for sample in (one, two)]
            assert_same(*events)
            assert str(one.weights) == str(two.weights)


def test_chunks_vary_as_one_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    variations = {
        "v": {"up": SCENARIOS["another order"].side},
        "met": {"up": {"met.pt": "where(met.pt > 150, 170, met.pt)"}},
    }
    content = {**CONTENT, "variations": variations}
    whole = prepared(tmp_path / "whole", content, samples())
    module = import_module("particle_transformer.data.prepare")
    monkeypatch.setattr(module, "CHUNK_ENTRIES", 7)
    parts = prepared(tmp_path / "parts", content, samples())
    assert len(parts.manifest.shards) == 22 + 22 + 12
    assert len({frozenset(names) for names in schemas(parts)}) > 3, "columns differ by chunk"
    for variation in (None, "v.up", "met.up"):
        assert_same(parts.events(variation), whole.events(variation))
    assert parts.manifest.truncated == whole.manifest.truncated


def test_what_is_wrong_with_a_variation_is_said(tmp_path: Path) -> None:
    given = samples()

    def refused(error: type[Exception], variation: dict[str, Any]) -> str:
        content = {**CONTENT, "variations": {"v": {"down": variation}}}
        with pytest.raises(error) as caught:
            prepared(tmp_path, content, given)
        return str(caught.value)

    # A misspelt field would leave everything nominal.
    message = refused(InputFileError, {"jets.ptt": "pt * 1.1"})
    assert message.startswith("variations.v.down.jets.ptt: ")
    assert "s.root: field 'ptt' of jets (branch 'Jet_ptt') is neither in the file" in message
    assert message.partition("nearest: ")[2].startswith("pt")
    message = refused(InputFileError, {"jets.pt": "ptt * 1.1"})
    assert "s.root: 'ptt'" in message or "field 'ptt' of jets" in message
    write_root(tmp_path / "none.root", given["bkg"].replaced(MET_pt=np.full(150, 59, np.float32),
                                                             MET_phi=given["bkg"].flat["MET_phi"]))  # fmt: skip
    regions = {"signal": {"select": "met.pt > 60", "role": "signal"}}
    variations = {"v": {"down": {"processes.bkg.files": "none.root"}}}
    with pytest.raises(
        SampleError,
        match=r"process bkg, variation v.down: none of its 150 events is left .*met.pt > 60",
    ):
        prepared(tmp_path, {**CONTENT, "regions": regions, "variations": variations}, given)
