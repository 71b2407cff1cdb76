"""The content of metrics.json against direct calculations on the same events."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

from evaluation.samples import PROCESSES, realistic, scored
from particle_transformer.errors import SampleError
from particle_transformer.evaluation import (
    ScoredEvents,
    asimov_significance,
    auc,
    evaluate,
    reliability,
)

POINTS = (0.3, 0.7)
SETTINGS: dict[str, Any] = {"working_points": POINTS, "background_uncertainty": 0.15, "folds": 3}
SHARE = 0.2 * (1 - 1 / 3)


@pytest.fixture(scope="module")
def test_events():
    return realistic(6000, seed=1)


@pytest.fixture(scope="module")
def validation():
    # The validation sets of three networks, a share of the events each.
    return realistic(4000, seed=2, share=3 * SHARE)


@pytest.fixture(scope="module")
def metrics(test_events, validation):
    return evaluate(test_events, validation, **SETTINGS, signal_regions=["signal"], bootstrap=40)


@pytest.fixture(scope="module")
def primary(test_events):
    return test_events.select(test_events.regions["signal"])


def test_layout_is_json_without_nan(metrics):
    again = json.loads(json.dumps(metrics, allow_nan=False))
    assert again == metrics
    assert metrics["schema_version"] == 1
    assert list(metrics["rejection"]) == ["0.3", "0.7"]
    assert list(metrics["folds"]) == ["0", "1", "2"]
    assert list(metrics["processes"]) == list(PROCESSES)
    assert list(metrics["regions"]) == ["signal", "control"]


def test_figures_are_about_the_signal_regions_only(metrics, primary, test_events):
    assert metrics["events"] == len(primary) < len(test_events)
    expected = auc(primary.score, primary.weight, primary.is_signal)
    assert metrics["auc"]["value"] == pytest.approx(expected.value, rel=1e-12)
    assert metrics["auc"]["effective_events"] == pytest.approx(expected.effective_events)
    assert metrics["regions"]["signal"]["auc"]["value"] == metrics["auc"]["value"]
    control = test_events.select(test_events.regions["control"])
    assert metrics["regions"]["control"]["events"] == len(control)
    low, high = metrics["auc"]["interval"]
    assert low < metrics["auc"]["value"] < high
    assert high - low == pytest.approx(2 * metrics["auc"]["error"], rel=0.5)


def test_rejection_applies_validation_thresholds_to_test_events(metrics, primary, validation):
    point = metrics["rejection"]["0.3"]
    passes = np.zeros(len(primary), dtype=bool)
    chosen = validation.select(validation.regions["signal"])
    for fold in range(3):
        own = chosen.select(chosen.is_signal & (chosen.fold == fold))
        order = np.argsort(-own.score)
        kept = np.cumsum(own.weight[order]) / own.weight.sum()
        threshold = own.score[order][np.argmax(kept >= 0.3)]
        assert point["thresholds"][str(fold)] == threshold
        passes |= (primary.fold == fold) & (primary.score >= threshold)
    b = ~primary.is_signal
    expected = primary.weight[b].sum() / primary.weight[b & passes].sum()
    assert point["value"] == pytest.approx(expected)
    measured = primary.weight[~b & passes].sum() / primary.weight[~b].sum()
    assert point["signal_efficiency"] == pytest.approx(measured)
    assert measured != 0.3  # it is measured, not assumed
    kept = primary.weight[b & passes]
    assert point["effective_events"] == pytest.approx(kept.sum() ** 2 / np.sum(kept**2))
    own = (primary.process == 1) & b
    expected = primary.weight[own].sum() / primary.weight[own & passes].sum()
    assert metrics["processes"]["TTbar"]["rejection"]["0.3"]["value"] == pytest.approx(expected)


def test_rejection_error_is_binomial(test_events, validation):
    flat = dataclasses.replace(test_events, weight=np.ones(len(test_events)))
    found = evaluate(flat, validation, **SETTINGS, bootstrap=300)["rejection"]["0.7"]
    background = int(np.sum(~flat.is_signal))
    kept = background / found["value"]
    relative = np.sqrt((1 - kept / background) / kept)
    assert found["error"] / found["value"] == pytest.approx(relative, rel=0.15)


def test_significance_is_that_of_its_yields(metrics, primary):
    found = metrics["significance"]
    cut = np.array([found["thresholds"][str(fold)] for fold in range(3)])[primary.fold]
    w = primary.weight[(primary.score >= cut) & ~primary.is_signal]
    s = primary.weight[(primary.score >= cut) & primary.is_signal].sum()
    assert found["signal_yield"] == pytest.approx(s)
    assert found["background_yield"] == pytest.approx(w.sum())
    relative = np.hypot(0.15, np.sqrt(np.sum(w**2)) / w.sum())
    assert found["background_uncertainty"] == pytest.approx(relative)
    assert found["value"] == pytest.approx(
        float(asimov_significance(s, w.sum(), relative * w.sum()))
    )
    assert found["error"] > 0


def test_yields_and_errors_of_processes_and_folds(metrics, primary):
    for index, name in enumerate(PROCESSES):
        w = primary.weight[primary.process == index]
        found = metrics["processes"][name]
        assert found["events"] == w.size
        assert found["yield"] == pytest.approx(w.sum())
        assert found["yield_error"] == pytest.approx(np.sqrt(np.sum(w**2)))
    assert "auc" not in metrics["processes"]["ttH"]
    either = primary.select(np.isin(primary.process, [0, 2]))
    expected = auc(either.score, either.weight, either.is_signal).value
    assert metrics["processes"]["ZToNuNu"]["auc"]["value"] == pytest.approx(expected)
    assert sum(part["events"] for part in metrics["folds"].values()) == len(primary)
    own = primary.select(primary.fold == 2)
    expected = auc(own.score, own.weight, own.is_signal).value
    assert metrics["folds"]["2"]["auc"]["value"] == pytest.approx(expected)
    # A fold has a third of the events.
    ratio = metrics["folds"]["2"]["auc"]["error"] / metrics["auc"]["error"]
    assert ratio == pytest.approx(np.sqrt(3), rel=0.45)


def test_test_events_never_move_a_threshold(test_events, validation, metrics):
    turned = dataclasses.replace(test_events, score=1 - test_events.score)
    found = evaluate(turned, validation, **SETTINGS, signal_regions=["signal"], bootstrap=0)
    for key in ("0.3", "0.7"):
        assert found["rejection"][key]["thresholds"] == metrics["rejection"][key]["thresholds"]
    assert found["significance"]["thresholds"] == metrics["significance"]["thresholds"]


def test_order_of_the_events_does_not_matter(test_events, validation):
    shuffled = test_events.select(np.random.default_rng(1).permutation(len(test_events)))
    one = evaluate(test_events, validation, **SETTINGS, bootstrap=0)
    two = evaluate(shuffled, validation, **SETTINGS, bootstrap=0)
    assert two["auc"]["value"] == pytest.approx(one["auc"]["value"], rel=1e-12)
    assert two["significance"]["value"] == pytest.approx(one["significance"]["value"], rel=1e-9)


def test_undefined_figures_are_reported_not_clipped(test_events):
    nothing = realistic(50, seed=4).select(np.zeros(50, dtype=bool))
    found = evaluate(test_events, nothing, **SETTINGS, bootstrap=10)
    json.dumps(found, allow_nan=False)
    assert found["auc"]["value"] is not None  # needs no threshold
    assert found["rejection"]["0.3"]["value"] is None
    assert "fold 0, validation events: no signal event" in found["rejection"]["0.3"]["reason"]
    assert found["rejection"]["0.3"]["thresholds"] == {"0": None, "1": None, "2": None}
    assert found["significance"]["value"] is None
    assert found["significance"]["signal_yield"] is None
    assert "validation events" in found["significance"]["reason"]


def test_empty_region_and_missing_process(test_events, validation):
    masked = dataclasses.replace(
        test_events.select(test_events.process != 3),
        regions={"empty": np.zeros(int(np.sum(test_events.process != 3)), dtype=bool)},
    )
    found = evaluate(masked, validation, **SETTINGS, bootstrap=10)
    json.dumps(found, allow_nan=False)
    assert found["regions"]["empty"]["auc"]["reason"] == "no signal event"
    assert found["processes"]["WToLNu"]["events"] == 0
    assert found["processes"]["WToLNu"]["auc"]["reason"] == "no background event"
    assert found["processes"]["WToLNu"]["rejection"]["0.3"]["reason"] == "no WToLNu event"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"background_uncertainty": -0.1}, "background_uncertainty is -0.1, expected 0 or more"),
        ({"folds": 1}, "folds is 1 .* at least 2"),
        ({"folds": 2}, "test events have folds 0 to 2, expected 0 to 1"),
        ({"working_points": [0.3, 1.5]}, "working point 1.5"),
        ({"signal_regions": ["sinal"]}, "unknown region 'sinal' .nearest: signal"),
        ({"validation_share": 0.0}, "validation_share 0"),
    ],
)
def test_wrong_arguments(test_events, validation, change, message):
    with pytest.raises(SampleError, match=message):
        evaluate(test_events, validation, **(SETTINGS | change))


def test_test_and_validation_must_have_the_same_processes(test_events):
    with pytest.raises(SampleError, match=r"ttH, TTbar.* those of the validation events sig, bkg"):
        evaluate(test_events, scored([0.5], [True]), **SETTINGS)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("score", np.array([0.1, np.nan]), "score is not finite in 1 of 2"),
        ("weight", np.ones(3), r"weight has shape \(3,\), expected \(2,\)"),
        ("is_signal", np.array([True, True]), "is_signal disagrees .* process bkg"),
        ("process", np.array([0, 2], np.int16), "process indices 0 to 2, expected 0 to 1"),
        ("process_class", ("signal",), "1 classes for 2 processes"),
        ("process_class", ("signal", "data"), "process bkg is of class data"),
        ("regions", {"a": np.ones(1, bool)}, r"regions\['a'\] has shape"),
    ],
)
def test_scored_events_that_disagree(column, value, message):
    good = scored([0.9, 0.1], [True, False])
    content = {part.name: getattr(good, part.name) for part in dataclasses.fields(good)}
    with pytest.raises(SampleError, match=message):
        ScoredEvents(**(content | {column: value}))


def test_select_keeps_the_rows_together(test_events):
    order = np.argsort(test_events.score)
    picked = test_events.select(order)
    assert picked.weight.tolist() == test_events.weight[order].tolist()
    assert picked.regions["signal"].tolist() == test_events.regions["signal"][order].tolist()
    assert picked.process_class == test_events.process_class


def test_reliability_of_calibrated_and_overconfident_scores():
    rng = np.random.default_rng(6)
    truth = rng.uniform(0.02, 0.98, 60_000)
    is_signal = rng.random(60_000) < truth
    # Classes are balanced (mean truth ½), so that the score is the calibrated probability.
    table = reliability(scored(truth, is_signal))
    assert table is not None
    pull = (table.signal_fraction - table.mean_score) / table.error
    assert np.sum(pull**2) < 40  # χ² of 15 bins: p = 5e-4
    confident = reliability(scored(truth**3 / (truth**3 + (1 - truth) ** 3), is_signal))
    assert confident is not None
    assert confident.signal_fraction[-1] < confident.mean_score[-1] - 5 * confident.error[-1]
    assert reliability(scored([0.5], [True])) is None
