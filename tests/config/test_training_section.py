"""The keys of the training: their normal form, their round trip, and what is refused."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from particle_transformer.config import (
    Analysis,
    DisCo,
    DoubleDisCo,
    Logger,
    Loss,
    Regression,
    analysis_fingerprint,
    dump_analysis,
    load_analysis,
    parse_analysis,
)
from particle_transformer.errors import AnalysisFileError

TEXT = """
name: scan
luminosity: 10
processes:
  m500: {class: signal, cross_section: 1, files: s1.root, parameters: {mass: 500, width: 1}}
  m1000: {class: signal, cross_section: 1, files: s2.root, parameters: {width: 1, mass: 1e3}}
  bkg: {class: background, cross_section: 2, files: b.root}
  MET: {class: data, files: d.root}
objects: {jets: {collection: Jet, features: [pt]}}
event:
  define: {met.pt: MET_pt, ht: sum(jets.pt), gen_met: GenMET_pt}
  features: [met.pt]
  spectators: [met.pt, log(max(ht,   1)), gen_met]
training:
  loss: focal
  disco: {against: [log(max(ht, 1)), met.pt], strength: 3, classes: all}
  regression: {targets: gen_met, delta: 2}
  condition: mass
  ensemble: 3
  ema: 0.999
  accumulate: 4
  compile: true
  learning_rate: auto
  loggers: [csv, {name: wandb, project: x, offline: true, tags: [a, 2], step: 1.0}]
  checkpoint_minutes: 0.5
