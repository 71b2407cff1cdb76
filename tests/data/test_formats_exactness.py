"""Every format through `prepare` on real files, against numpy and awkward on the same branches.

float32 features allow 2e-6 relative, as in test_exactness; counts and identities are exact.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import awkward as ak
import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
import uproot
from typer.testing import CliRunner

from helpers.files import make_analysis, make_sample, write_root
from particle_transformer.cli.main import app
from particle_transformer.config import load_analysis
from particle_transformer.data import Store, prepare

if TYPE_CHECKING:
    from particle_transformer.data import Manifest
    from particle_transformer.events import Events

REPOSITORY = Path(__file__).parents[2]
SHARED = REPOSITORY.parent / "shared" / "data"
NANO = SHARED / "nanoaod"
CLOSE: dict[str, Any] = {"rtol": 2e-6, "atol": 2e-6}

real_files = pytest.mark.skipif(not SHARED.is_dir(), reason="no shared files beside the repository")


def example(tmp_path: Path, name: str) -> Path:
    """A copy of an example file, beside which its input files go."""
    path = tmp_path / name
    path.write_text((REPOSITORY / "examples" / name).read_text(encoding="utf-8"), "utf-8")
    return path


def assert_valid(path: Path, files: int, entries: int) -> None:
    result = CliRunner().invoke(app, ["validate", str(path)])
    assert result.exit_code == 0, result.output
    assert f"{files} files, {entries} entries" in " ".join(result.output.split())


def part(store: Store, process: str) -> Events:
    events = store.events()
    return events.take(np.flatnonzero(events.process == store.manifest.processes.index(process)))


def kept_row(manifest: Manifest, process: str) -> Any:
    (row,) = [row for row in manifest.cutflow if (row.process, row.cut) == (process, "kept")]
    return row


def delta_phi(one: Any, other: Any) -> Any:
    return (one - other + np.pi) % (2 * np.pi) - np.pi


def cartesian(pt: Any, eta: Any, phi: Any, mass: Any) -> Any:
    pt, eta, phi, mass = (np.asarray(ak.flatten(x), dtype=np.float64) for x in (pt, eta, phi, mass))
    momentum = [pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)]
    energy = np.sqrt((pt * np.cosh(eta)) ** 2 + mass * np.abs(mass))
    return np.stack([*momentum, energy], axis=1)


def assert_objects(found: Any, columns: list[Any], momenta: Any = None) -> None:
    """Jagged `columns` by feature, and (objects, 4)."""
    assert found.counts.tolist() == ak.num(columns[0]).tolist()
    expected = np.stack(
        [np.asarray(ak.flatten(column), dtype=np.float64) for column in columns], axis=1
    )
    np.testing.assert_allclose(found.values, expected, **CLOSE)
    if momenta is None:
        assert found.momenta is None
    else:
        scale = momenta[:, 3:]
        assert np.max(np.abs(found.momenta - momenta) / scale, initial=0) < 1e-6


@real_files
def test_delphes(tmp_path: Path) -> None:
    path = example(tmp_path, "delphes.yaml")
    (tmp_path / "delphes").mkdir()
    for name in ("signal", "background"):
        shutil.copyfile(SHARED / "delphes" / "delphes.root", tmp_path / "delphes" / f"{name}.root")
    assert_valid(path, 2, 50)
    store = Store(prepare(load_analysis(path), tmp_path / "out"))
    with uproot.open(SHARED / "delphes" / "delphes.root") as file:
        tree = file["Delphes"]
        names = [key for key in tree.keys(recursive=True) if key.startswith(("Jet/", "Electron/"))]
        fields = ("PT", "Eta", "Phi", "Mass", "BTag", "Charge")
        array = {
            name.rpartition("/")[2]: tree[name].array()
            for name in names
            if name.rpartition(".")[2] in fields
        }
        single = {
            name: ak.to_numpy(tree[name].array()[:, 0]).astype(np.float64)
            for name in (
                "MissingET.MET",
                "MissingET.Phi",
                "ScalarHT.HT",
                "Event.Weight",
                "Event.Number",
            )
        }

    def collection(prefix: str, names: tuple[str, ...]) -> ak.Array:
        return ak.zip(
            {name: ak.values_astype(array[f"{prefix}.{name}"], np.float64) for name in names}
        )

    electrons = collection("Electron", ("PT", "Eta", "Phi", "Charge"))
    electrons = electrons[electrons.PT > 10]
    electrons = electrons[ak.argsort(electrons.PT, ascending=False, stable=True)]
    jets = collection("Jet", ("PT", "Eta", "Phi", "Mass", "BTag"))
    jets = jets[(jets.PT > 30) & (abs(jets.Eta) < 4.7)]
    pairs = ak.cartesian({"jet": jets, "electron": electrons}, nested=True)
    distance = np.hypot(
        pairs.jet.Eta - pairs.electron.Eta, delta_phi(pairs.jet.Phi, pairs.electron.Phi)
    )
    overlapping = ak.any(distance < 0.4, axis=2)
    jets = jets[~overlapping]
    jets = jets[ak.argsort(jets.PT, ascending=False, stable=True)]
    kept = ak.to_numpy(ak.num(jets) >= 1)
    jets, electrons = jets[kept], electrons[kept]
    met, met_phi, scalar, weight, number = (values[kept] for values in single.values())
    ht = ak.to_numpy(ak.sum(jets.PT, axis=1))
    factors = {"signal": 0.5, "background": 20.0}
    for process, cross_section in factors.items():
        found = part(store, process)
        assert_objects(
            found.objects["jets"],
            [np.log(jets.PT), jets.Eta, delta_phi(jets.Phi, met_phi),
             np.log(np.maximum(jets.Mass, 0.1)), jets.BTag],
            cartesian(jets.PT, jets.Eta, jets.Phi, jets.Mass),
        )  # fmt: skip
        assert_objects(
            found.objects["electrons"],
            [np.log(electrons.PT), electrons.Eta, delta_phi(electrons.Phi, met_phi),
             electrons.Charge],
            cartesian(electrons.PT, electrons.Eta, electrons.Phi,
                      ak.full_like(electrons.PT, 0.000511)),
        )  # fmt: skip
        event = [np.log(met), np.log(np.maximum(ht, 1)), np.log(np.maximum(scalar, 1)),
                 ak.num(jets), ak.num(electrons)]  # fmt: skip
        np.testing.assert_allclose(found.event, np.stack(event, axis=1), **CLOSE)
        np.testing.assert_array_equal(found.identity[:, 0], number)
        expected = weight * cross_section * 1000 * 300 / single["Event.Weight"].sum()
        np.testing.assert_allclose(found.weight, expected, rtol=1e-12)
        row = kept_row(store.manifest, process)
        assert row.events == kept.sum()
        assert row.yield_ == pytest.approx(expected.sum(), rel=1e-12)


@real_files
def test_numbered_columns_in_two_trees(tmp_path: Path) -> None:
    path = example(tmp_path, "higgs_numbered.yaml")
    (tmp_path / "higgs_root").symlink_to(SHARED / "higgs_root")
    assert_valid(path, 2, 20_000)
    store = Store(prepare(load_analysis(path), tmp_path / "out"))
    with uproot.open(SHARED / "higgs_root" / "Higgs_data.root") as file:
        trees = {"higgs": file["sig_tree"].arrays(library="np"),
                 "background": file["bkg_tree"].arrays(library="np")}  # fmt: skip
    for process, tree in trees.items():
        found = part(store, process)
        assert len(found) == 10_000
        jets = {
            name: np.stack([tree[f"jet{number}_{name}"] for number in range(1, 5)], axis=1)
            for name in ("pt", "eta", "phi", "b-tag")
        }
        order = np.argsort(-jets["pt"], axis=1, kind="stable")
        jets = {name: np.take_along_axis(values, order, axis=1) for name, values in jets.items()}
        turned = delta_phi(
            jets["phi"].astype(np.float64), tree["missing_energy_phi"].astype(np.float64)[:, None]
        )
        values = found.objects["jets"].values.reshape(10_000, 4, 5)
        for column, name in enumerate(("pt", "eta", "phi", "b-tag")):
            np.testing.assert_array_equal(values[:, :, column], jets[name])
        np.testing.assert_allclose(values[:, :, 4], turned, **CLOSE)
        names = ("lepton_pT", "lepton_eta", "missing_energy_magnitude", "m_bb", "m_wwbb")
        for column, name in enumerate(names):
            np.testing.assert_array_equal(found.event[:, column], tree[name])
        total = jets["pt"].astype(np.float64).sum(axis=1)
        np.testing.assert_allclose(found.event[:, 5], total, **CLOSE)
        np.testing.assert_array_equal(found.event[:, 6], (jets["b-tag"] > 0).sum(axis=1))
        np.testing.assert_allclose(found.weight, 1000 / 10_000, rtol=1e-14)
        assert kept_row(store.manifest, process).yield_ == pytest.approx(1000, rel=1e-12)


def split_by_flag(base: Path) -> dict[str, dict[str, Any]]:
    """One file per class from the one with a flag; the datasets of each."""
    found: dict[str, dict[str, Any]] = {}
    with h5py.File(SHARED / "spanet" / "semi_leptonic_ttH.h5") as source:
        datasets: dict[str, Any] = {}
        source.visititems(
            lambda name, item: (
                datasets.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None
            )
        )
    flag = datasets["CLASSIFICATIONS/EVENT/signal"]
    base.mkdir()
    for name, wanted in (("ttH", 1), ("background", 0)):
        found[name] = {key: values[flag == wanted] for key, values in datasets.items()}
        with h5py.File(base / f"{name}.h5", "w") as file:
            for key, values in found[name].items():
                file[key] = values
    return found


@real_files
def test_padded_hdf5(tmp_path: Path) -> None:
    path = example(tmp_path, "spanet.yaml")
    classes = split_by_flag(tmp_path / "spanet")
    assert_valid(path, 2, 1000)
    store = Store(prepare(load_analysis(path), tmp_path / "out"))
    for process, data in classes.items():
        group = "INPUTS/Momenta"
        mask = data[f"{group}/MASK"]
        jagged = {
            name: ak.drop_none(ak.mask(ak.Array(data[f"{group}/{name}"].astype(np.float64)), mask))
            for name in ("pt", "eta", "mass", "btag", "etag", "utag", "sin_phi", "cos_phi")
        }
        objects = ak.zip(jagged)
        objects["phi"] = np.arctan2(objects.sin_phi, objects.cos_phi)
        met = data["INPUTS/Met/met"].astype(np.float64)
        met_phi = np.arctan2(
            *(data[f"INPUTS/Met/{name}"].astype(np.float64) for name in ("sin_phi", "cos_phi"))
        )
        jets = objects[(objects.etag == 0) & (objects.utag == 0) & (objects.pt > 20)]
        jets = jets[ak.argsort(jets.pt, ascending=False, stable=True)]
        leptons = objects[(objects.etag == 1) | (objects.utag == 1)]
        kept = ak.to_numpy((ak.num(jets) >= 4) & (ak.num(leptons) >= 1))
        assert kept.sum() > 100
        jets, leptons, met, met_phi = jets[kept], leptons[kept], met[kept], met_phi[kept]
        found = part(store, process)
        assert_objects(
            found.objects["jets"],
            [np.log(jets.pt), jets.eta, delta_phi(jets.phi, met_phi),
             np.log(np.maximum(jets.mass, 0.1)), jets.btag],
            cartesian(jets.pt, jets.eta, jets.phi, jets.mass),
        )  # fmt: skip
        assert_objects(
            found.objects["leptons"],
            [np.log(leptons.pt), leptons.eta, delta_phi(leptons.phi, met_phi), leptons.etag],
            cartesian(leptons.pt, leptons.eta, leptons.phi, leptons.mass),
        )
        event = [np.log(np.maximum(met, 1)), np.log(ak.sum(jets.pt, axis=1)), ak.num(jets),
                 ak.sum(jets.btag, axis=1)]  # fmt: skip
        np.testing.assert_allclose(found.event, np.stack(event, axis=1), **CLOSE)
        cross_section = {"ttH": 0.1, "background": 1.0}[process]
        row = kept_row(store.manifest, process)
        expected = cross_section * 1000 * 140 * kept.sum() / len(kept)
        assert row.events == kept.sum()
        assert row.yield_ == pytest.approx(expected, rel=1e-12)
        assert row.yield_error == pytest.approx(expected / np.sqrt(kept.sum()), rel=1e-12)


@real_files
def test_full_hadronic_hdf5(tmp_path: Path) -> None:
    """One file of tt̄ alone: the signal is its first half, written anew and compressed."""
    source = SHARED / "spanet" / "full_hadronic_ttbar.h5"
    with h5py.File(source) as file:
        data = {name: file[f"INPUTS/Source/{name}"][()]
                for name in ("MASK", "pt", "eta", "phi", "mass", "btag")}  # fmt: skip
    with h5py.File(tmp_path / "half.h5", "w") as file:
        for name, values in data.items():
            file.create_dataset(
                f"INPUTS/Source/{name}", data=values[:5000], compression="gzip", chunks=(777, 10)
            )
    analysis = make_analysis(
        tmp_path,
        source={},
        processes={
            "half": {"class": "signal", "cross_section": 1.0, "files": "half.h5"},
            "whole": {"class": "background", "cross_section": 800.0, "files": str(source)},
        },
        objects={"jets": {"collection": "INPUTS_Source", "sort_by": "btag", "max": 6,
                          "features": ["btag", "pt", "eta", "phi", "mass"]}},
        event={"features": ["sum(jets.pt)", "count(jets)"]},
        weights=None,
    )  # fmt: skip
    store = Store(prepare(analysis, tmp_path / "out"))
    jets = ak.zip(
        {name: ak.drop_none(ak.mask(ak.Array(values), data["MASK"]))
         for name, values in data.items() if name != "MASK"}
    )  # fmt: skip
    jets = jets[ak.argsort(jets.btag, ascending=False, stable=True)]
    seen = jets[:, :6]
    for process, events in (("half", 5000), ("whole", 10_000)):
        found = part(store, process)
        columns = [seen[:events][name] for name in ("btag", "pt", "eta", "phi", "mass")]
        assert found.objects["jets"].counts.tolist() == ak.num(columns[0]).tolist()
        for column, values in enumerate(columns):
            np.testing.assert_array_equal(
                found.objects["jets"].values[:, column], ak.to_numpy(ak.flatten(values))
            )
        total = ak.sum(ak.values_astype(jets.pt[:events], np.float64), axis=1)
        np.testing.assert_allclose(found.event[:, 0], total, **CLOSE)
        np.testing.assert_array_equal(found.event[:, 1], ak.num(jets[:events]))
        cut = int(ak.sum(ak.num(jets[:events]) - ak.num(seen[:events])))
        assert store.manifest.truncated[process] == {"jets": cut}


def nano(tmp_path: Path, signal: Path, **changes: Any) -> Store:
    settings: dict[str, Any] = {
        "source": {"identity": ["run", "luminosityBlock", "event"]},
        "processes": {
            "sig": {"class": "signal", "cross_section": 6000.0, "files": str(signal)},
            "bkg": {"class": "background", "cross_section": 1.0,
                    "files": str(NANO / "ttH_M125_2017.root")},
        },
        "objects": {"jets": {"collection": "Jet", "select": "pt > 20", "sort_by": "pt",
                             "features": ["pt", "eta", "phi", "mass"]}},
        "event": {"define": {"met.pt": "MET_pt"}, "select": "met.pt > 5",
                  "features": ["met.pt", "sum(jets.pt)"]},
        "model": {"pair_bias": True},
        **changes,
    }  # fmt: skip
    analysis = make_analysis(tmp_path, **settings)
    return Store(prepare(analysis, tmp_path / f"out-{len(list(tmp_path.iterdir()))}"))


def assert_equal(one: Events, other: Events) -> None:
    for name, ragged in one.objects.items():
        np.testing.assert_array_equal(ragged.values, other.objects[name].values)
        np.testing.assert_array_equal(ragged.offsets, other.objects[name].offsets)
        np.testing.assert_array_equal(ragged.momenta, other.objects[name].momenta)
    for name in ("event", "weight", "identity", "process", "era"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@real_files
def test_the_parquet_twin_has_the_same_yields(tmp_path: Path) -> None:
    """With the generated sums of the Runs tree in its metadata; without, those of its entries."""
    with uproot.open(NANO / "nano_dy.root") as file:
        sums = {name: float(file[f"Runs/{name}_"].array()[0])
                for name in ("genEventSumw", "genEventCount")}  # fmt: skip
    table = pq.read_table(NANO / "nano_dy.parquet")
    metadata = {**(table.schema.metadata or {}), **{name: repr(x) for name, x in sums.items()}}
    pq.write_table(table.replace_schema_metadata(metadata), tmp_path / "stated.parquet")
    root = nano(tmp_path, NANO / "nano_dy.root")
    stated = nano(tmp_path, tmp_path / "stated.parquet")
    bare = nano(tmp_path, NANO / "nano_dy.parquet")
    assert_equal(stated.events(), root.events())
    assert stated.manifest.cutflow == root.manifest.cutflow
    weight = ak.to_numpy(ak.from_parquet(NANO / "nano_dy.parquet", columns=["genWeight"]).genWeight)
    generated = weight.astype(np.float64).sum()
    for row, other in zip(root.manifest.cutflow, bare.manifest.cutflow, strict=True):
        scale = sums["genEventSumw"] / generated if row.process == "sig" else 1.0
        assert (row.cut, row.events) == (other.cut, other.events)
        assert other.yield_ == pytest.approx(row.yield_ * scale, rel=1e-12)
        assert other.yield_error == pytest.approx(row.yield_error * scale, rel=1e-12)


@real_files
def test_recorded_data_with_a_luminosity_mask(tmp_path: Path) -> None:
    """The recorded events are of one section; those of a simulation stand in for other runs."""
    paths = [NANO / "EGamma_2022E_v13.root", NANO / "nano_tt_v12.root"]
    names = ["run", "luminosityBlock", "event", "Jet_pt", "MET_pt"]
    arrays = []
    for path in paths:
        with uproot.open(path) as file:
            arrays.append(file["Events"].arrays(names))
    array = ak.concatenate(arrays)
    places = list(zip(array.run.tolist(), array.luminosityBlock.tolist(), strict=True))
    certified = sorted(set(places))[1::2] + places[:1]
    mask: dict[str, list[list[int]]] = {}
    for run, section in certified:
        mask.setdefault(str(run), []).append([section, section])
    (tmp_path / "golden.json").write_text(json.dumps(mask))
    processes: dict[str, Any] = {
        "sig": {"class": "signal", "cross_section": 1.0, "files": NANO / "nano_dy.root"},
        "bkg": {"class": "background", "cross_section": 1.0, "files": NANO / "ttH_M125_2017.root"},
        "recorded": {"class": "data", "files": paths[0]},
        "other": {"class": "data", "files": paths[1]},
    }
    for process in processes.values():
        process["files"] = {"all": str(process["files"])}
    eras = {"all": {"luminosity": 1.0, "lumi_mask": "golden.json"}}
    store = nano(tmp_path, paths[0], processes=processes, eras=eras, luminosity=None)
    for process, one in zip(("recorded", "other"), arrays, strict=True):
        sections = zip(one.run.tolist(), one.luminosityBlock.tolist(), strict=True)
        good = np.array([place in certified for place in sections])
        assert good.all() if process == "recorded" else 0 < good.sum() < len(good)
        kept = good & ak.to_numpy(one.MET_pt > 5)
        found = part(store, process)
        numbers = ak.to_numpy(one.event[kept]).astype(np.int64)
        np.testing.assert_array_equal(found.identity[:, 2], numbers)
        np.testing.assert_array_equal(found.event[:, 0], ak.to_numpy(one.MET_pt[kept]))
        jets = one.Jet_pt[kept]
        jets = ak.sort(jets[jets > 20], ascending=False)
        assert found.objects["jets"].counts.tolist() == ak.num(jets).tolist()
        values = found.objects["jets"].values[:, 0]
        np.testing.assert_array_equal(values, ak.to_numpy(ak.flatten(jets)))
        rows = {row.cut: row.events for row in store.manifest.cutflow if row.process == process}
        assert rows == {
            "read": len(one), "luminosity mask": good.sum(), "signal: met.pt > 5": kept.sum(),
            "kept": kept.sum(),
        }  # fmt: skip
        assert (found.weight == 1).all()
    simulated = [row.cut for row in store.manifest.cutflow if row.process == "sig"]
    assert "luminosity mask" not in simulated


def test_an_rntuple_is_as_good_as_a_tree(tmp_path: Path) -> None:
    stores = []
    for form in ("tree", "rntuple"):
        for seed, name in enumerate("sb", 1):
            sample = make_sample(seed, 200, first_event=1000 * seed)
            path = tmp_path / form / f"{name}.root"
            path.parent.mkdir(exist_ok=True)
            if form == "tree":
                write_root(path, sample)
                continue
            with uproot.recreate(path) as file:
                file.mkrntuple("Events", {
                    **{key: ak.Array(values) for key, values in sample.flat.items()},
                    **{f"{prefix}_{key}": values for prefix, fields in sample.jagged.items()
                       for key, values in fields.items()},
                })  # fmt: skip
        analysis = make_analysis(tmp_path / form, model={"pair_bias": True})
        stores.append(Store(prepare(analysis, tmp_path / form / "out")))
    tree, rntuple = stores
    assert_equal(rntuple.events(), tree.events())
    assert rntuple.manifest.cutflow == tree.manifest.cutflow
    assert len(tree.events()) > 100
