"""Thresholds from validation events, efficiencies and rejections on test events."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from evaluation.samples import scored
from particle_transformer.errors import SampleError
from particle_transformer.evaluation import (
    efficiency,
    fold_thresholds,
    passing,
    rejection,
    signal_threshold,
)


def test_threshold_is_the_weighted_quantile():
    score, weight = np.array([0.1, 0.2, 0.3, 0.4]), np.array([1.0, 1.0, 2.0, 4.0])
    assert signal_threshold(score, weight, 0.4) == 0.4
    assert signal_threshold(score, weight, 0.5) == 0.4
    assert signal_threshold(score, weight, 0.51) == 0.3
    assert signal_threshold(score, weight, 0.99) == 0.1


def test_threshold_with_a_negative_weight_is_the_tightest_that_reaches_the_target():
    # Cumulative from above: 3, 2, 4 of 4, hence 0.75, 0.5, 1.
    score, weight = np.array([0.9, 0.8, 0.7]), np.array([3.0, -1.0, 2.0])
    assert signal_threshold(score, weight, 0.6) == 0.9
    assert signal_threshold(score, weight, 0.8) == 0.7


@given(
    hnp.arrays(np.float64, st.integers(1, 30), elements=st.integers(0, 5).map(float)),
    st.floats(0.01, 0.99),
    st.integers(0, 2**31),
)
def test_threshold_reaches_the_target_and_no_tighter_one_does(score, target, seed):
    weight = np.random.default_rng(seed).uniform(-0.3, 1, len(score))
    assume(weight.sum() > 0.1)
    threshold = signal_threshold(score, weight, target)
    reached = {cut: weight[score >= cut].sum() / weight.sum() for cut in np.unique(score)}
    assert reached[threshold] >= target - 1e-12
    assert all(kept < target + 1e-12 for cut, kept in reached.items() if cut > threshold)


def test_each_fold_has_its_own_threshold():
    validation = scored([0.2, 0.4, 0.6, 0.8, 0.9], [True] * 4 + [False], fold=[0, 0, 1, 1, 1])
    thresholds, reason = fold_thresholds(validation, 0.5, 2)
    assert (thresholds, reason) == ({0: 0.4, 1: 0.8}, None)
    test = scored([0.4, 0.39, 0.79, 0.8, 0.99], [False] * 5, fold=[0, 0, 1, 1, 2])
    assert passing(test, thresholds).tolist() == [True, False, False, True, False]


def test_fold_without_validation_signal_is_named():
    validation = scored([0.2, 0.4], [True, False], fold=[0, 1])
    thresholds, reason = fold_thresholds(validation, 0.5, 2)
    assert thresholds == {0: 0.2}
    assert reason == "fold 1, validation events: no signal event"


@pytest.mark.parametrize("point", [0.0, 1.0, 30.0])
def test_working_point_outside_its_range(point):
    with pytest.raises(SampleError, match=f"working point {point:g}: expected .* 0 and 1"):
        fold_thresholds(scored([0.5], [True]), point, 1)


def test_rejection_by_hand():
    weight = np.array([4.0, 4.0, 3.0, -1.0])
    passes = np.array([False, False, True, True])
    figure = rejection(weight, passes)
    assert figure.value == pytest.approx(5)  # 10 / (3 − 1)
    assert figure.effective_events == pytest.approx(0.4)  # 2² / (9 + 1)
    assert efficiency(weight, passes).value == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("weight", "passes", "reason"),
    [
        ([1, 1], [False, False], "no passing background event"),
        ([3, -1], [False, True], "passing background events is -1, not positive"),
        ([1, -1], [True, False], "total weight of the background events is 0"),
    ],
)
def test_undefined_rejection_says_why(weight, passes, reason):
    figure = rejection(np.array(weight, dtype=float), np.array(passes))
    assert figure.value is None
    assert reason in str(figure.reason)