"""

M500, M1000 = "processes/m500/parameters", "processes/m1000/parameters"


def changed(changes: dict[str, Any]) -> dict[str, Any]:
    """The analysis with some keys (paths) set; None removes one."""
    data: dict[str, Any] = copy.deepcopy(yaml.safe_load(TEXT))
    for path, value in changes.items():
        *parents, last = path.split("/")
        place = data
        for parent in parents:
            place = place.setdefault(parent, {})
        if value is None:
            place.pop(last, None)
        else:
            place[last] = value
    return data


def parse(**changes: Any) -> Analysis:
    return parse_analysis(changed(changes), base=Path("/base"), label="analysis.yaml")


def test_the_normal_form() -> None:
    analysis = parse()
    assert analysis.event.spectators == ("met.pt", "log(max(ht, 1))", "gen_met")
    assert analysis.processes["m500"].parameters == {"mass": 500.0, "width": 1.0}
    assert analysis.processes["bkg"].parameters == {}
    training = analysis.training
    assert training.loss == Loss(name="focal", gamma=2.0)
    assert training.disco == DisCo(
        against=("log(max(ht, 1))", "met.pt"), strength=3.0, classes="all"
    )
    assert training.regression == Regression(targets=("gen_met",), strength=0.1, delta=2.0)
    assert training.double_disco is None
    assert (training.condition, training.learning_rate) == (("mass",), "auto")
    assert (training.ensemble, training.ema, training.accumulate) == (3, 0.999, 4)
    assert training.compile is True
    assert training.checkpoint_minutes == 0.5
    csv, wandb = training.loggers
    assert (csv.name, csv.options) == ("csv", {})
    assert wandb.name == "wandb"
    assert wandb.options == {"project": "x", "offline": True, "tags": ["a", 2], "step": 1.0}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cross_entropy", {"name": "cross_entropy"}),
        ("focal", {"name": "focal", "gamma": 2.0}),
        ({"name": "focal"}, {"name": "focal", "gamma": 2.0}),
        ({"name": "focal", "gamma": 0}, {"name": "focal", "gamma": 0.0}),
        ({}, {"name": "cross_entropy"}),
    ],
)
def test_a_loss_is_a_mapping_in_the_resolved_file(text: Any, expected: dict[str, Any]) -> None:
    plain = yaml.safe_load(dump_analysis(parse(**{"training/loss": text})))
    assert plain["training"]["loss"] == expected


def test_defaults_of_what_may_be_absent() -> None:
    training = parse(
        training={"disco": {"against": ["ht"]}}, **{"event/spectators": ["ht"]}
    ).training
    assert training.disco == DisCo(against=("ht",), strength=5.0, classes="background")
    assert training.loggers == (Logger(name="csv"), Logger(name="tensorboard"))
    double = parse(training={"double_disco": {}}).training
    assert double.double_disco == DoubleDisCo(strength=10.0)
    assert double.loss == Loss(name="cross_entropy")


def test_dump_reads_back_equal(tmp_path: Path) -> None:
    analysis = parse()
    (tmp_path / "analysis.yaml").write_text(dump_analysis(analysis))
    again = load_analysis(tmp_path / "analysis.yaml")
    assert again == analysis
    assert dump_analysis(again) == dump_analysis(analysis)
    assert again.training.loggers[1].options == analysis.training.loggers[1].options
    assert pickle.loads(pickle.dumps(analysis)) == analysis


SCALARS = st.text(max_size=5) | st.booleans() | st.integers() | st.floats(allow_nan=False,
                                                                          allow_infinity=False)  # fmt: skip


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=5).filter(lambda key: key != "name"),
        SCALARS | st.lists(SCALARS, max_size=3),
    )
)
def test_options_of_a_logger_survive_the_dump(options: dict[str, Any]) -> None:
    analysis = parse(**{"training/loggers": [{"name": "wandb", **options}]})
    again = parse_analysis(yaml.safe_load(dump_analysis(analysis)), base=Path("/"))
    assert again == analysis
    (logger,) = again.training.loggers
    assert logger.options == options
    assert {key: type(value) for key, value in logger.options.items()} == {
        key: type(value) for key, value in options.items()
    }


def test_parameters_are_not_the_prepared_events() -> None:
    reference = analysis_fingerprint(parse())
    unchanged: list[dict[str, Any]] = [
        {"training": {}},
        {"training/condition": None, M500: None, M1000: None},
        {M500: {"mass": 1, "width": 2}},
    ]
    for same in unchanged:
        assert analysis_fingerprint(parse(**same)) == reference
    for other in (
        {"processes/m500/cross_section": 3},
        {"event/spectators": ["gen_met", "met.pt", "log(max(ht, 1))"]},
        {"event/spectators": ["met.pt", "log(max(ht, 1))", "gen_met", "ht"]},
    ):
        assert analysis_fingerprint(parse(**other)) != reference
    without = {"sections": ("event",)}
    assert analysis_fingerprint(parse(), **without) == analysis_fingerprint(
        parse(training={}), **without
    )


LABEL = r"expected letters, digits and _ \. \+ - \(at most 100\)$"
VALUE = "expected text, a finite number, true or false, or a list of these$"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"event/spectators": "met.pt"}, "event.spectators: got 'met.pt', expected a list"),
        ({"event/spectators": ["ht", "met.pt", "ht"]},
         "event.spectators: ht is given twice; expected each at most once$"),
        ({"event/spectators": ["logg(ht)"]}, "event.spectators.0: .*unknown function logg"),
        ({"event/spectator": ["ht"]}, "event.spectator: unknown key; nearest: spectators"),
        # disco
        ({"training/disco": 3}, "training.disco: got 3, expected keys with values$"),
        ({"training/disco": {}}, "training.disco.against: missing; this key is needed$"),
        ({"training/disco/labels": ["ht"]}, "training.disco.labels: unknown key; .*classes"),
        ({"training/disco/against": []}, "training.disco.against: empty; expected at least one$"),
        ({"training/disco/against": ["met.pt", "met.ptt"]},
         ("training.disco.against: got 'met.ptt', expected one of event.spectators, as written "
          "there; nearest: met.pt$")),
        ({"training/disco/against": ["met.pt", "met.pt"]},
         "training.disco.against: met.pt is given twice"),
        ({"training": {"disco": {"against": "ht"}}, "event/spectators": None},
         r"training.disco.against: got 'ht', expected one of .*, as written there; there are none$"),
        ({"training/disco/strength": 0}, "training.disco.strength: got 0, expected a number > 0$"),
        ({"training/disco/strength": float("nan")}, "training.disco.strength: got nan, expected a f"),
        ({"training/disco/classes": "signal"},
         "training.disco.classes: got 'signal', expected 'background' or 'all'$"),
        # double disco
        ({"training": {"double_disco": {"strength": -1}}},
         "training.double_disco.strength: got -1, expected a number > 0$"),
        ({"training": {"double_disco": {"against": ["ht"]}}},
         "training.double_disco.against: unknown key; known: strength$"),
        ({"training": {"double_disco": {}, "disco": {"against": ["met.pt"]}}},
         "training.double_disco: given beside disco; expected one of the two$"),
        ({"training": {"double_disco": {}, "loss": "focal"}},
         "training.double_disco: given beside loss focal; its two scores need cross_entropy$"),
        ({"training": {"double_disco": {}}, "processes/o": {"class": "o", "cross_section": 1, "files": "o"}},
         ("training.double_disco: got the classes signal, background, o; expected signal and one of "
          "background$")),
        # regression
        ({"training/regression": {}}, "training.regression.targets: missing"),
        ({"training/regression/targets": ["gen_mte"]},
         "training.regression.targets: got 'gen_mte', .*; nearest: gen_met$"),
        ({"training/regression/targets": ["gen_met", "gen_met"]},
         "training.regression.targets: gen_met is given twice"),
        ({"training/regression/strength": 0}, "training.regression.strength: got 0, expected a n.* > 0$"),
        ({"training/regression/delta": -2}, "training.regression.delta: got -2, expected a n.* > 0$"),
        # loss
        ({"training/loss": "focl"},
         "training.loss: got 'focl', expected the name of a loss; nearest: focal$"),
        ({"training/loss": {"name": "crossentropy"}},
         "training.loss.name: got 'crossentropy', expected .*; nearest: cross_entropy$"),
        ({"training/loss": 3}, "training.loss: got 3, expected the .*; known: cross_entropy, focal$"),
        ({"training/loss": ["focal"]}, "training.loss: got a list, expected the name of a loss"),
        ({"training/loss": {"name": None}}, "training.loss.name: got nothing, expected the name"),
        ({"training/loss": {"gamma": 1}},
         "training.loss.gamma: got 1, but cross_entropy has none; expected it with name: focal$"),
        ({"training/loss": {"name": "focal", "gamma": -1}},
         "training.loss.gamma: got -1, expected a number >= 0$"),
        ({"training/loss": {"name": "focal", "gama": 1}}, "training.loss.gama: unknown key; nearest: gam"),
        # parameters and condition
        ({"processes/bkg/parameters": {"mass": 3}},
         ("processes.bkg.parameters: got mass, but only a process of class signal has parameters; "
          "remove it: in training a background event gets one of the signal's values$")),
        ({"processes/MET/parameters": {"mass": 3}}, "processes.MET.parameters: got mass, but only"),
        ({M500: {"a.b": 3}}, "processes.m500.parameters.a.b: 'a.b' contains a dot"),
        ({M500: {"mass": float("inf")}}, "processes.m500.parameters.mass: got inf, expected a finite"),
        ({M500: {"mass": "heavy"}}, "processes.m500.parameters.mass: got 'heavy', expected a number"),
        ({M500: {"mass": True}}, "processes.m500.parameters.mass: got true, expected a number"),
        ({M1000: {"mass": 3}},
         ("processes.m1000.parameters: width is missing, which m500 has; expected it in every process "
          "of class signal, or in none$")),
        ({M500: None}, "processes.m500.parameters: width is missing, which m1000 has"),
        ({"training/condition": ["mas"]},
         "training.condition: got 'mas', expected a parameter of the signal processes; nearest: mass$"),
        ({M500: None, M1000: None},
         ("training.condition: got 'mass', expected a parameter of the signal processes; there are "
          "none, as in processes.m500.parameters: {mass: 1}$")),
        ({"training/condition": ["mass", "width"]},
         (r"training.condition: got 'width', which is 1 in every signal process \(m500, m1000\); "
          "expected at least two different values$")),
        ({"training/condition": ["mass", "mass"]}, "training.condition: mass is given twice"),
        ({"event/features": ["met.pt", "mass"]},
         ("training.condition: got 'mass', which is an event feature, too; give one of them another "
          "name$")),
        # numbers
        ({"training/ensemble": 0}, "training.ensemble: got 0, expected an integer >= 1$"),
        ({"training/ensemble": True}, "training.ensemble: got true, expected a number$"),
        ({"training/ema": 1}, "training.ema: got 1, expected a number < 1$"),
        ({"training/ema": 0}, "training.ema: got 0, expected a number > 0$"),
        ({"training/accumulate": 0}, "training.accumulate: got 0, expected an integer >= 1$"),
        ({"training/accumulate": 9, "training/batch_size": 8},
         "training.accumulate: got 9, expected at most batch_size = 8$"),
        ({"training/compile": 3}, "training.compile: got 3, expected true or false$"),
        ({"training/learning_rate": "atuo"},
         "training.learning_rate: got 'atuo', expected a number > 0, or auto$"),
        ({"training/learning_rate": 0}, "training.learning_rate: got 0, expected a number > 0, or auto$"),
        ({"training/learning_rate": True}, "training.learning_rate: got true, expected a number > 0"),
        ({"training/learning_rate": float("inf")}, "training.learning_rate: got inf, expected a number"),
        ({"training/checkpoint_minutes": 0},
         "training.checkpoint_minutes: got 0, expected a number > 0$"),
        # loggers
        ({"training/loggers": []}, "training.loggers: empty; expected at least one$"),
        ({"training/loggers": 3}, "training.loggers: got 3, expected a list$"),
        ({"training/loggers": {"name": "csv"}}, "training.loggers: got keys with values, expected a list$"),
        ({"training/loggers": ["csv", {"name": "csv", "x": 1}]},
         "training.loggers: csv is given twice; expected each at most once$"),
        ({"training/loggers": ["a b"]}, f"training.loggers.0.name: 'a b' is not a safe name; {LABEL}"),
        ({"training/loggers": ["csv", None]}, "training.loggers.1.name: got nothing, expected text"),
        ({"training/loggers": [{"project": "x"}]}, "training.loggers.0.name: missing"),
        ({"training/loggers": [{"name": "w", "x": None}]}, f"training.loggers.0.x: got nothing, {VALUE}"),
        ({"training/loggers": [{"name": "w", "x": float("nan")}]}, f"training.loggers.0.x: got nan, {VALUE}"),
        ({"training/loggers": [{"name": "w", "x": [1, [2]]}]}, f"training.loggers.0.x: got a list, {VALUE}"),
        ({"training/loggers": [{"name": "w", 3: 1}]}, "training.loggers.0: got the key 3, expected text$"),
    ],
)  # fmt: skip
def test_errors_name_key_value_and_expectation(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(AnalysisFileError, match=f"^analysis.yaml: {message}") as caught:
        parse(**changes)
    assert "\n" not in str(caught.value)


def test_condition_of_a_value_that_only_one_process_differs_in() -> None:
    changes = {M500: {"width": 2, "mass": 1}, M1000: {"width": 3, "mass": 1}}
    assert parse(**changes, **{"training/condition": "width"}).training.condition == ("width",)
