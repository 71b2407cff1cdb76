"""Kolmogorov-Smirnov against scipy and against repeated samples; stability against resampling."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ks_2samp, kstwobign

from particle_transformer.errors import SampleError
from particle_transformer.evaluation import kolmogorov_smirnov, stability


@pytest.mark.filterwarnings("ignore:ks_2samp. Exact:RuntimeWarning")  # of its p-value
@given(st.integers(0, 10**6), st.integers(1, 80), st.integers(1, 80), st.booleans())
def test_distance_is_that_of_scipy_without_weights(seed, first, second, ties):
    rng = np.random.default_rng(seed)
    a, b = rng.random(first), rng.random(second) ** 1.3
    if ties:
        a, b = np.round(a, 1), np.round(b, 1)
    found = kolmogorov_smirnov(a, np.ones(first), b, np.full(second, 0.3))
    assert found.distance == pytest.approx(ks_2samp(a, b).statistic)
    n = first * second / (first + second)
    expected = kstwobign.sf((np.sqrt(n) + 0.12 + 0.11 / np.sqrt(n)) * found.distance)
    assert found.p_value == pytest.approx(expected, abs=1e-9)
    assert found.effective_events == pytest.approx((first, second))


def test_weights_by_hand():
    a, b = np.array([0.1, 0.5, 0.9]), np.array([0.3, 0.7])
    found = kolmogorov_smirnov(a, np.array([3.0, -1.0, 2.0]), b, np.array([1.0, 3.0]))
    # F₁ = 0.75, 0.5, 1 behind 0.1, 0.5, 0.9; F₂ = 0.25, 1 behind 0.3, 0.7.
    # |F₁ − F₂| behind each: 0.75, 0.5, 0.25, 0.5, 0.
    assert found.distance == pytest.approx(0.75)
    assert found.effective_events == pytest.approx((16 / 14, 16 / 10))


def test_p_values_of_one_distribution_are_uniform_also_with_signed_weights():
    rng = np.random.default_rng(1)
    found = []
    for _ in range(400):
        samples = [rng.random(500) for _ in range(2)]
        weights = [np.where(rng.random(500) < 0.15, -1.0, 1.0) * rng.gamma(4, 1, 500) for _ in "ab"]
        found.append(kolmogorov_smirnov(samples[0], weights[0], samples[1], weights[1]).p_value)
    assert ks_2samp(found, np.linspace(0, 1, 4001)).pvalue > 0.001


def test_a_shift_is_seen():
    rng = np.random.default_rng(1)
    a, b = rng.normal(0, 1, 3000), rng.normal(0.2, 1, 3000)
    p_value = kolmogorov_smirnov(a, np.ones(3000), b, np.ones(3000)).p_value
    assert p_value is not None
    assert p_value < 1e-6


def test_undefined_says_which_sample():
    one, none = np.ones(1), np.zeros(0)
    assert kolmogorov_smirnov(none, none, one, one).reason == "no training event"
    found = kolmogorov_smirnov(one, one, one, -one)
    assert found.reason == "the total weight of the test events is -1, not positive"
    assert (found.distance, found.p_value) == (None, None)


def varied_sample(seed, events=2000):
    rng = np.random.default_rng(seed)
    score = rng.beta(2, 2, events)
    weight = rng.gamma(4, 0.25, events) * np.where(rng.random(events) < 0.1, -1, 1)
    varied = np.clip(score + 0.02 + 0.03 * rng.normal(size=events), 0, 1)
    lost = rng.random(events) < 0.05
    return score, weight, varied, np.where(lost, 0.0, 1.03 * weight)


def test_changes_by_hand():
    found = stability(
        np.array([0.2, 0.6]),
        np.array([1.0, 3.0]),
        np.array([0.4, 0.4]),
        np.array([2.0, 3.0]),
        {"half": 0.5, "third": 0.3},
    )
    assert found.mean_shift.value == pytest.approx(0.4 - 0.5)
    assert found.yield_change.value == pytest.approx(0.25)
    assert found.efficiency_change["half"].value == pytest.approx(-1)
    assert found.efficiency_change["third"].value == pytest.approx(1 / 0.75 - 1)
    assert found.efficiency_change["half"].effective_events == pytest.approx(1)


def test_errors_are_the_spread_of_repeated_samples():
    runs = []
    for seed in range(300):
        score, weight, varied, changed = varied_sample(seed)
        runs.append(stability(score, weight, varied, changed, {"cut": 0.7}))
    for figures in zip(
        *[(r.mean_shift, r.yield_change, r.efficiency_change["cut"]) for r in runs], strict=True
    ):
        spread = np.std([figure.value for figure in figures])
        assert np.mean([figure.error for figure in figures]) == pytest.approx(spread, rel=0.15)


def test_common_fluctuations_cancel():
    score, weight, _, _ = varied_sample(1)
    same = stability(score, weight, score, 1.1 * weight, {"cut": 0.7})
    for figure in (same.mean_shift, same.efficiency_change["cut"]):
        assert figure.value == pytest.approx(0, abs=1e-12)
        assert figure.error == pytest.approx(0, abs=1e-12)
    assert same.yield_change.value == pytest.approx(0.1)
    assert same.yield_change.error == pytest.approx(0, abs=1e-12)


def test_cut_of_each_event():
    score, weight, varied, changed = varied_sample(1)
    cut = np.where(np.arange(2000) % 2, 0.4, 0.8)
    found = stability(score, weight, varied, changed, {"cut": cut}).efficiency_change["cut"]
    kept = [w[s >= cut].sum() / w.sum() for s, w in ((score, weight), (varied, changed))]
    assert found.value == pytest.approx(kept[1] / kept[0] - 1)


def test_undefined_changes_say_why():
    one = np.ones(2)
    found = stability(one, one, one, 0 * one, {"cut": 0.5}, "signal")
    assert found.mean_shift.reason == (
        "the total weight of the varied signal events is 0, not positive"
    )
    none = stability(one, one, one, one, {"cut": 2.0}).efficiency_change["cut"]
    assert none.reason == "no nominal passing chosen event"
    with pytest.raises(SampleError, match=r"expected .2,. for all: the same events row by row"):
        stability(one, one, one, np.ones(3), {})
