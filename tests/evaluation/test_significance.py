"""The Asimov significance against independent calculations, and the search for the best cut."""

from __future__ import annotations

from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from evaluation.samples import scored
from particle_transformer.evaluation import asimov_significance, optimal_threshold


def sixty_digits(s, b, sigma):
    """The formula itself, with 60 digits instead of rearrangements."""
    with localcontext() as context:
        context.prec = 60
        s, b, v = Decimal(s), Decimal(b), Decimal(sigma) ** 2
        n = s + b
        first = n * (n * (b + v) / (b * b + n * v)).ln() if v else n * (n / b).ln()
        second = b * b / v * (1 + v * s / (b * (b + v))).ln() if v else s
        return float((2 * (first - second)).sqrt())


def profile_likelihood(s, b, sigma):
    """√q₀ of the on/off problem for the Asimov data, b̂(μ=0) found numerically."""
    tau = b / sigma**2
    n, m = s + b, tau * b

    def log_likelihood(mu, rate):
        expected = mu * s + rate
        return n * np.log(expected) - expected + m * np.log(tau * rate) - tau * rate

    conditional = minimize_scalar(
        lambda rate: -log_likelihood(0, rate),
        bounds=(1e-6 * b, 10 * (s + b)),
        method="bounded",
        options={"xatol": 1e-10},
    )
    return np.sqrt(2 * (log_likelihood(1, b) + conditional.fun))


def test_hand_computed_values():
    # σ = 0: √(2((s+b)ln(1+s/b) − s)); s = b = 10: √(2(20·0.693147 − 10)) = 2.7796
    assert asimov_significance(10, 10) == pytest.approx(2.77953, rel=1e-4)
    # s = 10, b = 10, σ = 3: first 20 ln(380/280) = 6.107633, second 100/9·ln(1+90/190) = 4.308506;
    # √(2·1.799127) = 1.896907
    assert asimov_significance(10, 10, 3) == pytest.approx(1.896907, rel=1e-6)


@given(st.floats(0.05, 200), st.floats(0.5, 500), st.floats(0.02, 0.8))
def test_agrees_with_the_numerical_profile_likelihood(s, b, relative):
    expected = profile_likelihood(s, b, relative * b)
    assert asimov_significance(s, b, relative * b) == pytest.approx(expected, rel=2e-3, abs=1e-4)


@given(st.floats(1e-9, 1e6), st.floats(1e-3, 1e6), st.one_of(st.just(0.0), st.floats(1e-9, 1e4)))
def test_keeps_its_digits_everywhere(s, b, sigma):
    value = asimov_significance(s, b, sigma)
    assert value == pytest.approx(sixty_digits(s, b, sigma), rel=1e-9)


def test_limits():
    s = np.array([1e-12, 1e-6])
    assert asimov_significance(s, 100, 5) == pytest.approx(s / np.sqrt(125), rel=1e-8)
    assert asimov_significance(7, 30, 1e-9) == pytest.approx(asimov_significance(7, 30), rel=1e-12)
    assert asimov_significance(0, 30, 3) == 0


@pytest.mark.parametrize(("s", "b", "sigma"), [(1, 0, 0), (1, -3, 0), (-1, 3, 0), (1, 3, -1)])
def test_undefined_is_nan(s, b, sigma):
    assert np.isnan(asimov_significance(s, b, sigma))


@given(st.floats(0.1, 50), st.floats(1, 100), st.floats(0, 10), st.floats(0.01, 5))
def test_more_uncertainty_never_helps(s, b, sigma, more):
    assert asimov_significance(s, b, sigma + more) < asimov_significance(s, b, sigma)


def separable(events=4000, seed=5):
    rng = np.random.default_rng(seed)
    is_signal = rng.random(events) < 0.5
    score = 1 / (1 + np.exp(-rng.normal(np.where(is_signal, 1.5, -1.5), 1.0)))
    weight = np.where(is_signal, 0.01, 1.0) * np.where(rng.random(events) < 0.1, -1, 1)
    return scored(score, is_signal, weight=weight)


def test_best_threshold_is_the_best_of_all_allowed_cuts():
    events = separable()
    chosen, reason = optimal_threshold(events, scale=4.0, background_uncertainty=0.2)
    assert reason is None
    best = (-np.inf, None)
    for cut in np.unique(events.score):
        passes = events.score >= cut
        s = 4 * events.weight[passes & events.is_signal].sum()
        w = events.weight[passes & ~events.is_signal]
        if w.size == 0 or w.sum() <= 0 or s <= 0 or w.sum() ** 2 / np.sum(w**2) < 10:
            continue
        # Four times as many events, each with its own weight.
        error = np.sqrt((0.2 * 4 * w.sum()) ** 2 + 4 * np.sum(w**2))
        best = max(best, (float(asimov_significance(s, 4 * w.sum(), error)), cut))
    assert chosen == best[1]


def test_no_cut_with_enough_background():
    events = scored([0.9, 0.8, 0.2], [True, False, False])
    assert optimal_threshold(events, scale=1.0, background_uncertainty=0.1) == (
        None,
        "validation events: no cut leaves signal and 10 effective background events",
    )
    only_signal = scored([0.9], [True])
    threshold, reason = optimal_threshold(only_signal, scale=1.0, background_uncertainty=0.1)
    assert threshold is None
    assert "no background event" in str(reason)
