"""Everything `prepare` writes against an independent computation with awkward on the same files.

The comparisons of float32 features allow 1e-6 relative (some 8 ulp): awkward evaluates log, sqrt
and sums in another order and precision than the expressions do. Counts, flags, identities and
entries are compared exactly, yields (float64 sums) to 1e-12.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np
import pyarrow as pa
import pytest
import vector

from helpers.files import make_analysis, make_sample, write_parquet, write_root, write_tree
from particle_transformer.data import Store, prepare

if TYPE_CHECKING:
    from pathlib import Path

    from helpers.files import Sample
    from particle_transformer.data import Manifest
    from particle_transformer.events import Events, Ragged

CLOSE: dict[str, Any] = {"rtol": 1e-6, "atol": 1e-6}


@dataclass(frozen=True)
class Expected:
    """What one file must yield, in the order of its entries."""

    entry: np.ndarray
    jets: ak.Array  # (events, var, 4)
    muons: ak.Array
    event: np.ndarray
    product: np.ndarray  # of weights, not normalised
    control: np.ndarray
    signal: np.ndarray
    rows: dict[str, tuple[int, float, float]]
    truncated: int


def wrapped(difference: ak.Array) -> ak.Array:
    return (difference + np.pi) % (2 * np.pi) - np.pi


def expected_of(sample: Sample, *, data: bool = False, blinded: bool = False) -> Expected:
    """Selections, features, weights and cutflow in awkward, in float64."""
    array = ak.values_astype(sample.awkward(), np.float64)
    jets = ak.zip({name: array[f"Jet_{name}"] for name in ("pt", "eta", "phi", "mass", "btag")})
    jets = jets[(jets.pt > 30) & (abs(jets.eta) < 2.5)]
    jets = jets[ak.argsort(jets.pt, ascending=False, stable=True)]
    muons = ak.zip({name: array[f"Muon_{name}"] for name in ("pt", "eta")})
    muons = muons[muons.pt > 20]
    ht = ak.sum(jets.pt, axis=1)
    product = np.ones(len(sample)) if data else array.genWeight * array.puWeight
    cuts = {
        "signal": {"met.pt > 60": array.MET_pt > 60, "count(muons) == 0": ak.num(muons) == 0},
        "control": {
            "met.pt > 20": array.MET_pt > 20,
            "(count(muons) > 0 or ht > 150)": (ak.num(muons) > 0) | (ht > 150),
        },
    }
    signal = cuts["signal"]["met.pt > 60"] & cuts["signal"]["count(muons) == 0"]
    visible = np.asarray(~signal) if blinded else np.ones(len(sample), dtype=bool)
    rows = {"read": np.ones(len(sample), dtype=bool)}
    flags = {}
    for region, conditions in cuts.items():
        passing = visible
        for text, condition in conditions.items():
            passing = passing & np.asarray(condition)
            if not (blinded and region == "signal"):
                rows[f"{region}: {text.strip('()') if ' or ' in text else text}"] = passing
        flags[region] = passing
    kept = flags["signal"] | flags["control"]
    rows["kept"] = kept
    weights = np.asarray(product)
    # max: 3 is applied to what the network sees, not to ht or counts.
    seen = jets[kept][:, :3]
    phi = array.MET_phi[kept]
    btag = seen.btag
    return Expected(
        np.flatnonzero(kept),
        ak.concatenate(
            [
                part[..., np.newaxis]
                for part in (np.log(seen.pt), seen.eta, wrapped(seen.phi - phi), btag)
            ],
            axis=2,
        ),
        muons[kept].pt / np.maximum(ht, 1)[kept],
        np.stack(
            [
                np.asarray(column)[kept]
                for column in (array.MET_pt, ht, ak.num(jets), ak.sum(muons.pt * muons.eta, axis=1))
            ],
            axis=1,
        ),
        weights[kept],
        flags["control"][kept],
        flags["signal"][kept],
        {
            name: (
                int(passing.sum()),
                float(weights[passing].sum()),
                float(np.square(weights[passing]).sum()),
            )
            for name, passing in rows.items()
        },
        int(ak.sum(ak.num(jets[kept])) - ak.sum(ak.num(seen))),
    )


def changes(*, pair_bias: bool = False, **more: Any) -> dict[str, Any]:
    return {
        "objects": {
            "jets": {
                "collection": "Jet",
                "select": "pt > 30 and abs(eta) < 2.5",
                "sort_by": "pt",
                "max": 3,
                "features": ["log(pt)", "eta", "delta_phi(phi, met.phi)", "btag"],
            },
            "muons": {
                "collection": "Muon",
                "select": "pt > 20",
                "features": ["pt / max(ht, 1)"],
            },
        },
        "event": {
            "define": {"met.pt": "MET_pt", "met.phi": "MET_phi", "ht": "sum(jets.pt)"},
            "features": ["met.pt", "ht", "count(jets)", "sum(muons.pt * muons.eta)"],
        },
        "regions": {
            "signal": {
                "select": "met.pt > 60 and count(muons) == 0",
                "role": "signal",
                "blind": True,
            },
            "control": {
                "select": "met.pt > 20 and (count(muons) > 0 or ht > 150)",
                "role": "control",
            },
        },
        "weights": {"generator": "genWeight", "pileup": "puWeight"},
        "model": {"pair_bias": pair_bias},
        **more,
    }


def ragged(collection: Ragged) -> ak.Array:
    return ak.unflatten(collection.values, collection.counts)


def assert_same_lists(found: ak.Array, expected: ak.Array) -> None:
    assert ak.num(found).tolist() == ak.num(expected).tolist()
    np.testing.assert_allclose(
        ak.to_numpy(ak.flatten(found, axis=None)),
        ak.to_numpy(ak.flatten(expected, axis=None)),
        **CLOSE,
    )


def assert_file(events: Events, expected: Expected, factor: float) -> None:
    """The stored events of one file equal the independent computation."""
    assert len(events) == len(expected.entry)
    assert_same_lists(ragged(events.objects["jets"]), expected.jets)
    assert_same_lists(ragged(events.objects["muons"]), expected.muons[..., np.newaxis])
    np.testing.assert_allclose(events.event, expected.event, **CLOSE)
    np.testing.assert_allclose(events.weight, expected.product * factor, rtol=1e-12)
    np.testing.assert_array_equal(events.regions["signal"], expected.signal)
    np.testing.assert_array_equal(events.regions["control"], expected.control)


def rows_of(manifest: Manifest, process: str, era: str) -> dict[str, tuple[int, float, float]]:
    return {
        row.cut: (row.events, row.yield_, row.yield_error)
        for row in manifest.cutflow
        if (row.process, row.era) == (process, era)
    }


def assert_cutflow(
    manifest: Manifest, process: str, era: str, files: list[Expected], factor: float
) -> None:
    found = rows_of(manifest, process, era)
    assert list(found) == list(files[0].rows)
    for cut, (events, total, error) in found.items():
        sums = np.array([file.rows[cut] for file in files]).sum(axis=0)
        assert events == sums[0], cut
        np.testing.assert_allclose(total, sums[1] * factor, rtol=1e-12, atol=1e-9)
        np.testing.assert_allclose(error, np.sqrt(sums[2]) * factor, rtol=1e-12)


def split_by_file(store: Store) -> list[Events]:
    events = store.events()
    files, entries = store.origin()
    assert len(files) == len(entries) == len(events) == store.manifest.events
    return [
        events.take(np.flatnonzero(files == index)) for index in range(len(store.manifest.inputs))
    ]


def write(path: Path, sample: Sample) -> Path:
    if path.suffix == ".parquet":
        return write_parquet(path, sample, row_group_size=11)
    return write_root(path, sample)


@pytest.fixture(params=[100_000, 7], ids=["one chunk", "chunks of 7"])
def chunk_entries(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setitem(prepare.__globals__, "CHUNK_ENTRIES", request.param)
    return int(request.param)


@pytest.mark.parametrize("suffix", ["root", "parquet"])
def test_every_number_equals_awkward(tmp_path, suffix, chunk_entries):
    """Several files per process, two backgrounds, two regions, data."""
    samples = {
        "s1": make_sample(1, 50),
        "s2": make_sample(2, 33, first_event=1000),
        "b": make_sample(3, 60, first_event=2000),
        "c": make_sample(4, 41, first_event=3000),
        "d": make_sample(5, 70, first_event=4000),
    }
    for name, sample in samples.items():
        write(tmp_path / f"{name}.{suffix}", sample)
    analysis = make_analysis(
        tmp_path,
        **changes(
            processes={
                "sig": {"class": "signal", "cross_section": 0.5, "files": [f"s*.{suffix}"]},
                "tt": {"class": "top", "cross_section": 800.0, "files": [f"b.{suffix}"]},
                "vv": {"class": "dibosons", "cross_section": 30.0, "files": f"c.{suffix}"},
                "met": {"class": "data", "files": [f"d.{suffix}"]},
            }
        ),
    )
    store = Store(prepare(analysis, tmp_path / "out"))
    manifest = store.manifest
    assert manifest.processes == ["sig", "tt", "vv", "met"]
    assert manifest.classes == ["signal", "top", "dibosons", "data"]
    assert [record.process for record in manifest.inputs] == ["sig", "sig", "tt", "vv", "met"]
    assert [record.entries for record in manifest.inputs] == [50, 33, 60, 41, 70]
    expected = [expected_of(sample, data=name == "d", blinded=name == "d")
                for name, sample in samples.items()]  # fmt: skip

    def sum_of(*names: str) -> float:
        return sum(float(samples[name].flat["genWeight"].sum(dtype=np.float64)) for name in names)

    factors = [0.5e4 / sum_of("s1", "s2")] * 2 + [800e4 / sum_of("b"), 30e4 / sum_of("c"), 1.0]
    for number, events in enumerate(split_by_file(store)):
        assert_file(events, expected[number], factors[number])
        assert manifest.inputs[number].kept == len(events)
        sample = list(samples.values())[number]
        entry = expected[number].entry
        np.testing.assert_array_equal(
            events.identity[:, 0], sample.flat["event"][entry].astype(np.int64)
        )
        assert set(events.process.tolist()) == {[0, 0, 1, 2, 3][number]}
    _, entries = store.origin()
    np.testing.assert_array_equal(entries, np.concatenate([found.entry for found in expected]))
    assert_cutflow(manifest, "sig", "all", expected[:2], factors[0])
    for number, process in ((2, "tt"), (3, "vv"), (4, "met")):
        assert_cutflow(manifest, process, "all", [expected[number]], factors[number])
        assert manifest.truncated.get(process, {}).get("jets", 0) == expected[number].truncated
    assert expected[2].truncated > 0, "the sample must put the cap to the test"
    assert manifest.truncated["sig"]["jets"] == expected[0].truncated + expected[1].truncated
    assert manifest.non_finite == {"sig": {}, "tt": {}, "vv": {}, "met": {}}
    assert (len(manifest.shards) > len(manifest.inputs)) == (chunk_entries == 7)
    assert sum(shard.events for shard in manifest.shards) == manifest.events


@pytest.mark.parametrize("unblind", [False, True])
def test_blind_regions_of_data(tmp_path, unblind):
    samples = {name: make_sample(seed, 80, first_event=seed * 1000)
               for seed, name in enumerate("sbd", 1)}  # fmt: skip
    for name, sample in samples.items():
        write_root(tmp_path / f"{name}.root", sample)
    analysis = make_analysis(
        tmp_path,
        **changes(
            processes={
                "sig": {"class": "signal", "cross_section": 0.5, "files": ["s.root"]},
                "bkg": {"class": "background", "cross_section": 20.0, "files": ["b.root"]},
                "met": {"class": "data", "files": ["d.root"]},
            }
        ),
    )
    store = Store(prepare(analysis, tmp_path / "out", unblind=unblind))
    simulated, _, data = split_by_file(store)
    expected = expected_of(samples["d"], data=True, blinded=not unblind)
    assert_file(data, expected, 1.0)
    assert_cutflow(store.manifest, "met", "all", [expected], 1.0)
    assert expected_of(samples["d"], data=True).signal.any()
    assert data.regions["signal"].any() == unblind
    assert simulated.regions["signal"].any(), "simulation is never blinded"
    # The number of blinded events is the secret: no row of the cutflow tells it.
    rows = rows_of(store.manifest, "met", "all")
    assert any(cut.startswith("signal") for cut in rows) == unblind
    assert (data.weight == 1).all()


def test_blinded_store_is_not_taken_for_an_unblinded_one(tmp_path):
    for seed, name in enumerate("sbd", 1):
        write_root(tmp_path / f"{name}.root", make_sample(seed, 40, first_event=seed * 1000))
    analysis = make_analysis(
        tmp_path,
        **changes(
            processes={
                "sig": {"class": "signal", "cross_section": 0.5, "files": ["s.root"]},
                "bkg": {"class": "background", "cross_section": 20.0, "files": ["b.root"]},
                "met": {"class": "data", "files": ["d.root"]},
            }
        ),
    )
    out = tmp_path / "out"
    blind = Store(prepare(analysis, out)).manifest.events
    assert Store(prepare(analysis, out, unblind=True)).manifest.events > blind
    assert Store(prepare(analysis, out)).manifest.events == blind


def test_eras_with_aliases_and_luminosities(tmp_path, chunk_entries):
    """In 2017 the files call btag oldTag and MET_pt PFMET_pt."""
    samples = {(name, era): make_sample(seed, 45, first_event=seed * 1000)
               for seed, (name, era) in enumerate(
                   [("s", "2017"), ("s", "2018"), ("b", "2017"), ("b", "2018")], 1)}  # fmt: skip
    for (name, era), sample in samples.items():
        flat, jets = dict(sample.flat), dict(sample.jagged["Jet"])
        if era == "2017":
            flat["PFMET_pt"] = flat.pop("MET_pt")
            jets["oldTag"] = jets.pop("btag")
        content = {**flat, "Jet": ak.zip(jets), "Muon": ak.zip(sample.jagged["Muon"])}
        write_tree(tmp_path / era / f"{name}.root", content)
    analysis = make_analysis(
        tmp_path,
        **changes(
            luminosity=None,
            eras={
                "2017": {"luminosity": 41.5, "aliases": {"btag": "oldTag", "MET_pt": "PFMET_pt"}},
                "2018": {"luminosity": 59.8},
            },
            processes={
                "sig": {"class": "signal", "cross_section": 0.5,
                        "files": {"2017": ["2017/s.root"], "2018": ["2018/s.root"]}},
                "bkg": {"class": "background", "cross_section": 20.0,
                        "files": {"2017": ["2017/b.root"], "2018": ["2018/b.root"]}},
            },
        ),
    )  # fmt: skip
    store = Store(prepare(analysis, tmp_path / "out"))
    assert store.manifest.luminosity == {"2017": 41.5, "2018": 59.8}
    parts = split_by_file(store)
    for number, ((name, era), sample) in enumerate(samples.items()):
        cross_section = {"s": 0.5, "b": 20.0}[name]
        luminosity = {"2017": 41.5, "2018": 59.8}[era]
        total = float(sample.flat["genWeight"].sum(dtype=np.float64))
        factor = cross_section * 1000 * luminosity / total
        expected = expected_of(sample)
        assert_file(parts[number], expected, factor)
        process = {"s": "sig", "b": "bkg"}[name]
        assert_cutflow(store.manifest, process, era, [expected], factor)
        assert set(parts[number].era.tolist()) == {["2017", "2018"].index(era)}


def test_separate_jagged_branches_with_any_names(tmp_path, chunk_entries):
    """No prefix, a counter for each branch, fields mapped and computed in the analysis file."""
    samples = {name: make_sample(seed, 40, first_event=1000 * seed)
               for seed, name in enumerate("sb", 1)}  # fmt: skip
    for name, sample in samples.items():
        jets = sample.jagged["Jet"]
        content = {
            **sample.flat,
            "jetX": jets["pt"] * np.cos(jets["phi"]),
            "jetY": jets["pt"] * np.sin(jets["phi"]),
            "rapidity_like": jets["eta"],
            "tagger": jets["btag"],
        }
        write_tree(tmp_path / f"{name}.root", content, tree="mini/events")
    analysis = make_analysis(
        tmp_path,
        source={"tree": "mini/events", "event_number": "event"},
        objects={
            "jets": {
                "fields": {
                    "pt": "pt(jetX, jetY)", "phi": "phi(jetX, jetY)",
                    "eta": "rapidity_like", "btag": "tagger",
                },
                "select": "pt > 30",
                "sort_by": "btag",
                "features": ["pt", "phi", "eta", "btag"],
            }
        },
    )  # fmt: skip
    parts = split_by_file(Store(prepare(analysis, tmp_path / "out")))
    for part, sample in zip(parts, samples.values(), strict=True):
        jets = ak.zip({name: sample.jagged["Jet"][name] for name in ("pt", "phi", "eta", "btag")})
        jets = jets[sample.flat["MET_pt"] > 20]
        jets = jets[jets.pt > 30]
        jets = jets[ak.argsort(jets.btag, ascending=False, stable=True)]
        expected = ak.concatenate([jets[name][..., None] for name in ak.fields(jets)], axis=2)
        assert_same_lists(ragged(part.objects["jets"]), expected)


def test_momenta_equal_the_vector_library(tmp_path, chunk_entries):
    samples = [make_sample(seed, 40, first_event=1000 * seed) for seed in (1, 2)]
    for name, sample in zip("sb", samples, strict=True):
        write_root(tmp_path / f"{name}.root", sample)
    store = Store(prepare(make_analysis(tmp_path, **changes(pair_bias=True)), tmp_path / "out"))
    for events, sample in zip(split_by_file(store), samples, strict=True):
        expected = expected_of(sample)
        array = ak.values_astype(sample.awkward(), np.float64)
        fields = ("pt", "eta", "phi", "mass")
        jets = ak.zip({name: array[f"Jet_{name}"] for name in fields})[expected.entry]
        jets = jets[(jets.pt > 30) & (abs(jets.eta) < 2.5)]
        jets = jets[ak.argsort(jets.pt, ascending=False, stable=True)][:, :3]
        muons = ak.zip({name: array[f"Muon_{name}"] for name in fields})[expected.entry]
        muons = muons[muons.pt > 20]
        for name, objects in (("jets", jets), ("muons", muons)):
            flat = ak.flatten(objects)
            four: Any = vector.array({part: ak.to_numpy(flat[part]) for part in fields})
            cartesian = np.stack([four.px, four.py, four.pz, four.E], axis=1)
            found = events.objects[name].momenta
            assert found is not None
            assert found.dtype == np.float32
            # Computed in float64 and rounded once: within half a float32 ulp (6e-8).
            np.testing.assert_allclose(found, cartesian, rtol=1.2e-7, atol=1e-5)


def test_without_pair_bias_no_momenta_are_stored(tmp_path):
    write_root(tmp_path / "s.root", make_sample(1, 20))
    write_root(tmp_path / "b.root", make_sample(2, 20))
    events = Store(prepare(make_analysis(tmp_path, **changes()), tmp_path / "out")).events()
    assert all(collection.momenta is None for collection in events.objects.values())


def prepared_tables(store: Path) -> list[pa.Table]:
    """Each shard without the name of its input file."""
    paths = [store / "shards" / shard.name for shard in Store(store).manifest.shards]
    return [
        pa.ipc.open_file(pa.memory_map(str(path))).read_all().drop_columns(["file"])
        for path in paths
    ]


def test_root_and_parquet_of_the_same_events_give_the_same_columns(tmp_path):
    for suffix in ("root", "parquet"):
        for seed, name in enumerate("sb", 1):
            write(tmp_path / suffix / f"{name}.{suffix}", make_sample(seed, 50))
    found = []
    for suffix in ("root", "parquet"):
        processes = {
            "sig": {"class": "signal", "cross_section": 1.0, "files": [f"{suffix}/s.{suffix}"]},
            "bkg": {"class": "background", "cross_section": 1.0, "files": [f"{suffix}/b.{suffix}"]},
        }
        analysis = make_analysis(tmp_path, **changes(source={}, processes=processes))
        found.append(prepared_tables(prepare(analysis, tmp_path / f"out-{suffix}")))
    assert found[0] == found[1]
