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
  "2018": {luminosity: 59.8, aliases: {btag: btagDeepFlavB}}
processes:
  ttH_HToInv: {class: signal, cross_section: 0.507,
               files: {"2018": ["samples/ttH*.root"], 2017: a.root}}
  TTbar: {class: top, cross_section: 831.8, files: {"2018": [/data/tt.root, "root://host//tt.root"]}}
  ZJets: {class: boson, cross_section: 6e3, files: {"2018": ["../z.root"]}}
  WJets: {class: top, cross_section: 6.1e4, tree: W, files: {"2018": w.root}}
  MET: {class: data, files: {"2018": [data/MET*.root]}}
objects:
  electrons: {collection: Electron, select: "pt > 10 and abs(eta) < 2.5",
              features: [log(pt), eta, delta_phi(phi, met.phi)]}
  jets:
    fields: {pt: jet_pt / 1000, mass: 0.1}
    sort_by: pt
    max: 16
    features: [log(max(mass, 0.1)), where(pt > 30, 1.5, max(2, 3)), 1]
event:
  define: {met.pt: MET_pt, met.phi: MET_phi, ht: "sum(jets.pt)", st: ht + met.pt}
  features: [log(met.pt), count(jets)]
weights: {generator: genWeight, pileup: puWeight}
regions:
  signal: {select: "met.pt > 200", role: signal, blind: true}
  one_electron: {select: "met.pt > 100 and
                 count(electrons) == 1", role: control}
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
    assert analysis.eras["2018"].aliases == {"btag": "btagDeepFlavB"}
    assert analysis.processes["ZJets"].cross_section == 6000
    assert analysis.processes["WJets"].tree == "W"
    assert analysis.objects["electrons"].features == ("log(pt)", "eta", "delta_phi(phi, met.phi)")
    assert analysis.objects["jets"].fields == {"pt": "jet_pt / 1000", "mass": "0.1"}
    assert analysis.objects["jets"].features == (
        "log(max(mass, 0.1))", "where(pt > 30, 1.5, max(2, 3))", "1",
    )  # fmt: skip
    assert analysis.regions["one_electron"].select == "met.pt > 100 and count(electrons) == 1"
    assert not analysis.regions["one_electron"].blind
    assert analysis.training.learning_rate == 1e-4
    assert (analysis.model.linear_dims1, analysis.model.linear_dims2) == (64, 32)


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
        "mlp_hidden_2": 32, "num_heads": 8, "feedforward_factor": 4, "num_att_blocks": 3,
        "num_class_blocks": 3, "dropout": 0.0, "pair_bias": False,
    }  # fmt: skip
    assert analysis.training.model_dump() == {
        "folds": 5, "epochs": 30, "batch_size": 512, "learning_rate": 1e-3, "weight_decay": 0.01,
        "warmup_epochs": 1.0, "patience": 6, "seed": 1, "negative_weights": "keep",
        "balance": "class", "gradient_clip": 1.0, "sampling": "shuffled",
    }  # fmt: skip
    assert analysis.evaluation.model_dump() == {
        "working_points": (0.3, 0.5, 0.7), "background_uncertainty": 0.1, "bootstrap": 200,
    }  # fmt: skip


def test_empty_sections_take_their_defaults() -> None:
    data = yaml.safe_load(SHORT + "training:\nevent:\nweights:\n")
    assert parse_analysis(data, base=Path("/base")) == parse(SHORT)


JETS = "objects/jets"
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
         "processes.sig.cross_section: got -1, expected a number > 0"),
        ({"processes/sig/cross_section": "big"},
         "processes.sig.cross_section: got 'big', expected a number"),
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
        ({"luminosity": 0}, "eras.all.luminosity: got 0, expected a number > 0"),
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
        ({"regions": {"s": {"select": "x", "role": "control"}}}, "regions: no region has role: signal"),
        ({"regions": {"s": {"select": "x", "role": "signal", "blind": 3}}},
         "regions.s.blind: got 3, expected true or false"),
        ({"regions": {}}, "regions: empty"),
        ({"weights": {"a": "exp("}}, "weights.a: expression 'exp[(]'"),
        ({"source": {"event_number": "event", "identity": ["run"]}},
         r"source.identity: got \['run'\], expected the event number event in it"),
        ({"source": {"format": "csv"}}, "source.format: got 'csv', expected 'nanoaod', 'root' or"),
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
        ({"model": {"heads": 8}}, "model.heads: unknown key; nearest: num_heads"),
        ({"evaluation": {"working_points": [0.5, 1.0]}},
         "evaluation.working_points.1: got 1.0, expected a number < 1"),
        ({"evaluation": {"bootstrap": 1}}, "evaluation.bootstrap: got 1, expected an integer >= 2"),
        ({"variations": {}}, "variations: systematic variations are not supported yet"),
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
         "eras.a.lumi_mask: a luminosity mask is not supported yet"),
        ({"luminosity": None, "eras": {"a": {"luminosity": 1, "trigger": "x"}}},
         "eras.a.trigger: a trigger is not supported yet"),
        ({"weights": {"id": {"file": "sf.json"}}}, "weights.id: corrections are not supported yet"),
        ({"source": {"format": "delphes"}}, "source.format: delphes is not supported yet"),
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
        st.sampled_from(["class", "files", "features", "select", "all", "fields", "x"])
        | st.integers() | st.none(),
        inner, max_size=3,
    ),
    max_leaves=8,
)  # fmt: skip
SECTIONS = ["name", "luminosity", "source", "eras", "processes", "objects", "event", "weights",
            "regions", "training", "model", "evaluation"]  # fmt: skip


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
