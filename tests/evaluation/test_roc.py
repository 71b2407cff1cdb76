"""ROC and AUC against the definition itself, against scikit-learn, and by their symmetries."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import roc_auc_score

from particle_transformer.evaluation import Ranking, auc, auc_unweighted, roc_curve

# Few distinct scores, so that ties are the rule; weights of both signs.
TIED = st.integers(0, 6).map(lambda k: k / 6)


@st.composite
def samples(draw, low=-1.0, high=3.0):
    events = draw(st.integers(2, 40))
    score = np.array(draw(st.lists(TIED, min_size=events, max_size=events)))
    weight = draw(hnp.arrays(np.float64, events, elements=st.floats(low, high, width=32)))
    is_signal = draw(hnp.arrays(bool, events))
    is_signal[:2] = [True, False]
    return score, weight, is_signal


def brute_force(score, weight, is_signal):
    s, b = score[is_signal], score[~is_signal]
    ranked = (s[:, None] > b) + 0.5 * (s[:, None] == b)
    pairs = weight[is_signal][:, None] * weight[~is_signal]
    return np.sum(pairs * ranked) / (weight[is_signal].sum() * weight[~is_signal].sum())


@given(samples())
def test_auc_is_the_pairwise_sum_with_signed_weights(sample):
    score, weight, is_signal = sample
    assume(weight[is_signal].sum() > 0.1)
    assume(weight[~is_signal].sum() > 0.1)
    figure = auc(score, weight, is_signal)
    assert figure.value == pytest.approx(brute_force(score, weight, is_signal), rel=1e-9, abs=1e-9)


@given(samples(low=0.125))
def test_auc_agrees_with_scikit_learn_for_positive_weights(sample):
    score, weight, is_signal = sample
    expected = roc_auc_score(is_signal, score, sample_weight=weight)
    assert auc(score, weight, is_signal).value == pytest.approx(expected, abs=1e-12)
    expected = roc_auc_score(is_signal, score)
    assert auc_unweighted(score, is_signal).value == pytest.approx(expected, abs=1e-12)


@given(samples())
def test_area_under_the_curve_is_the_auc(sample):
    score, weight, is_signal = sample
    assume(weight[is_signal].sum() > 0.1)
    assume(weight[~is_signal].sum() > 0.1)
    curve = roc_curve(score, weight, is_signal)
    assert curve is not None
    area = np.trapezoid(curve.signal_efficiency, curve.background_efficiency)
    assert area == pytest.approx(auc(score, weight, is_signal).value, rel=1e-9, abs=1e-9)


@given(samples(low=0.125))
def test_exchanging_the_classes_gives_one_minus_auc(sample):
    score, weight, is_signal = sample
    figures = (auc(score, weight, is_signal).value, auc(score, weight, ~is_signal).value)
    assert np.sum(np.array(figures, dtype=float)) == pytest.approx(1, abs=1e-12)


@given(samples(low=0.125), st.floats(0.5, 100))
def test_scale_of_a_class_and_monotone_maps_change_nothing(sample, factor):
    score, weight, is_signal = sample
    scaled = np.where(is_signal, factor * weight, weight)
    mapped = auc(np.exp(2 * score), scaled, is_signal).value
    assert mapped == pytest.approx(auc(score, weight, is_signal).value, rel=1e-9)


def test_hand_computed_curve():
    score = np.array([0.9, 0.8, 0.8, 0.3])
    weight = np.array([2.0, 2.0, 3.0, -1.0])
    is_signal = np.array([True, True, False, False])
    # Pairs: 2·3·1 + 2·3·½ + 2·(−1)·1 + 2·(−1)·1 = 5, over 4·2.
    assert auc(score, weight, is_signal).value == pytest.approx(5 / 8)
    curve = roc_curve(score, weight, is_signal)
    assert curve is not None
    assert curve.threshold.tolist() == [np.inf, 0.9, 0.8, 0.3]
    assert curve.signal_efficiency.tolist() == [0, 0.5, 1, 1]
    assert curve.background_efficiency.tolist() == [0, 0, 1.5, 1]
    assert curve.background_at(np.array([0.4, 0.5, 0.51, 1.0])).tolist() == [0, 0, 1.5, 1.5]


def test_negative_weights_may_leave_the_unit_interval():
    score = np.array([0.9, 0.5, 0.1])
    figure = auc(score, np.array([1.0, 3.0, -2.0]), np.array([False, True, True]))
    assert figure.value == 0.0  # pairs of one background above all signal
    figure = auc(score, np.array([3.0, 1.0, -2.0]), np.array([True, False, True]))
    assert figure.value == 3.0  # (3·1)/(1·1): reported as it is


@pytest.mark.parametrize(
    ("weight", "is_signal", "reason"),
    [
        ([1, 1], [True, True], "no background event"),
        ([1, 1], [False, False], "no signal event"),
        ([1, 0], [False, True], "total weight of the signal events is 0, not positive"),
        ([-2, 1], [False, True], "total weight of the background events is -2, not positive"),
    ],
)
def test_undefined_auc_says_why(weight, is_signal, reason):
    weight, is_signal = np.array(weight, dtype=float), np.array(is_signal)
    figure = auc(np.array([0.1, 0.2]), weight, is_signal)
    assert figure.value is None
    assert reason in str(figure.reason)
    assert roc_curve(np.array([0.1, 0.2]), weight, is_signal) is None
    assert np.isnan(Ranking(np.array([0.1, 0.2]), is_signal).auc(weight))


def test_no_event_at_all_is_undefined():
    empty = np.zeros(0)
    assert auc(empty, empty, empty.astype(bool)).reason == "no signal event"
