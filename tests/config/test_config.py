"""The analysis file: what is read, every error, and the round trip."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from particle_transformer.config import (
    Analysis,
    Correction,
    CorrectionLookup,
    Varied,
    analysis_fingerprint,
    dump_analysis,
    load_analysis,
    parse_analysis,
)
from particle_transformer.errors import AnalysisFileError

FULL = """
name: ttH-invisible
source: {format: nanoaod, event_number: event, identity: [run, luminosityBlock, event]}
eras:
  2017: {luminosity: 41.5}
  "2018": {luminosity: 59.8, aliases: {btag: btagDeepFlavB}, lumi_mask: golden.json,
           trigger: "HLT_MET or HLT_MHT"}
processes:
  ttH_HToInv: {class: signal, cross_section: 0.507,
               files: {"2018": ["samples/ttH*.root"], 2017: a.root}}
  TTbar: {class: top, cross_section: 831.8, files: {"2018": [/data/tt.root, "root://host//tt.root"]}}
  ZJets: {class: boson, cross_section: 6e3, files: {"2018": ["../z.root"]}}
  WJets: {class: top, cross_section: 6.1e4, tree: W, files: {"2018": w.root}}
  MET: {class: data, files: {"2018": [data/MET*.root]}, exclude: data/MET_9.root}
objects:
  electrons: {collection: "Electron{}", select: "pt > 10 and abs(eta) < 2.5",
              features: [log(pt), eta, delta_phi(phi, met.phi)]}
  jets:
    fields: {pt: jet_pt / 1000, phi: jet_phi, mass: 0.1}
    sort_by: pt
    max: 16
    features: [log(max(mass, 0.1)), where(pt > 30, 1.5, max(2, 3)), 1]
event:
  define: {met.pt: MET_pt, met.phi: MET_phi, ht: "sum(jets.pt)", st: ht + met.pt}
  features: [log(met.pt), count(jets)]
weights:
  generator: genWeight
  pileup: puWeight
  id: {file: "~/sf/ele.json.gz", correction: ID, inputs: [2018, nominal, abs(eta), pt],
       objects: electrons, select: pt > 20}
  btag:
    file: sf/btag.json
    correction: deepJet
    inputs: [central, M, hadronFlavour, abs(eta), "max(pt, 20)"]
    objects: jets
    tagged: btag > 0.3
    efficiency: {file: /eff.json, correction: eff, inputs: [hadronFlavour, delta_phi(phi, 0), pt]}
