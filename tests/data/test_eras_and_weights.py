"""Eras, triggers, luminosity masks and weights against loops over the events in Python."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import awkward as ak
import correctionlib.schemav2 as schema
import numpy as np
import pytest

from helpers.files import Sample, make_analysis, make_sample, write_root
from particle_transformer.data import Store, prepare
from particle_transformer.errors import AnalysisFileError, InputFileError, SampleError

if TYPE_CHECKING:
    from pathlib import Path

REGIONS = {
    "signal": {"select": "met.pt > 100 and ht > 60", "role": "signal", "blind": True},
    "control": {"select": "met.pt > 20 and count(jets) >= 1", "role": "control"},
    "rest": {"select": "count(jets) == 0", "role": "validation"},
}
MASK = {"1": [[1, 1], [3, 3]], "2": [], "3": [[2, 40]]}
ERAS: dict[str, dict[str, Any]] = {
    "a": {"luminosity": 3.0, "lumi_mask": "golden.json", "trigger": "fired or HLT_B",
          "aliases": {"fired": "HLT_A"}},
    "b": {"luminosity": 5.0, "trigger": "fired", "aliases": {"fired": "HLT_B"}},
}  # fmt: skip
FILES = {
    ("sig", "a"): ["sa.root"],
    ("sig", "b"): ["sb1.root", "sb2.root"],
    ("bkg", "a"): ["ba.root"],
    ("bkg", "b"): ["bb.root"],
    ("data", "a"): ["da.root"],
    ("data", "b"): ["db.root"],
}
CROSS_SECTIONS = {"sig": 0.5, "bkg": 20.0}
CLASSES = {"sig": "signal", "bkg": "background", "data": "data"}


def content(**changes: Any) -> dict[str, Any]:
    processes: dict[str, Any] = {}
    for (process, era), files in FILES.items():
        entry = processes.setdefault(process, {"class": CLASSES[process], "files": {}})
        entry["files"][era] = files
        if process != "data":
            entry["cross_section"] = CROSS_SECTIONS[process]
    return {
        "source": {"identity": ["run", "luminosityBlock", "event"]},
        "luminosity": None,
        "eras": ERAS,
        "processes": processes,
        "objects": {"jets": {"collection": "Jet", "select": "pt > 30", "sort_by": "pt", "max": 2,
                             "features": ["pt"]}},
        "event": {"define": {"met.pt": "MET_pt", "ht": "sum(jets.pt)"}, "features": ["met.pt"]},
        "regions": REGIONS,
        "weights": {"generator": "genWeight", "pileup": "puWeight"},
        **changes,
    }  # fmt: skip


def samples() -> dict[str, Sample]:
    found = {}
    for seed, name in enumerate((name for names in FILES.values() for name in names), 1):
        events = 60 + 10 * seed
        sample = make_sample(seed, events, first_event=1000 * seed)
        random = np.random.default_rng(100 + seed)
        found[name] = sample.replaced(
            run=random.choice([1, 2, 3, 4], events).astype(np.uint32),
            HLT_A=random.random(events) < 0.5,
            HLT_B=random.random(events) < 0.4,
        )
    return found


def write(base: Path, given: dict[str, Sample]) -> None:
    for name, sample in given.items():
        write_root(base / name, sample)
    (base / "golden.json").write_text(json.dumps(MASK))


@dataclass
class Tally:
    events: int = 0
    total: float = 0.0
    squares: float = 0.0

    def add(self, weight: float) -> None:
        self.events += 1
        self.total += weight
        self.squares += weight * weight


def expected_rows(
    process: str, era: str, parts: list[Sample], *, unblind: bool
) -> tuple[dict[str, Tally], dict[str, int], list[float]]:
    """Cutflow, truncated objects and weights of the kept events, one event after the other."""
    rows: dict[str, Tally] = {}
    truncated = 0
    weights = []
    factor = 1.0
    if process != "data":
        generated = math.fsum(float(w) for sample in parts for w in sample.flat["genWeight"])
        factor = CROSS_SECTIONS[process] * 1000 * float(ERAS[era]["luminosity"]) / generated
    for sample in parts:
        jets = sample.jagged["Jet"]["pt"].to_list()
        for i in range(len(sample)):
            event = {name: values[i].item() for name, values in sample.flat.items()}
            pts = [pt for pt in jets[i] if pt > 30]
            ht, met = sum(pts), event["MET_pt"]
            weight = 1.0
            if process != "data":
                weight = factor * event["genWeight"] * event["puWeight"]

            def count(label: str, weight: float = weight) -> None:
                rows.setdefault(label, Tally()).add(weight)

            count("read")
            in_signal = met > 100 and ht > 60
            if process == "data" and in_signal and not unblind:
                continue
            if process == "data" and era == "a":
                ranges = MASK.get(str(event["run"]), [])
                if not any(first <= event["luminosityBlock"] <= last for first, last in ranges):
                    continue
                count("luminosity mask")
            if not (event["HLT_B"] or (era == "a" and event["HLT_A"])):
                continue
            count("trigger")
            if process != "data" or unblind:
                if met > 100:
                    count("signal: met.pt > 100")
                if in_signal:
                    count("signal: ht > 60")
            if met > 20:
                count("control: met.pt > 20")
                if pts:
                    count("control: count(jets) >= 1")
            if not pts:
                count("rest: count(jets) == 0")
            if in_signal or (met > 20 and pts) or not pts:
                count("kept")
                truncated += max(len(pts) - 2, 0)
                weights.append(weight)
    return rows, {"jets": truncated}, weights


@pytest.mark.parametrize("unblind", [False, True])
def test_cutflow_of_two_eras(tmp_path: Path, unblind: bool) -> None:
    given = samples()
    write(tmp_path, given)
    store = Store(prepare(make_analysis(tmp_path, **content()), tmp_path / "out", unblind=unblind))
    manifest, events = store.manifest, store.events()
    truncated: dict[str, int] = {}
    for (process, era), names in FILES.items():
        rows, cut, weights = expected_rows(
            process, era, [given[name] for name in names], unblind=unblind
        )
        truncated[process] = truncated.get(process, 0) + cut["jets"]
        found = {
            row.cut: row for row in manifest.cutflow if (row.process, row.era) == (process, era)
        }
        assert ("luminosity mask" in found) == ((process, era) == ("data", "a"))
        assert found.keys() == rows.keys()
        for label, row in rows.items():
            assert found[label].events == row.events
            assert found[label].yield_ == pytest.approx(row.total, rel=1e-12)
            assert found[label].yield_error == pytest.approx(math.sqrt(row.squares), rel=1e-12)
        chosen = (events.process == manifest.processes.index(process)) & (
            events.era == manifest.eras.index(era)
        )
        np.testing.assert_allclose(events.weight[chosen], weights, rtol=1e-13)
        assert process == "data" or min(weights) < 0
    assert {name: cut["jets"] for name, cut in manifest.truncated.items()} == truncated
    assert next(iter(found)) == "read"
    data = events.process == 2
    assert events.regions["signal"][data].any() == unblind


def test_the_rows_of_the_cutflow_do_not_tell_how_many_events_are_blinded(tmp_path: Path) -> None:
    """Nor their differences: data with other blinded events has the same rows, but for "read"."""
    given = samples()
    regions = {**REGIONS, "all": {"select": "True", "role": "validation"}}
    found = []
    for folder, low in (("one", False), ("two", True)):
        data = given["da.root"]
        jets = data.jagged["Jet"]["pt"]
        blinded = (data.flat["MET_pt"] > 100) & ak.to_numpy(ak.sum(jets[jets > 30], axis=1) > 60)
        fewer = np.flatnonzero(~blinded | (np.cumsum(blinded) < 4)) if low else np.arange(len(data))
        assert len(fewer) < len(data) or not low
        write(tmp_path / folder, {**given, "da.root": data.taken(fewer)})
        analysis = make_analysis(tmp_path / folder, **content(regions=regions))
        manifest = Store(prepare(analysis, tmp_path / folder / "out")).manifest
        found.append([
            row for row in manifest.cutflow if row.process == "data" and row.cut != "read"
        ])  # fmt: skip
    assert found[0] == found[1]


def test_a_luminosity_mask_holds_for_data_only(tmp_path: Path) -> None:
    given = samples()
    write(tmp_path, given)
    eras = {name: {**era, "trigger": None} for name, era in ERAS.items()}
    regions = {"all": {"select": "True", "role": "signal"}}
    store = Store(
        prepare(make_analysis(tmp_path, **content(eras=eras, regions=regions)), tmp_path / "out")
    )
    kept = {record.path.rpartition("/")[2]: record.kept for record in store.manifest.inputs}
    flat = given["da.root"].flat
    certified = [
        any(first <= section <= last for first, last in MASK.get(str(run), []))
        for run, section in zip(flat["run"], flat["luminosityBlock"], strict=True)
    ]
    assert 0 < sum(certified) < len(certified)
    assert kept.pop("da.root") == sum(certified)
    assert kept == {name: len(given[name]) for name in kept}


def test_a_mask_needs_the_identity_and_triggers_their_branches(tmp_path: Path) -> None:
    write(tmp_path, samples())
    with pytest.raises(
        AnalysisFileError, match=r"source.identity: got .*, but era a has a lumi_mask"
    ):
        make_analysis(tmp_path, **content(source={"event_number": "event"}))
    eras = {**ERAS, "b": {"luminosity": 5.0, "trigger": "HLT_C"}}
    with pytest.raises(InputFileError, match=r"sb1.root: 'HLT_C' is neither.*HLT_A"):
        prepare(make_analysis(tmp_path, **content(eras=eras)), tmp_path / "out")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"lumi_mask": "none.json"},
            "process data: none of its 120 events passes eras.a.lumi_mask;",
        ),
        (
            {"trigger": "MET_pt > 1e6"},
            "process data: none of its 120 events passes eras.a.trigger;",
        ),
    ],
)
def test_a_mask_or_trigger_that_leaves_nothing_is_named(tmp_path, changes, message):
    """And not the selections of the regions, which nothing has reached."""
    write(tmp_path, samples())
    (tmp_path / "none.json").write_text("{}")
    only = content()
    only["processes"]["data"]["files"] = {"a": ["da.root"]}
    only["processes"]["sig"]["files"] = {"b": ["sb1.root"]}
    only["processes"]["bkg"]["files"] = {"b": ["bb.root"]}
    only["eras"] = {**ERAS, "a": {**ERAS["a"], **changes}}
    with pytest.raises(SampleError) as caught:
        prepare(make_analysis(tmp_path, **only), tmp_path / "out", unblind=True)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
    # Without --unblind the count of what passes is not told.
    with pytest.raises(SampleError, match="without those in blind regions"):
        prepare(make_analysis(tmp_path, **only), tmp_path / "blind")


def test_an_excluded_file_takes_its_sum_of_weights_along(tmp_path: Path) -> None:
    given = samples()
    write(tmp_path, given)
    base = content()
    processes = {
        **base["processes"],
        "sig": {**base["processes"]["sig"], "exclude": ["*b1.root"]},
    }
    analysis = make_analysis(tmp_path, **content(processes=processes))
    manifest = Store(prepare(analysis, tmp_path / "out")).manifest
    assert not [record for record in manifest.inputs if record.path.endswith("sb1.root")]
    rows, _, _ = expected_rows("sig", "b", [given["sb2.root"]], unblind=False)
    for row in manifest.cutflow:
        if (row.process, row.era) == ("sig", "b"):
            assert row.events == rows[row.cut].events
            assert row.yield_ == pytest.approx(rows[row.cut].total, rel=1e-12)
    total = math.fsum(given["sb2.root"].flat["genWeight"].tolist())
    assert manifest.normalisation["sig"]["b"] == pytest.approx(0.5 * 1000 * 5.0 / total, rel=1e-14)


# -- weights from correction files -------------------------------------------------------------

EDGES = [0.0, 50.0, 100.0, 1e5]
SCALES = [0.9, 1.1, 1.3]
EFFICIENCIES = [0.2, 0.5, 0.7]


def corrections(path: Path) -> str:
    def one(name: str, values: list[float]) -> dict[str, Any]:
        return {
            "name": name, "version": 1, "inputs": [{"name": "pt", "type": "real"}],
            "output": {"name": "weight", "type": "real"},
            "data": {"nodetype": "binning", "input": "pt", "edges": EDGES, "content": values,
                     "flow": "error"},
        }  # fmt: skip

    content = schema.CorrectionSet.model_validate(
        {
            "schema_version": 2,
            "corrections": [one("scale", SCALES), one("efficiency", EFFICIENCIES)],
        }
    )
    path.write_text(content.model_dump_json(exclude_unset=True))
    return str(path)


def in_bin(value: float, table: list[float]) -> float:
    return table[sum(value >= edge for edge in EDGES[1:3])]


def weighed(tmp_path: Path, weights: dict[str, Any], **changes: Any) -> Store:
    analysis = make_analysis(tmp_path, **content(weights=weights, **changes))
    return Store(prepare(analysis, tmp_path / "out"))


@pytest.mark.parametrize("kind", ["event", "objects", "selected", "method 1a"])
def test_corrections_end_to_end(tmp_path: Path, kind: str) -> None:
    given = samples()
    write(tmp_path, given)
    file = corrections(tmp_path / "w.json")
    asked: dict[str, Any] = {"file": file, "correction": "scale", "inputs": ["pt"]}
    entry: dict[str, Any] = {
        "event": {**asked, "inputs": ["met.pt"]},
        "objects": {**asked, "objects": "jets"},
        "selected": {**asked, "objects": "jets", "select": "abs(eta) < 1.5"},
        "method 1a": {
            **asked, "objects": "jets", "select": "abs(eta) < 2.5", "tagged": "btag > 0.6",
            "efficiency": {"file": file, "correction": "efficiency", "inputs": ["pt"]},
        },
    }[kind]  # fmt: skip
    store = weighed(tmp_path, {"generator": "genWeight", "scale": entry})
    events, (files, entries) = store.events(), store.origin()
    checked = 0
    for number, record in enumerate(store.manifest.inputs):
        name = record.path.rpartition("/")[2]
        if record.process == "data":
            assert (events.weight[files == number] == 1).all()
            continue
        sample = given[name]
        jets = ak.zip(sample.jagged["Jet"]).to_list()
        generated = math.fsum(
            w for part in FILES[record.process, record.era]
            for w in given[part].flat["genWeight"].tolist()
        )  # fmt: skip
        luminosity = float(ERAS[record.era]["luminosity"])
        factor = CROSS_SECTIONS[record.process] * 1000 * luminosity / generated
        expected = []
        for row in entries[files == number].tolist():
            weight = float(sample.flat["genWeight"][row]) * factor
            if kind == "event":
                weight *= in_bin(float(sample.flat["MET_pt"][row]), SCALES)
            for jet in jets[row] if kind != "event" else []:
                if not jet["pt"] > 30:
                    continue
                sf, efficiency = in_bin(jet["pt"], SCALES), in_bin(jet["pt"], EFFICIENCIES)
                if kind == "objects" or (kind == "selected" and abs(jet["eta"]) < 1.5):
                    weight *= sf
                if kind == "method 1a" and abs(jet["eta"]) < 2.5:
                    tagged = jet["btag"] > np.float32(0.6)
                    weight *= sf if tagged else (1 - sf * efficiency) / (1 - efficiency)
                checked += 1
            expected.append(weight)
        np.testing.assert_allclose(events.weight[files == number], expected, rtol=1e-12)
    assert checked > 100 or kind == "event"
    for era in ("a", "b"):
        chosen = (events.process == 1) & (events.era == store.manifest.eras.index(era))
        (row,) = [
            row for row in store.manifest.cutflow
            if (row.process, row.era, row.cut) == ("bkg", era, "kept")
        ]  # fmt: skip
        assert row.yield_ == pytest.approx(events.weight[chosen].sum(), rel=1e-12)
        assert row.yield_error == pytest.approx(math.sqrt((events.weight[chosen] ** 2).sum()))


def test_a_trigger_and_a_mask_hold_in_variations(tmp_path: Path) -> None:
    write(tmp_path, samples())
    regions = {"all": {"select": "met.pt > 50", "role": "signal"}}
    variations = {"met": {"up": {"met.pt": "met.pt + 1000"}}}
    analysis = make_analysis(tmp_path, **content(regions=regions, variations=variations))
    store = Store(prepare(analysis, tmp_path / "out"))
    rows = {(row.process, row.era): row for row in store.manifest.cutflow if row.cut == "trigger"}
    events = store.events("met.up")
    for (process, era), row in rows.items():
        if process == "data":
            continue
        chosen = (events.process == store.manifest.processes.index(process)) & (
            events.era == store.manifest.eras.index(era)
        )
        assert chosen.sum() == row.events, "all that the trigger leaves have met.pt > 50 then"
        assert events.weight[chosen].sum() == pytest.approx(row.yield_, rel=1e-12)
