"""The ABCD method: yields, prediction and closure by hand; closure where it must hold."""

from __future__ import annotations

import json

import numpy as np
import pytest

from evaluation.samples import scored
from particle_transformer.errors import SampleError
from particle_transformer.evaluation import Figure, distance_correlation_squared
from particle_transformer.evaluation.abcd import (
    abcd_regions,
    closure,
    evaluate_abcd,
    predicted_yield,
)


def _events(scores, is_signal, **columns):
    scores = np.asarray(scores, dtype=float)
    return scored(scores.mean(1), is_signal, **columns), scores


def test_regions_by_hand():
    passes = np.array([[1, 1], [1, 0], [0, 1], [0, 0], [1, 1]], dtype=bool)
    found = abcd_regions(passes)
    assert {name: np.flatnonzero(flags).tolist() for name, flags in found.items()} == {
        "A": [0, 4], "B": [1], "C": [2], "D": [3]
    }  # fmt: skip


def test_prediction_and_closure_by_hand():
    yields = {
        "A": Figure(8.0, 2.0, 16.0), "B": Figure(20.0, 2.0, 100.0),
        "C": Figure(30.0, 6.0, 25.0), "D": Figure(100.0, 5.0, 400.0),
    }  # fmt: skip
    predicted = predicted_yield(yields)
    # 20 · 30 / 100 = 6; relative errors 0.1, 0.2 and 0.05.
    assert predicted.value == pytest.approx(6)
    assert predicted.error == pytest.approx(6 * np.sqrt(0.01 + 0.04 + 0.0025))
    assert predicted.effective_events == 25
    ratio = closure(yields["A"], predicted)
    assert ratio.value == pytest.approx(8 / 6)
    assert ratio.error == pytest.approx(8 / 6 * np.sqrt((2 / 8) ** 2 + 0.0525))
    assert ratio.effective_events == 16


@pytest.mark.parametrize("region", ["B", "C", "D"])
def test_an_empty_region_leaves_the_prediction_undefined(region):
    yields = {name: Figure(5.0, 1.0, 25.0) for name in "ABCD"}
    yields[region] = Figure(-0.5, 1.0, 0.2)
    predicted = predicted_yield(yields)
    assert predicted.value is None
    assert predicted.reason == f"the background yield in region {region} is -0.5, not positive"
    assert closure(yields["A"], predicted).reason == predicted.reason


def test_no_event_in_a_is_a_closure_of_zero():
    yields = {name: Figure(5.0, 1.0, 25.0) for name in "BCD"}
    ratio = closure(Figure(0.0, 0.0, 0.0), predicted_yield(yields))
    assert (ratio.value, ratio.error) == (0.0, 0.0)


def test_the_whole_block_by_hand():
    # Two folds whose networks score on different scales: their thresholds are 0.8 and 0.4.
    grid = np.array([[0.9, 0.9], [0.9, 0.1], [0.1, 0.9], [0.1, 0.1], [0.9, 0.9]])
    signal = np.array([0, 0, 0, 0, 1], dtype=bool)
    weight = np.array([1.0, 4.0, -2.0, 8.0, 0.5])
    test, scores = _events(
        np.concatenate([grid, grid / 2]), np.tile(signal, 2), weight=np.tile(weight, 2) * 3,
        fold=np.repeat([0, 1], 5),
    )  # fmt: skip
    steps = np.linspace(0.1, 1.0, 10)  # the cut >= 0.8 keeps three of ten
    validation, validation_scores = _events(
        np.concatenate([np.stack([steps, steps], 1), np.stack([steps, steps], 1) / 2]),
        np.zeros(20, dtype=bool), fold=np.repeat([0, 1], 10),
    )  # fmt: skip
    found = evaluate_abcd(test, validation, scores, validation_scores, folds=2, efficiencies=(0.3,))
    # Signal ties with the background that is as high (weights 1 + 4, and 1 − 2), and beats the rest.
    first, second = found["auc"]
    assert {fold: figure["value"] for fold, figure in first.items()} == {
        "0": pytest.approx((0.5 * 5 + 6) / 11), "1": pytest.approx((0.5 * 5 + 6) / 11)
    }  # fmt: skip
    assert second["1"]["value"] == pytest.approx((0.5 * -1 + 12) / 11)
    (cut,) = found["cuts"]
    assert cut["background_efficiency"] == [0.3, 0.3]
    assert cut["thresholds"] == {
        "0": pytest.approx([0.8, 0.8]), "1": pytest.approx([0.4, 0.4])
    }  # fmt: skip
    background = {region: cut["background"][region]["value"] for region in "ABCD"}
    assert background == {"A": 6, "B": 24, "C": -12, "D": 48}
    assert cut["background"]["A"]["error"] == pytest.approx(np.sqrt(2) * 3)
    assert cut["background"]["D"]["effective_events"] == pytest.approx(2)
    assert cut["signal"]["A"]["value"] == 3
    assert cut["predicted"]["value"] is None
    assert cut["closure"]["reason"] == "the background yield in region C is -12, not positive"
    assert cut["contamination"]["A"]["value"] == pytest.approx(0.5)
    assert cut["contamination"]["B"]["value"] == 0
    assert cut["contamination"]["C"]["reason"] == (
        "the background yield in region C is -12, not positive"
    )
    json.dumps(found, allow_nan=False)


