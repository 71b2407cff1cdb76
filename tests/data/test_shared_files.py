"""Files that others wrote: CMS NanoAOD v6 to v15 and the HEP tutorial; skipped where absent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pyarrow as pa
import pytest
import uproot
import vector

from helpers.files import make_analysis
from particle_transformer.config import load_analysis
from particle_transformer.data import Store, check_inputs, prepare
from particle_transformer.errors import InputFileError

REPOSITORY = Path(__file__).parents[2]
SHARED = REPOSITORY.parent / "shared" / "data"
NANO = SHARED / "nanoaod"

pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="no shared files beside the repository")

# The same relative tolerance as in test_exactness: float32 functions in another order.
CLOSE: dict[str, Any] = {"rtol": 2e-6, "atol": 2e-6}


def branches(path: Path, names: list[str], tree: str = "Events") -> ak.Array:
    with uproot.open(path) as file:
        return file[tree].arrays(names)


def nano(tmp_path, files, *, cross_sections=None, **changes):
    """An analysis of NanoAOD files by class."""
    settings = {
        "source": {"identity": ["run", "luminosityBlock", "event"]},
        "processes": {
            f"p{number}": {
                "class": name,
                "files": str(path),
                **(
                    {}
                    if name == "data"
                    else {"cross_section": (cross_sections or {}).get(name, 1.0)}
                ),
            }
            for number, (name, path) in enumerate(files.items())
        },
        "objects": {
            "jets": {
                "collection": "Jet",
                "select": "pt > 30 and abs(eta) < 4.7",
                "sort_by": "pt",
                "max": 4,
                "features": ["log(pt)", "eta", "delta_phi(phi, met.phi)", "log(max(mass, 0.1))"],
            },
            "muons": {"collection": "Muon", "select": "pt > 5", "features": ["pt"]},
        },
        "event": {
            "define": {"met.pt": "MET_pt", "met.phi": "MET_phi", "ht": "sum(jets.pt)"},
            "select": "count(jets) >= 1",
            "features": ["met.pt", "ht", "count(jets)", "count(muons)"],
        },
        **changes,
    }
    return make_analysis(tmp_path, **settings)


def split(store: Store) -> list[Any]:
    events = store.events()
    return [
        events.take(np.flatnonzero(events.process == number))
        for number in range(len(store.manifest.processes))
    ]


def assert_nano(events, path: Path) -> ak.Array:
    """Features and identity of `nano` against awkward; the events that are left."""
    names = [f"Jet_{name}" for name in ("pt", "eta", "phi", "mass")]
    flat = ["MET_pt", "MET_phi", "run", "luminosityBlock", "event"]
    array = branches(path, [*names, *flat, "Muon_pt"])
    jets = ak.zip({name[4:]: array[name] for name in names})
    jets = jets[(jets.pt > 30) & (abs(jets.eta) < 4.7)]
    jets = jets[ak.argsort(jets.pt, ascending=False, stable=True)]
    kept = ak.num(jets) >= 1
    array, jets = array[kept], jets[kept]
    seen = jets[:, :4]
    turned = (ak.values_astype(seen.phi, np.float64) - array.MET_phi + np.pi) % (2 * np.pi) - np.pi
    assert events.objects["jets"].counts.tolist() == ak.num(seen).tolist()
    expected = np.stack(
        [
            ak.to_numpy(ak.flatten(column))
            for column in (np.log(seen.pt), seen.eta, turned, np.log(np.maximum(seen.mass, 0.1)))
        ],
        axis=1,
    )
    np.testing.assert_allclose(events.objects["jets"].values, expected, **CLOSE)
    muons = array.Muon_pt[array.Muon_pt > 5]
    assert events.objects["muons"].values[:, 0].tolist() == ak.flatten(muons).tolist()
    ht = ak.sum(ak.values_astype(jets.pt, np.float64), axis=1)
    event = np.stack([array.MET_pt, ht, ak.num(jets), ak.num(muons)], axis=1)
    np.testing.assert_allclose(events.event, event, **CLOSE)
    identity = np.stack(
        [
            ak.to_numpy(array[name]).astype(np.uint64).view(np.int64)
            for name in ("run", "luminosityBlock", "event")
        ],
        axis=1,
    )
    np.testing.assert_array_equal(events.identity, identity)
    return kept


def test_nanoaod_of_three_versions_and_recorded_data(tmp_path):
    files = {
        "signal": NANO / "ttH_M125_2017.root",
        "background": NANO / "nano_tt_v12.root",
        "higgs": NANO / "ggH_M125_amcatnlo_v13.root",
        "data": NANO / "EGamma_2022E_v13.root",
    }
    cross_sections = {"signal": 0.5, "background": 800.0, "higgs": 50.0}
    store = Store(
        prepare(
            nano(
                tmp_path,
                files,
                cross_sections=cross_sections,
                weights={"generator": "genWeight"},
            ),
            tmp_path / "out",
        )
    )
    for part, (name, path) in zip(split(store), files.items(), strict=True):
        kept = assert_nano(part, path)
        if name == "data":
            assert part.weight.tolist() == [1.0] * int(ak.sum(kept))
            continue
        weight = ak.to_numpy(branches(path, ["genWeight"]).genWeight).astype(np.float64)
        with uproot.open(path) as file:
            # nano_tt_v12.root lost its Runs tree: there the entries are all there is.
            generated = (
                float(file["Runs/genEventSumw"].array()[0]) if "Runs" in file else weight.sum()
            )
        factor = cross_sections[name] * 1000 * 10.0 / generated
        np.testing.assert_allclose(part.weight, weight[kept] * factor, rtol=1e-12)
        row = next(
            row for row in store.manifest.cutflow
            if row.process == f"p{list(files).index(name)}" and row.cut == "kept"
        )  # fmt: skip
        assert row.yield_ == pytest.approx(weight[kept].sum() * factor, rel=1e-12)
    assert (split(store)[2].weight < 0).any(), "aMC@NLO has negative weights"


def test_nanoaod_v6_names_of_the_generated_sum(tmp_path):
    files = {"signal": NANO / "nano_dy.root", "background": NANO / "ttH_M125_2017.root"}
    store = Store(
        prepare(nano(tmp_path, files, weights={"generator": "genWeight"}), tmp_path / "out")
    )
    with uproot.open(NANO / "nano_dy.root") as file:
        total = float(file["Runs/genEventSumw_"].array()[0])
        count = float(file["Runs/genEventCount_"].array()[0])
    assert store.manifest.inputs[0].sum_of_weights == total
    assert store.manifest.inputs[0].generated == count == 850_098


def test_root_and_parquet_of_the_same_events_are_the_same(tmp_path):
    shards = []
    for suffix in ("root", "parquet"):
        files = {"signal": NANO / f"nano_dy.{suffix}", "background": NANO / "ttH_M125_2017.root"}
        for source in ({"identity": ["run", "luminosityBlock", "event"]}, {}):
            analysis = nano(
                tmp_path, files, source=source, weights={"generator": "genWeight"},
                model={"pair_bias": True},
            )  # fmt: skip
            out = prepare(analysis, tmp_path / f"{suffix}{len(source)}")
            first = out / "shards" / Store(out).manifest.shards[0].name
            shards.append(
                pa.ipc.open_file(pa.memory_map(str(first))).read_all().drop_columns(["file"])
            )
    assert shards[0] == shards[2]
    assert shards[1] == shards[3], "nor does the content's hash depend on the format"
    assert shards[0] != shards[1]


def test_v15_has_no_met_and_its_message_names_what_it_has(tmp_path):
    files = {"signal": NANO / "nano_tt_v15.root", "background": NANO / "nano_tt_v12.root"}
    with pytest.raises(InputFileError, match=r"nano_tt_v15.root: 'MET_pt' is neither") as caught:
        check_inputs(nano(tmp_path, files, weights=None))
    nearest = str(caught.value).partition("nearest: ")[2].split(", ")
    assert {"PuppiMET_pt", "PFMET_pt"} <= set(nearest)


def test_v15_with_an_alias(tmp_path):
    path = NANO / "nano_tt_v15.root"
    analysis = nano(
        tmp_path,
        {"signal": path, "background": NANO / "nano_tt_v12.root"},
        luminosity=None,
        eras={
            "2024": {
                "luminosity": 1.0,
                "aliases": {"MET_pt": "PuppiMET_pt", "MET_phi": "PuppiMET_phi"},
            },
            "2022": {"luminosity": 1.0},
        },
        processes={
            "new": {"class": "signal", "cross_section": 1.0, "files": {"2024": str(path)}},
            "old": {
                "class": "background",
                "cross_section": 1.0,
                "files": {"2022": str(NANO / "nano_tt_v12.root")},
            },
        },
        weights=None,
    )
    found = split(Store(prepare(analysis, tmp_path / "out")))[0]
    array = branches(path, ["PuppiMET_pt", "Jet_pt", "Jet_eta"])
    kept = ak.any((array.Jet_pt > 30) & (abs(array.Jet_eta) < 4.7), axis=1)
    assert found.event[:, 0].tolist() == array.PuppiMET_pt[kept].tolist()


def test_the_tutorial_example(tmp_path):
    """examples/hep_tutorial.yaml against vector, for every event of four files."""
    folder = tmp_path / "examples"
    folder.mkdir()
    (folder / "hep_tutorial").symlink_to(SHARED / "hep_tutorial")
    text = (REPOSITORY / "examples" / "hep_tutorial.yaml").read_text(encoding="utf-8")
    (folder / "hep_tutorial.yaml").write_text(text, encoding="utf-8")
    analysis = load_analysis(folder / "hep_tutorial.yaml")
    store = Store(prepare(analysis, tmp_path / "out"))
    manifest = store.manifest
    assert manifest.processes == ["single_top", "ww", "wz", "zz"]
    for name, part in zip(manifest.processes, split(store), strict=True):
        with uproot.open(SHARED / "hep_tutorial" / f"{name}.root") as file:
            array = file["events"].arrays(filter_name=["Jet_*", "Muon_*", "MET*", "EventWeight"])
        assert len(part) == len(array)
        np.testing.assert_array_equal(part.weight, ak.to_numpy(array.EventWeight))
        row = next(row for row in manifest.cutflow if (row.process, row.cut) == (name, "kept"))
        total = float(np.sum(ak.to_numpy(array.EventWeight), dtype=np.float64))
        assert row.yield_ == pytest.approx(total, rel=1e-12)
        for collection, prefix in (("jets", "Jet"), ("muons", "Muon")):
            four = vector.zip(
                {
                    part_name: ak.values_astype(array[f"{prefix}_{branch}"], np.float64)
                    for part_name, branch in
                    (("px", "Px"), ("py", "Py"), ("pz", "Pz"), ("energy", "E"))
                }
            )  # fmt: skip
            order = ak.argsort(four.pt, ascending=False, stable=True)
            four = ak.flatten(four[order])
            found = part.objects[collection]
            assert found.counts.tolist() == ak.num(order).tolist()
            np.testing.assert_allclose(found.values[:, 0], np.log(four.pt), **CLOSE)
            np.testing.assert_allclose(found.values[:, 1], np.abs(four.eta), **CLOSE)
            assert found.momenta is not None
            expected = np.stack([four.px, four.py, four.pz], axis=1)
            scale = np.asarray(four.p)[:, np.newaxis]
            # px … E → pt, eta, phi in float32 → px …: a few float32 ulp of the momentum.
            assert np.max(np.abs(found.momenta[:, :3] - expected) / scale) < 2e-6
            mass = np.asarray(four.mass)
            energy = np.sqrt(np.square(scale[:, 0]) + np.square(np.maximum(mass, 0)))
            np.testing.assert_allclose(found.momenta[:, 3], energy, rtol=2e-6)
        met = np.hypot(*(ak.to_numpy(array[f"MET_{x}"]).astype(np.float64) for x in ("px", "py")))
        np.testing.assert_allclose(part.event[:, 0], np.log(np.maximum(met, 1)), **CLOSE)
    events = store.events()
    rest = branches(SHARED / "hep_tutorial" / "ww.root", ["NJet"], "events").NJet
    assert (np.asarray(rest) == split(store)[1].objects["jets"].counts).all()
    assert len(np.unique(events.identity)) == len(events), "the hash tells all events apart"
