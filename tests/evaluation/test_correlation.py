"""Correlation coefficients: against numpy, by hand, and their laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from particle_transformer.evaluation import correlation_matrix


def columns(seed, events=200):
    rng = np.random.default_rng(seed)
    common = rng.normal(size=events)
    return np.stack(
        [common, 1e6 + 3 * common + rng.normal(size=events), rng.exponential(size=events)], axis=1
    )


@given(st.integers(0, 2**32 - 1))
def test_equal_weights_give_what_numpy_gives(seed):
    x = columns(seed)
    expected = np.corrcoef(x.T)
    np.testing.assert_allclose(correlation_matrix(x, np.full(200, 0.3)), expected, atol=1e-9)


@given(st.integers(0, 2**32 - 1))
def test_an_event_of_weight_three_is_three_events(seed):
    x, times = columns(seed), np.random.default_rng(seed + 1).integers(0, 4, 200)
    expected = np.corrcoef(np.repeat(x, times, axis=0).T)
    np.testing.assert_allclose(correlation_matrix(x, times.astype(float)), expected, atol=1e-9)


@given(st.integers(0, 2**32 - 1))
def test_events_that_cancel_change_nothing(seed):
    x, weight = columns(seed), np.random.default_rng(seed + 1).normal(1, 0.3, 200)
    more = columns(seed + 2, 50)
    signed = np.concatenate([weight, np.ones(50), -np.ones(50)])
    found = correlation_matrix(np.concatenate([x, more, more]), signed)
    np.testing.assert_allclose(found, correlation_matrix(x, weight), atol=1e-8)


def test_a_pair_is_correlated_in_the_events_that_have_both():
    x = columns(1)
    x[:80, 0] = np.nan
    x[50:120, 2] = np.nan
    found = correlation_matrix(x, np.ones(200))
    for first, second in ((0, 1), (0, 2), (1, 2)):
        both = ~np.isnan(x[:, first]) & ~np.isnan(x[:, second])
        expected = np.corrcoef(x[both, first], x[both, second])[0, 1]
        assert found[first, second] == found[second, first] == pytest.approx(expected)
    assert np.diag(found) == pytest.approx(1)


def test_by_hand():
    x = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 1.0]])
    # Means 1 and 2/3, variances 2/3 and 2/9, ⟨xy⟩ = 1: ρ = (1/3) / √(4/27) = √3/2.
    assert correlation_matrix(x, np.ones(3))[0, 1] == pytest.approx(np.sqrt(3) / 2)
    # With the last of weight −1/2: Σw = 3/2, means 0 and 1/3, variances −2/3 (undefined) and 2/9.
    assert np.isnan(correlation_matrix(x, np.array([1.0, 1.0, -0.5]))[0, 1])


def test_what_is_undefined_is_nan():
    x = np.stack([np.full(10, 7.3), np.arange(10.0), np.full(10, np.nan)], axis=1)
    found = correlation_matrix(x, np.ones(10))
    assert np.isnan(found[0]).all()
    assert np.isnan(found[2]).all()
    assert found[1, 1] == pytest.approx(1)
    assert np.isnan(correlation_matrix(x, -np.ones(10))).all()
    assert np.isnan(correlation_matrix(np.empty((0, 2)), np.empty(0))).all()