def test_independent_scores_close_and_dependent_ones_do_not():
    rng = np.random.default_rng(4)
    number = 60_000
    independent = rng.random((number, 2)) ** 2
    # Signed weights; they do not depend on the scores.
    weight = rng.gamma(4, 0.25, number) * np.where(rng.random(number) < 0.2, -1, 1)
    fold = rng.integers(0, 3, number)
    mixed = independent.copy()
    mixed[:, 1] = 0.6 * mixed[:, 1] + 0.4 * mixed[:, 0]
    for scores, closes in ((independent, True), (mixed, False)):
        test, validation = (
            _events(scores[rows], np.zeros(len(scores[rows]), dtype=bool), weight=weight[rows],
                    fold=fold[rows])
            for rows in (slice(0, 40_000), slice(40_000, None))
        )  # fmt: skip
        found = evaluate_abcd(test[0], validation[0], test[1], validation[1], folds=3)
        pulls = [(cut["closure"]["value"] - 1) / cut["closure"]["error"] for cut in found["cuts"]]
        assert len(pulls) == 4
        assert (np.abs(pulls) < 3.5).all() if closes else (np.array(pulls) > 10).all()
        dependence = found["distance_correlation"]["value"]
        assert (
            dependence
            == distance_correlation_squared(test[1][:, 0], test[1][:, 1], test[0].weight).value
        )
        assert (abs(dependence) < 1e-3) == closes
        for cut in found["cuts"]:
            whole = cut["background"]
            for column, region in ((0, "B"), (1, "C")):
                kept = (whole["A"]["value"] + whole[region]["value"]) / test[0].weight.sum()
                assert kept == pytest.approx(cut["background_efficiency"][column], rel=0.15)


def test_the_error_of_the_closure_is_its_spread():
    rng = np.random.default_rng(8)
    ratios, errors = [], []
    for _ in range(300):
        scores = rng.random((600, 2))
        weight = rng.gamma(2, 0.5, 600)
        inside = abcd_regions(scores >= 0.6)
        yields = {
            region: Figure(weight[flags].sum(), np.sqrt((weight[flags] ** 2).sum()), 1.0)
            for region, flags in inside.items()
        }
        ratio = closure(yields["A"], predicted_yield(yields))
        assert ratio.value is not None
        assert ratio.error is not None
        ratios.append(ratio.value)
        errors.append(ratio.error)
    assert np.mean(errors) == pytest.approx(np.std(ratios), rel=0.15)
    assert np.mean(ratios) == pytest.approx(1, abs=4 * np.std(ratios) / np.sqrt(300) + 0.01)


def test_a_fold_without_validation_background_leaves_all_undefined():
    test, scores = _events(np.random.default_rng(1).random((40, 2)), np.zeros(40, dtype=bool))
    validation, validation_scores = _events([[0.5, 0.5]], [True])
    found = evaluate_abcd(test, validation, scores, validation_scores, folds=1)
    for cut in found["cuts"]:
        assert cut["thresholds"] == {"0": None}
        for figure in (cut["closure"], cut["predicted"], cut["background"]["A"]):
            assert figure["value"] is None
            assert figure["reason"] == "fold 0, validation events: no background event"


def test_arguments_are_checked():
    test, scores = _events([[0.5, 0.5]], [False])
    with pytest.raises(
        SampleError, match=r"validation scores: got shape \(1, 1\), expected \(1, 2"
    ):
        evaluate_abcd(test, test, scores, scores[:, :1], folds=1)
    with pytest.raises(
        SampleError, match="point 1: expected a background efficiency between 0 and 1"
    ):
        evaluate_abcd(test, test, scores, scores, folds=1, efficiencies=[1.0])