regions:
  signal: {select: "met.pt > 200", role: signal, blind: true}
  one_electron: {select: "met.pt > 100 and
                 count(electrons) == 1", role: control}
variations:
  JES: {up: {jets.pt: pt * 1.02, jets.mass: mass * 1.02}, down: {jets.pt: pt * 0.98}, propagate_to_met: pt > 15}
  unclustered: {down: {met.pt: MET_pt_down, met.phi: 0}, up: {met.pt: MET_pt_up}}
  pileup: {up: {weights.pileup: puWeightUp}, down: {weights.pileup: 1}}
  btag: {up: {weights.btag: {file: up.json, correction: deepJet, inputs: [up, delta_phi(phi, met.phi)]}}}
  tune: {up: {processes.TTbar.files: {"2018": tt_up.root}, processes.ttH_HToInv.files: {2017: [a, b]}}}
training: {folds: 3, negative_weights: abs, learning_rate: 1e-4}
model: {embed_dims: 64, linear_dims2: 32, pair_bias: true}
evaluation: {working_points: [0.3], background_uncertainty: 0}
"""

SHORT = """
name: demo
luminosity: 10
processes:
  sig: {class: signal, cross_section: 1, files: s.parquet}
  bkg: {class: background, cross_section: 2, files: [b1.parquet, b2.parquet]}
objects: {jets: {collection: Jet, features: [pt]}}
"""


def parse(text: str, base: Path = Path("/base")) -> Analysis:
    return parse_analysis(yaml.safe_load(text), base=base, label="analysis.yaml")


def changed(changes: dict[str, Any], text: str = SHORT) -> dict[str, Any]:
    """The analysis with some keys (dotted paths) set; None removes one."""
    data: dict[str, Any] = copy.deepcopy(yaml.safe_load(text))
    for path, value in changes.items():
        *parents, last = path.split("/")
        place = data
        for parent in parents:
            place = place.setdefault(parent, {})
        if value is None:
            del place[last]
        else:
            place[last] = value
    return data


def test_full_file() -> None:
    analysis = parse(FULL)
    assert analysis.classes == ("signal", "top", "boson")
    assert analysis.training_processes == ("ttH_HToInv", "TTbar", "ZJets", "WJets")
    assert analysis.class_of("MET") == "data"
    assert analysis.source.tree == "Events"
    assert list(analysis.eras) == ["2017", "2018"]
    assert analysis.eras["2018"].lumi_mask == "/base/golden.json"
    assert analysis.eras["2018"].trigger == "HLT_MET or HLT_MHT"
    assert analysis.processes["MET"].exclude == ("/base/data/MET_9.root",)
    assert analysis.processes["TTbar"].exclude == ()
    assert analysis.objects["electrons"].collection == "Electron{}"
    assert analysis.eras["2018"].aliases == {"btag": "btagDeepFlavB"}
    assert analysis.processes["ZJets"].cross_section == 6000
    assert analysis.processes["WJets"].tree == "W"
    assert analysis.objects["electrons"].features == ("log(pt)", "eta", "delta_phi(phi, met.phi)")
    assert analysis.objects["jets"].fields == {
        "pt": "jet_pt / 1000",
        "phi": "jet_phi",
        "mass": "0.1",
    }
    assert analysis.objects["jets"].features == (
        "log(max(mass, 0.1))", "where(pt > 30, 1.5, max(2, 3))", "1",
    )  # fmt: skip
    assert analysis.regions["one_electron"].select == "met.pt > 100 and count(electrons) == 1"
    assert not analysis.regions["one_electron"].blind
    assert analysis.training.learning_rate == 1e-4
    assert (analysis.model.linear_dims1, analysis.model.linear_dims2) == (64, 32)


def test_weights_are_expressions_and_corrections() -> None:
    home = str(Path("~").expanduser())
    weights = parse(FULL).weights
    assert (weights["generator"], weights["pileup"]) == ("genWeight", "puWeight")
    identified, tagging = weights["id"], weights["btag"]
    assert isinstance(identified, Correction)
    assert identified.file == f"{home}/sf/ele.json.gz"
    assert identified.inputs == ("2018", "nominal", "abs(eta)", "pt")
    assert (identified.objects, identified.select) == ("electrons", "pt > 20")
    assert isinstance(tagging, Correction)
    assert (tagging.file, tagging.tagged) == ("/base/sf/btag.json", "btag > 0.3")
    assert tagging.efficiency == CorrectionLookup(
        file="/eff.json", correction="eff", inputs=("hadronFlavour", "delta_phi(phi, 0)", "pt")
    )


def test_the_normal_form_of_variations() -> None:
    jes_up, jes_down, unclustered_up, unclustered_down, *rest = parse(FULL).varied
    assert jes_up == Varied(
        "JES.up",
        fields={("jets", "pt"): "pt * 1.02", ("jets", "mass"): "mass * 1.02"},
        propagate_to_met="pt > 15",
    )
    assert jes_down == Varied(
        "JES.down", fields={("jets", "pt"): "pt * 0.98"}, propagate_to_met="pt > 15"
    )
    assert unclustered_up == Varied("unclustered.up", quantities={"met.pt": "MET_pt_up"})
    assert unclustered_down == Varied(
        "unclustered.down", quantities={"met.pt": "MET_pt_down", "met.phi": "0"}
    )
    tagging = Correction(
        file="/base/up.json", correction="deepJet", inputs=("up", "delta_phi(phi, met.phi)")
    )
    assert rest == [
        Varied("pileup.up", weights={"pileup": "puWeightUp"}),
        Varied("pileup.down", weights={"pileup": "1"}),
        Varied("btag.up", weights={"btag": tagging}),
        Varied(
            "tune.up",
            files={
                "TTbar": {"2018": ("/base/tt_up.root",)},
                "ttH_HToInv": {"2017": ("/base/a", "/base/b")},
            },
        ),
    ]


def test_a_weight_called_like_a_quantity_and_propagation_switched_on() -> None:
    data = changed({
        "event/define": {"met.pt": "MET_pt", "met.phi": "MET_phi", "pileup": "2"},
        "weights": {"pileup": "pileup"},
        "variations/v": {"up": {"pileup": 3, "weights.pileup": 4, "jets.phi": "-phi"},
                         "propagate_to_met": True},
    })  # fmt: skip
    assert parse_analysis(data, base=Path()).varied == (
        Varied("v.up", {("jets", "phi"): "-phi"}, {"pileup": "3"}, {"pileup": "4"}, {}, True),
    )


def test_varied_files_as_a_list_where_there_is_one_era() -> None:
    data = changed({"variations/tune/down": {"processes.bkg.files": "/x/*.parquet"}})
    (varied,) = parse_analysis(data, base=Path("/base")).varied
    assert varied == Varied("tune.down", files={"bkg": {"all": ("/x/*.parquet",)}})


def test_the_files_whose_content_shapes_the_events() -> None:
    home = str(Path("~").expanduser())
    analysis = parse(FULL)
    assert analysis.files_read == tuple(
        sorted([
            "/base/golden.json", f"{home}/sf/ele.json.gz", "/base/sf/btag.json", "/eff.json",
            "/base/up.json",
        ])
    )  # fmt: skip
    assert parse(SHORT).files_read == ()
    same = {"file": "a.json", "correction": "c", "inputs": []}
    twice = changed({"weights": {"one": same, "other": {**same, "correction": "d"}}})
    assert parse_analysis(twice, base=Path("/base")).files_read == ("/base/a.json",)


def test_a_folder_with_pattern_characters_holds_a_mask() -> None:
    eras = {"a": {"luminosity": 1, "lumi_mask": "m.json"}}
    data = changed({"luminosity": None, "eras": eras, "source": {"identity": ["r", "l", "e"]}})
    assert parse_analysis(data, base=Path("/run[1]")).eras["a"].lumi_mask == "/run[1]/m.json"


def test_files_are_resolved_against_the_folder_of_the_analysis_file() -> None:
    processes = parse(FULL).processes
    assert processes["ttH_HToInv"].files == {
        "2018": ("/base/samples/ttH*.root",),
        "2017": ("/base/a.root",),
    }
    assert processes["TTbar"].files["2018"] == ("/data/tt.root", "root://host//tt.root")
    assert processes["ZJets"].files["2018"] == ("/z.root",)


def test_a_folder_with_pattern_characters_is_not_a_pattern(tmp_path: Path) -> None:
    folder = tmp_path / "run[1]"
    folder.mkdir()
    (folder / "s.parquet").touch()
    (pattern,) = parse(SHORT, folder).processes["sig"].files["all"]
    root = Path(pattern).anchor
    assert list(Path(root).glob(pattern.removeprefix(root))) == [folder / "s.parquet"]


def test_short_forms() -> None:
    analysis = parse(SHORT)
    assert analysis.eras["all"].luminosity == 10
    assert analysis.processes["sig"].files == {"all": ("/base/s.parquet",)}
    assert analysis.processes["bkg"].files["all"] == ("/base/b1.parquet", "/base/b2.parquet")
    region = analysis.regions["signal"]
    assert (region.select, region.role, region.blind) == ("True", "signal", False)
    assert analysis.classes == ("signal", "background")
    selected = parse_analysis(changed({"event/select": "n > 3"}), base=Path())
    assert selected.regions["signal"].select == "n > 3"


def test_files_as_a_list_where_the_only_era_is_named() -> None:
    data = changed({"luminosity": None, "eras": {2018: {"luminosity": 3}}})
    assert list(parse_analysis(data, base=Path()).processes["sig"].files) == ["2018"]


def test_identity_is_the_event_number_unless_it_says_more() -> None:
    def identity(source: dict[str, Any]) -> tuple[str, ...]:
        return parse_analysis(changed({"source": source}), base=Path()).source.identity

    assert identity({}) == ()
    assert identity({"event_number": "event"}) == ("event",)
    assert identity({"event_number": "event", "identity": ["run", "event"]}) == ("run", "event")


def test_ready_weights_need_neither_cross_section_nor_luminosity() -> None:
    data = changed({
        "luminosity": None, "event/weight": "EventWeight",
        "processes/sig/cross_section": None, "processes/bkg/cross_section": None,
    })  # fmt: skip
    analysis = parse_analysis(data, base=Path())
    assert analysis.eras["all"].luminosity is None
    assert analysis.event.weight == "EventWeight"


def test_documented_defaults() -> None:
    analysis = parse(SHORT)
    assert analysis.model.model_dump() == {
        "embed_dims": 128, "linear_dims1": 128, "linear_dims2": 128, "mlp_hidden_1": 64,
        "mlp_hidden_2": 32, "num_heads": 8, "feedforward_factor": 4,
        "class_feedforward_factor": None, "num_att_blocks": 3, "num_class_blocks": 3,
        "dropout": 0.0, "pair_bias": False, "pair_dims": (32, 32), "layer_scale": 0.1,
        "event_features": None, "feedforward": "gelu", "feature_embedding": "linear",
    }  # fmt: skip
    assert analysis.training.model_dump() == {
        "folds": 5, "init": None, "epochs": 30, "batch_size": 256,
        "learning_rate": 1e-3, "weight_decay": 0.01,
        "warmup_epochs": 1.0, "patience": 6, "seed": 1, "negative_weights": "keep",
        "balance": "class", "gradient_clip": 1.0, "sampling": "shuffled",
        "augmentation": (), "precision": "float32", "ensemble": 1, "accumulate": 1, "ema": None,
        "compile": False, "loss": {"name": "cross_entropy", "gamma": None}, "disco": None,
        "double_disco": None, "regression": None, "condition": (),
        "loggers": ({"name": "csv"}, {"name": "tensorboard"}), "checkpoint_minutes": 5.0,
    }  # fmt: skip
    assert analysis.evaluation.model_dump() == {
        "working_points": (0.3, 0.5, 0.7), "background_uncertainty": 0.1, "bootstrap": 200,
        "limit": {
            "regions": (), "free": (), "normalisation": {}, "minimum_background": 3.0,
            "minimum_effective_events": 10.0, "maximum_bins": 10, "level": 0.95,
        },
    }  # fmt: skip


def test_empty_sections_take_their_defaults() -> None:
    data = yaml.safe_load(SHORT + "training:\nevent:\nweights:\n")
    assert parse_analysis(data, base=Path("/base")) == parse(SHORT)


JETS = "objects/jets"
SF = {"file": "sf.json", "correction": "sf", "inputs": ["pt"]}
MET = {"met.pt": "MET_pt", "met.phi": "MET_phi"}


def vary(up: Any, **others: Any) -> dict[str, Any]:
    return {"variations": {"v": {"up": up, **others}}}


ELECTRONS = {"collection": "Electron", "features": ["pt"]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"nam": "x"}, "nam: unknown key; nearest: name"),
        ({"luminosty": 3}, "luminosty: unknown key; nearest: luminosity"),
        ({"name": None}, "name: missing"),
        ({"name": "a/b"}, "name: 'a/b' is not a safe name"),
        ({"name": True}, "name: got true, expected text; put it in quotes"),
        ({"objects": None}, "objects: missing"),
        ({"objects": {}}, "objects: empty; expected at least one"),
        ({"objects": [1]}, "objects: got a list, expected keys with values"),
        ({"processes": [1]}, "processes: got a list, expected keys with values"),
        ({"processes/sig": 3}, "processes.sig: got 3, expected keys with values"),
        ({"processes/s g": {}}, "processes.s g: 's g' is not a safe name"),
        ({"processes/sig/xsec": 3}, "processes.sig.xsec: unknown key; .*class"),
        ({"processes/sig/clas": "signal", "processes/sig/class": None},
         r"processes.sig.clas: unknown key; nearest: class.* \(and 1 more error\)"),
        ({"processes/sig/cross_section": -1},
         "processes.sig.cross_section: got -1, expected a number > 0, in pb$"),
        ({"processes/sig/cross_section": "big"},
         "processes.sig.cross_section: got 'big', expected a number, in pb$"),
        ({"processes/sig/cross_section": True}, "processes.sig.cross_section: got true, expected a number"),
        ({"processes/sig/cross_section": float("inf")},
         "processes.sig.cross_section: got inf, expected a finite number"),
        ({"processes/sig/cross_section": None}, "processes.sig.cross_section: missing; expected .*pb"),
        ({"processes/sig/files": []}, "processes.sig.files.all: empty"),
        ({"processes/sig/files": {}}, "processes.sig.files: empty"),
        ({"processes/sig/files": ""}, "processes.sig.files.all.0: empty"),
        ({"processes/sig/files": {"2019": "a.root"}}, "processes.sig.files.2019: unknown era; .*all"),
        ({"processes/sig/files": 3}, "processes.sig.files: got 3, expected"),
        ({"processes/sig/class": "background"}, "processes: no process has class: signal"),
        ({"processes/bkg/class": "signal"}, "processes: no process is a background"),
        ({"processes/bkg/class": "data", "processes/bkg/cross_section": None},
         "processes: no process is a background"),
        ({"processes/d": {"class": "data", "cross_section": 2, "files": "d"}},
         "processes.d.cross_section: got 2, but data has no cross-section"),
        ({"luminosity": None}, "eras.all.luminosity: missing, but process sig has a cross-section"),
        ({"luminosity": 0}, "eras.all.luminosity: got 0, expected a number > 0, in fb\\^-1$"),
        ({"luminosity": "59.8 fb"}, "eras.all.luminosity: got '59.8 fb', expected a number, in fb\\^-1$"),
        ({"eras": {"a": {"luminosity": 1}}}, "luminosity: given beside eras"),
        ({"luminosity": None, "eras": {}}, "processes.sig.files: there are 0 eras"),
        ({"luminosity": None, "eras": {"a": {"luminosity": 1}, "b": {"luminosity": 1}}},
         r"processes.sig.files: there are 2 eras; expected \{era: files\} with era one of a, b"),
        ({"event/weight": "w"}, "processes.sig.cross_section: got 1, but the events carry a ready"),
        ({"event/weight": "w", "weights": {"generator": "g"}}, "event.weight: got 'w' beside weights"),
        ({f"{JETS}/featurs": ["pt"]}, "objects.jets.featurs: unknown key; nearest: features"),
        ({f"{JETS}/features": []}, "objects.jets.features: empty"),
        ({f"{JETS}/features": "pt"}, "objects.jets.features: got 'pt', expected a list"),
        ({f"{JETS}/features": ["pt", "logg(pt)"]},
         r"objects.jets.features.1: expression 'logg\(pt\)', column 1: unknown function logg; nearest: log"),
        ({f"{JETS}/features": ["log(pt, eta"]}, "objects.jets.features.0: expression .*'[(]' was never closed"),
        ({f"{JETS}/features": [None]}, "objects.jets.features.0: got nothing, expected text"),
        ({f"{JETS}/select": "pt >"}, "objects.jets.select: expression 'pt >', column 5"),
        ({f"{JETS}/max": 0}, "objects.jets.max: got 0, expected an integer >= 1"),
        ({f"{JETS}/max": 2.5}, "objects.jets.max: got 2.5, expected an integer"),
        ({f"{JETS}/sort_by": "a.b"}, "objects.jets.sort_by: 'a.b' contains a dot"),
        ({f"{JETS}/fields": {"a b": "x"}}, "objects.jets.fields.a b: 'a b' cannot be used as a name"),
        ({f"{JETS}/fields": {"lambda": "x"}}, "objects.jets.fields.lambda: 'lambda' cannot be used as a name"),
        ({f"{JETS}/collection": None}, "objects.jets: neither collection nor fields"),
        ({f"{JETS}/collection": None, f"{JETS}/fields": {"pt": "x"}, f"{JETS}/sort_by": "ptt"},
         "objects.jets.sort_by: got 'ptt', expected one of the fields; nearest: pt"),
        ({"event/define": {"jets.x": "3"}}, "event.define.jets.x: jets is already the name"),
        ({"event/define": {"a.b.c": "3"}}, "event.define.a.b.c: 'a.b.c' cannot be used as a name"),
        ({"event/define": {"d": "delta_phi(phi", "met.phi)": 0}},
         r"event.define.d: .*inside \{...\} an expression with a comma needs quotes"),
        ({"event/define": {"a": "b + 1", "b": "c", "c": "2 * a"}},
         "event.define.a: defined in a circle: a -> b -> c -> a"),
        ({"event/select": "x", "regions": {"s": {"select": "x", "role": "signal"}}},
         "event.select: given beside regions"),
        ({"regions": {"s": {"select": "x", "role": "sign"}}},
         "regions.s.role: got 'sign', expected 'signal', 'control' or 'validation'"),
        ({"regions": {"s": {"select": "x"}}},
         "regions.s.role: missing; this key is needed; expected one of 'signal', 'control', 'validation'$"),
        ({"regions": {"s": {"role": "signal"}}}, "regions.s.select: missing; this key is needed$"),
        ({"regions": {"s": {"select": "x", "role": "control"}}}, "regions: no region has role: signal"),
        ({"regions": {"s": {"select": "x", "role": "signal", "blind": 3}}},
         "regions.s.blind: got 3, expected true or false"),
        ({"regions": {}}, "regions: empty"),
        ({"weights": {"a": "exp("}}, "weights.a: expression 'exp[(]'"),
        ({"source": {"event_number": "event", "identity": ["run"]}},
         r"source.identity: got \['run'\], expected the event number event in it"),
        ({"source": {"format": "csv"}}, "source.format: got 'csv', expected 'nanoaod', 'delphes', "),
        ({"training": {"folds": 1}}, "training.folds: got 1, expected an integer >= 2"),
        ({"training": {"folds": True}}, "training.folds: got true, expected a number"),
        ({"training": {"epochs": "many"}}, "training.epochs: got 'many', expected an integer"),
        ({"training": {"negative_weights": "kep"}}, "training.negative_weights: got 'kep', expected"),
        ({"training": 3}, "training: got 3, expected keys with values"),
        ({"model": {"embed_dims": 100}},
         "model.embed_dims: got 100, expected a multiple of num_heads = 8"),
        ({"model": {"linear_dims2": 12}},
         "model.linear_dims2: got 12, expected a multiple of num_heads = 8"),
        ({"model": {"dropout": 1}}, "model.dropout: got 1, expected a number < 1"),
        ({"model": {"class_feedforward_factor": 0}},
         "model.class_feedforward_factor: got 0, expected an integer >= 1"),
        ({"model": {"pair_dims": [8, 0]}}, "model.pair_dims.1: got 0, expected an integer >= 1"),
        ({"model": {"pair_dims": 8}}, "model.pair_dims: got 8, expected a list"),
        ({"model": {"layer_scale": 0}}, "model.layer_scale: got 0, expected a number > 0"),
        ({"model": {"feedforward": "relu"}},
         "model.feedforward: got 'relu', expected 'gelu' or 'swiglu'"),
        ({"model": {"feature_embedding": "fourier"}},
         "model.feature_embedding: got 'fourier', expected 'linear', 'periodic' or"),
        ({"model": {"event_features": "tokens"}},
         "model.event_features: got 'tokens', expected 'concatenated', 'token' or 'both'"),
        ({"model": {"event_features": "both"}},
         ("model.event_features: got 'both', but there are no event features; expected "
         "'concatenated', or event.features")),
        ({"model": {"heads": 8}}, "model.heads: unknown key; nearest: num_heads"),
        ({"evaluation": {"working_points": [0.5, 1.0]}},
         "evaluation.working_points.1: got 1.0, expected a number < 1"),
        ({"evaluation": {"bootstrap": 1}}, "evaluation.bootstrap: got 1, expected an integer >= 2"),
        ({f"{JETS}/clean": {"dr": 0.4}}, "objects.jets.clean.against: missing"),
        ({f"{JETS}/clean": {"dr": 0, "against": ["electrons"]}},
         "objects.jets.clean.dr: got 0, expected a number > 0"),
        ({f"{JETS}/clean": {"dr": 0.4, "against": ["electron"]}, "objects/electrons": ELECTRONS},
         "objects.jets.clean.against: got 'electron', expected another collection; nearest: electrons"),
        ({f"{JETS}/clean": {"dr": 0.4, "against": ["jets"]}, "objects/electrons": ELECTRONS},
         "objects.jets.clean.against: got 'jets', expected another collection"),
        ({f"{JETS}/clean": {"dr": 0.4, "against": ["electrons"]},
          "objects/electrons": {**ELECTRONS, "clean": {"dr": 0.4, "against": ["jets"]}}},
         "objects.jets.clean.against: collections are cleaned in a circle: jets -> electrons -> jets"),
        ({"luminosity": None, "eras": {"a": {"luminosity": 1, "lumi_mask": "x"}}},
         r"source.identity: got \[\], but era a has a lumi_mask; expected the three branches of run"),
        ({"luminosity": None, "eras": {"a": {"luminosity": 1, "lumi_mask": "x"}},
          "source/event_number": "event"}, r"source.identity: got \[event\], but era a"),
        ({"luminosity": None, "eras": {"a": {"luminosity": 1, "lumi_mask": "root://a//m.json"}}},
         "eras.a.lumi_mask: got 'root://a//m.json', expected the path of a file, not a URL"),
        ({"luminosity": None, "eras": {"a": {"luminosity": 1, "trigger": "HLT_A or"}}},
         "eras.a.trigger: expression 'HLT_A or', column"),
        ({"luminosity": None, "eras": {"a": {"luminosity": 1, "triger": "x"}}},
         "eras.a.triger: unknown key; nearest: trigger"),
        ({"processes/sig/exclude": [3]}, "processes.sig.exclude.0: got 3, expected text"),
        ({f"{JETS}/collection": "jet{}_{}"},
         "objects.jets.collection: got 'jet{}_{}', expected one {} at most, for the number"),
        ({"weights": {"id": {"file": "sf.json"}}}, "weights.id.correction: missing; .*1 more error"),
        ({"weights": {"id": {**SF, "file": None}}}, "weights.id.file: got nothing, expected text"),
        ({"weights": {"id": {**SF, "inpts": 1}}}, "weights.id.inpts: unknown key; nearest: inputs"),
        ({"weights": {"id": {**SF, "inputs": "pt"}}}, "weights.id.inputs: got 'pt', expected a list"),
        ({"weights": {"id": {**SF, "objects": "jts"}}},
         "weights.id.objects: got 'jts', expected a collection; nearest: jets"),
        ({"weights": {"id": {**SF, "select": "pt > 3"}}},
         "weights.id.select: got 'pt > 3' without objects; expected objects: the collection"),
        ({"weights": {"id": {**SF, "objects": "jets", "select": "pt >"}}},
         "weights.id.select: expression 'pt >'"),
        ({"weights": {"id": {**SF, "objects": "jets", "tagged": "b > 0"}}},
         "weights.id.efficiency: missing beside tagged; expected both"),
        ({"weights": {"id": {**SF, "objects": "jets", "efficiency": SF}}},
         "weights.id.tagged: missing beside efficiency; expected both"),
        ({"weights": {"id": {**SF, "efficiency": SF, "tagged": "x"}}},
         "weights.id.tagged: got 'x' without objects"),
        ({"weights": {"id": {**SF, "objects": "jets", "tagged": "x", "efficiency": {**SF, "objects": "jets"}}}},
         "weights.id.efficiency.objects: unknown key; known: correction, file, inputs"),
        ({"weights": {"id": [3]}}, "weights.id: got a list, expected text"),
        ({"weights": {"generator": SF}}, "weights.generator: got a correction; expected an expression"),
        ({"variations": {"a.b": {"up": {"jets.pt": "pt"}}}}, "variations.a.b: 'a.b' contains a dot"),
        ({"variations": {"v": {}}}, "variations.v: neither up nor down is given"),
        ({"variations": {"v": 3}}, "variations.v: got 3, expected keys with values"),
        (vary(None, don={}), "variations.v.don: unknown key; nearest: down"),
        (vary({}), "variations.v.up: empty; expected at least one"),
        (vary(["x"]), "variations.v.up: got a list, expected keys with values"),
        (vary({"jets.pt": "pt *"}), r"variations.v.up.jets.pt: expression 'pt \*', column"),
        (vary({"jets.pt": SF}), "variations.v.up.jets.pt: got keys with values, expected text"),
        (vary({"jets.pt": ["pt"]}), "variations.v.up.jets.pt: got a list, expected text"),
        (vary({"jets": "pt"}), "variations.v.up.jets: varies nothing that exists; expected COLLECTION.FIELD"),
        (vary({"jet.pt": "pt"}), "variations.v.up.jet.pt: varies nothing .*; nearest: jets.pt"),
        (vary({"jets.a.b": "pt"}), "variations.v.up.jets.a.b: varies nothing"),
        ({**vary({"jets.ptt": "pt"}), f"{JETS}/collection": None, f"{JETS}/fields": {"pt": "x"}},
         "variations.v.up.jets.ptt: 'ptt' is no field of jets; nearest: pt"),
        ({**vary({"met.ptt": "pt"}), "event/define": MET}, "variations.v.up.met.ptt: .*nearest: met.pt"),
        ({**vary({"weights.pilup": "w"}), "weights": {"pileup": "w"}},
         "variations.v.up.weights.pilup: unknown weight; nearest: pileup"),
        ({**vary({"weights.pileup": "w"}), "weights": {"generator": "w"}},
         "variations.v.up.weights.pileup: unknown weight; weights has none but the generator weight$"),
        (vary({"weights.pileup": "w"}), "variations.v.up.weights.pileup: unknown weight; the analysis file has no weights$"),
        ({**vary({"weights.pileup": {**SF, "inpt": 3}}), "weights": {"pileup": "w"}},
         "variations.v.up.weights.pileup.inpt: unknown key; nearest: inputs"),
        ({**vary({"weights.pileup": {**SF, "objects": "jts"}}), "weights": {"pileup": "w"}},
         "variations.v.up.weights.pileup.objects: got 'jts', expected a collection; nearest: jets"),
        ({**vary({"weights.generator": "w"}), "weights": {"generator": "w"}},
         "variations.v.up.weights.generator: the generator weight normalises the process"),
        ({**vary({"weights.w": "w"}), "event/weight": "w", "processes/sig/cross_section": None,
          "processes/bkg/cross_section": None},
         r"variations.v.up.weights.w: the events carry a ready weight \(event.weight: w\)"),
        (vary({"processes.bg.files": "x"}),
         "variations.v.up.processes.bg.files: unknown process; expected a simulated one; nearest: bkg"),
        ({**vary({"processes.d.files": "x"}), "processes/d": {"class": "data", "files": "d"}},
         "variations.v.up.processes.d.files: data does not vary; expected a simulated one"),
        (vary({"processes.bkg": "x"}),
         "variations.v.up.processes.bkg: varies nothing .*nearest: processes.bkg.files"),
        (vary({"processes.bkg.files": []}), "variations.v.up.processes.bkg.files.all: empty"),
        (vary({"processes.bkg.files": {"2018": "x"}}),
         "variations.v.up.processes.bkg.files.2018: process bkg has no files of this era; known: all"),
        ({**vary({"processes.bkg.files": "x"}), "luminosity": None,
          "eras": {"a": {"luminosity": 1}, "b": {"luminosity": 1}},
          "processes/sig/files": {"a": "x"}, "processes/bkg/files": {"a": "x"}},
         "variations.v.up.processes.bkg.files: there are 2 eras; expected {era: files}"),
        (vary({"processes.bkg.files": "x", "jets.pt": "pt"}),
         "variations.v.up.jets.pt: given beside files of processes; expected nothing else"),
        (vary({"jets.pt": "pt"}, propagate_to_met="pt >"), "variations.v.propagate_to_met: expression 'pt >'"),
        (vary({"jets.pt": "pt"}, propagate_to_met=True),
         "variations.v.propagate_to_met: needs met.pt in event.define, as in define: {met.pt: MET_pt}"),
        ({**vary({"jets.pt": "pt"}, propagate_to_met=True), "event/define": {"met.pt": "MET_pt"}},
         "variations.v.propagate_to_met: needs met.phi in event.define, as in .*MET_phi"),
        ({**vary({"jets.pt": "pt", "met.pt": "3"}, propagate_to_met=True), "event/define": MET},
         "variations.v.up.met.pt: given beside propagate_to_met"),
        ({**vary({"jets.pt": "pt"}, down={"weights.w": 2}, propagate_to_met="pt > 3"),
          "event/define": MET, "weights": {"w": 1}},
         "variations.v.propagate_to_met: down varies no field of a collection"),
        ({**vary({"jets.mass": "1"}, propagate_to_met=True), "event/define": MET},
         "variations.v.propagate_to_met: up varies neither pt nor phi of jets"),
        ({**vary({"jets.pt": "pt"}, propagate_to_met=True), "event/define": MET,
          f"{JETS}/collection": None, f"{JETS}/fields": {"pt": "x"}},
         "variations.v.propagate_to_met: needs the field phi of jets"),
    ],
)  # fmt: skip
def test_errors_name_key_value_and_expectation(changes: Any, message: str) -> None:
    with pytest.raises(AnalysisFileError, match=f"^analysis.yaml: {message}") as caught:
        parse_analysis(changed(changes), base=Path(), label="analysis.yaml")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "found nothing, expected keys"),
        ("- a", "found a list, expected keys"),
        ("name: [", "line 1, column 8: "),
        ("name: a\nname: b", "line 2, column 1: the key name is given twice"),
        (
            "name: a\nmodel: {embed_dims: 8, embed_dims: 16}",
            "line 2, column 24: the key embed_dims",
        ),
        ("a: !!python/object:os.system x", "line 1, column 4: could not determine a constructor"),
        ("name: \x07", "not valid YAML"),
        ("when: 2018-99-99", "not valid YAML"),
        ("[" * 1500, "not valid YAML [(]nested too deeply"),
        ("{a: 1}: 2", "line 1, column 1: .*unhashable"),
    ],
)
def test_yaml_errors_say_where(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "analysis.yaml"
    path.write_text(text)
    with pytest.raises(AnalysisFileError, match=f"analysis.yaml: {message}") as caught:
        load_analysis(path)
    assert "\n" not in str(caught.value)


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(AnalysisFileError, match=r"none.yaml: cannot read .*No such file"):
        load_analysis(tmp_path / "none.yaml")
    with pytest.raises(AnalysisFileError, match=r"cannot read .*Is a directory"):
        load_analysis(tmp_path)
    (tmp_path / "binary.yaml").write_bytes(b"name: \xff\xfe")
    with pytest.raises(AnalysisFileError, match=r"not a text file in UTF-8 \(byte 6\)"):
        load_analysis(tmp_path / "binary.yaml")


def test_merged_yaml_keys_are_no_duplicates(tmp_path: Path) -> None:
    path = tmp_path / "analysis.yaml"
    path.write_text(
        SHORT.replace("{jets:", "{other: &o {collection: Jet, features: [pt]}, jets:").replace(
            "jets: {collection: Jet,", "jets: {<<: *o, collection: J2,"
        )
    )
    assert load_analysis(path).objects["jets"].collection == "J2"


@pytest.mark.parametrize("text", [FULL, SHORT])
def test_dump_reads_back_equal_from_anywhere(tmp_path: Path, text: str) -> None:
    analysis = parse(text)
    copy_ = tmp_path / "elsewhere.yaml"
    copy_.write_text(dump_analysis(analysis))
    assert load_analysis(copy_) == analysis
    assert dump_analysis(load_analysis(copy_)) == dump_analysis(analysis)
    assert analysis_fingerprint(load_analysis(copy_)) == analysis_fingerprint(analysis)


NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True).map(lambda name: f"{name}_q")


@pytest.mark.parametrize("character", ["\x85", "\u2028", "\u2029", "\n", "φ"])
def test_every_character_of_a_path_survives_the_dump(character: str) -> None:
    plain = yaml.safe_load(SHORT)
    first = next(iter(plain["processes"].values()))
    first["files"] = [f"/Æ.!{character})sëz.root"]
    analysis = parse_analysis(plain, base=Path("/base"))
    assert parse_analysis(yaml.safe_load(dump_analysis(analysis)), base=Path("/x")) == analysis


EXPRESSIONS = st.sampled_from(
    ["pt", "log(pt)", "1", "1e-5 * eta", "delta_phi(phi, met.phi)", "True"]
)
PARTS = st.fixed_dictionaries({
    "name": NAMES,
    "luminosity": st.floats(1e-6, 1e9),
    "objects": st.dictionaries(
        NAMES,
        st.fixed_dictionaries(
            {"collection": NAMES, "features": st.lists(EXPRESSIONS, min_size=1, max_size=3)},
            optional={"max": st.integers(1, 99), "select": EXPRESSIONS,
                      "fields": st.dictionaries(NAMES, EXPRESSIONS)},
        ),
        min_size=1, max_size=3,
    ),
    "processes": st.tuples(st.floats(1e-9, 1e9), st.text(min_size=1)).map(
        lambda drawn: {
            "s": {"class": "signal", "cross_section": drawn[0], "files": "on"},
            "yes": {"class": "no", "cross_section": 1, "files": {"all": ["x", f"/{drawn[1]}z"]}},
        }
    ),
    "training": st.fixed_dictionaries({}, optional={
        "folds": st.integers(2, 99), "learning_rate": st.floats(1e-12, 1.0, exclude_min=True),
    }),
})  # fmt: skip


@settings(deadline=None)
@given(PARTS)
def test_round_trip(parts: dict[str, Any]) -> None:
    analysis = parse_analysis(parts, base=Path("/base"))
    again = parse_analysis(yaml.safe_load(dump_analysis(analysis)), base=Path("/other"))
    assert again == analysis
    assert list(again.objects) == list(parts["objects"])


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["class", "files", "features", "select", "all", "fields", "x", "up",
                         "weights.x", "processes.bkg.files", "jets.pt", "propagate_to_met"])
        | st.sampled_from(["loss", "name", "gamma", "loggers", "disco", "against", "regression",
                           "condition", "parameters", "spectators", "learning_rate"])
        | st.integers() | st.none(),
        inner, max_size=3,
    ),
    max_leaves=8,
)  # fmt: skip
SECTIONS = ["name", "luminosity", "source", "eras", "processes", "objects", "event", "weights",
            "regions", "variations", "training", "model", "evaluation"]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(SECTIONS), JUNK, min_size=1, max_size=3))
def test_any_junk_is_read_or_refused_in_one_line(junk: dict[str, Any]) -> None:
    message = ""
    try:
        parse_analysis({**yaml.safe_load(SHORT), **junk}, base=Path("/base"))
    except AnalysisFileError as error:
        message = str(error)
    assert len(message.splitlines()) <= 1


def test_fingerprint_covers_what_determines_prepared_events() -> None:
    def fingerprint(changes: dict[str, Any], **options: Any) -> str:
        return analysis_fingerprint(parse_analysis(changed(changes), base=Path("/b")), **options)

    reference = fingerprint({})
    assert len(reference) == 64
    for same in ({"name": "other"}, {"training": {"folds": 3}}, {"model": {"dropout": 0.1}},
                 {"evaluation": {"bootstrap": 5}}):  # fmt: skip
        assert fingerprint(same) == reference
    different: list[dict[str, Any]] = [
        {"luminosity": 11}, {f"{JETS}/max": 3}, {f"{JETS}/features": ["eta"]}, {"event/select": "x"},
        {"variations/v/up": {"jets.pt": 0}}, {"processes/sig/exclude": "x"}, {"weights/w": SF},
        {"processes/sig/cross_section": 1.5}, {"weights": {"g": "w"}}, {"source": {"tree": "t"}},
    ]  # fmt: skip
    assert len({reference, *map(fingerprint, different)}) == len(different) + 1
    model = {"sections": ("model",)}
    assert fingerprint({"luminosity": 11}, **model) == fingerprint({}, **model)
    assert fingerprint({"model": {"dropout": 0.1}}, **model) != fingerprint({}, **model)


def test_the_order_of_collections_counts() -> None:
    jets, muons = ({"collection": name, "features": ["pt"]} for name in ("Jet", "Muon"))
    orders = [{"jets": jets, "muons": muons}, {"muons": muons, "jets": jets}]
    one, other = (parse_analysis(changed({"objects": order}), base=Path()) for order in orders)
    assert analysis_fingerprint(one) != analysis_fingerprint(other)


def test_sections_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        parse(SHORT).training.folds = 3


def test_importing_is_light() -> None:
    code = (
        "import sys, particle_transformer.config; "
        "print([m for m in ('torch', 'awkward', 'uproot', 'pyarrow', 'lightning') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
