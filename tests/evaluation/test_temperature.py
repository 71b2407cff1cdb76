"""Temperature scaling recovers known temperatures; the calibration error is the known one."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from evaluation.samples import scored
from particle_transformer.errors import SampleError
from particle_transformer.evaluation import (
    calibration_error,
    fit_temperature,
    fold_temperatures,
    reliability,
    with_temperatures,
)


def calibrated(seed, events=20_000, temperature=1.0, negative=0.0):
    """Scores whose true signal fraction is σ(z), given as σ(z·T)."""
    rng = np.random.default_rng(seed)
    logit = rng.normal(0, 2, events)
    is_signal = rng.random(events) < 1 / (1 + np.exp(-logit))
    weight = np.where(rng.random(events) < negative, -1.0, 1.0) * rng.uniform(0.5, 1.5, events)
    # The prior of the sample is balanced, but only on average.
    return scored(1 / (1 + np.exp(-logit * temperature)), is_signal, weight=weight)


def error_of(events):
    found = calibration_error(events, replicas=0).figure.value
    assert found is not None
    return found


@given(st.floats(0.2, 5), st.integers(0, 10**6), st.sampled_from([0.0, 0.15]))
def test_known_temperature_is_recovered(temperature, seed, negative):
    events = calibrated(seed, temperature=temperature, negative=negative)
    found, reason = fit_temperature(events.score, events.weight, events.is_signal)
    assert reason is None
    # 20 000 events: the error of ln T is about 1.5 %, with negative weights 2 %.
    assert found == pytest.approx(temperature, rel=0.1)


@given(st.integers(0, 10**6))
def test_the_likelihood_is_greatest_there(seed):
    events = calibrated(seed, events=300, temperature=2.0)
    balanced = events.weight.copy()
    for own in (events.is_signal, ~events.is_signal):
        balanced[own] /= balanced[own].sum()
    logit = np.log(events.score / (1 - events.score))

    def loss(log_temperature):
        z = logit / np.exp(log_temperature) * np.where(events.is_signal, 1, -1)
        return np.sum(balanced * np.logaddexp(0, -z))

    best = minimize_scalar(loss, bounds=(-3, 4), method="bounded", options={"xatol": 1e-8})
    found, _ = fit_temperature(events.score, events.weight, events.is_signal)
    assert found is not None
    assert np.log(found) == pytest.approx(best.x, abs=1e-4)


@given(st.floats(0.5, 1.5), st.floats(0.5, 3))
def test_scaling_scores_scales_the_temperature(first, second):
    events = calibrated(1, events=500, temperature=first)
    again = with_temperatures(events, {0: 1 / second})
    one, _ = fit_temperature(events.score, events.weight, events.is_signal)
    two, _ = fit_temperature(again.score, again.weight, again.is_signal)
    assert two == pytest.approx(second * one, rel=1e-6)


def test_each_fold_has_its_own_temperature():
    parts = [calibrated(1, temperature=0.5), calibrated(2, temperature=3.0)]
    events = scored(
        np.concatenate([part.score for part in parts]),
        np.concatenate([part.is_signal for part in parts]),
        fold=np.repeat([0, 1], 20_000),
    )
    temperatures, reason = fold_temperatures(events, 2)
    assert reason is None
    assert temperatures[0] == pytest.approx(0.5, rel=0.1)
    assert temperatures[1] == pytest.approx(3.0, rel=0.1)
    scaled = with_temperatures(events, temperatures)
    before, after = error_of(events), error_of(scaled)
    assert before > 0.05
    assert after < 0.015
    for fold in (0, 1):
        ranks = [np.argsort(e.score[events.fold == fold], kind="stable") for e in (events, scaled)]
        assert ranks[0].tolist() == ranks[1].tolist()


@pytest.mark.parametrize(
    ("score", "is_signal", "reason"),
    [
        ([0.2, 0.8], [True, False], "the score does not rank signal above background"),
        ([0.2, 0.8], [False, True], "no event is on the wrong side of 0.5"),
        ([0.5, 0.6], [True, True], "no background event"),
    ],
)
def test_no_temperature_says_why(score, is_signal, reason):
    temperature, found = fit_temperature(np.array(score), np.ones(2), np.array(is_signal))
    assert temperature is None
    assert reason in str(found)
    temperatures, where = fold_temperatures(scored(score, is_signal), 1)
    assert temperatures == {}
    assert str(where).startswith("fold 0, validation events: ")


def test_fold_without_temperature_is_named():
    with pytest.raises(SampleError, match=r"fold 0 has no temperature .*have one: 1"):
        with_temperatures(scored([0.5], [True]), {1: 1.0})


def test_saturated_scores_stay_finite():
    events = scored([0.0, 1.0, 0.5, 0.4], [False, True, True, False])
    scaled = with_temperatures(events, {0: 2.0})
    assert np.all(np.isfinite(scaled.score))
    assert scaled.score[0] < 1e-100
    assert scaled.score[1] == pytest.approx(1, abs=1e-7)


def test_calibration_error_by_hand():
    # Two bins: scores 0.2 with a fifth signal of balanced weight, 0.8 with half.
    score = np.array([0.2, 0.2, 0.8, 0.8])
    is_signal = np.array([True, False, True, False])
    weight = np.array([0.1, 0.4, 0.9, 0.6])
    found = calibration_error(scored(score, is_signal, weight=weight), 2, replicas=0)
    # Bin 1: 0.1/0.5 = 0.2, off by 0. Bin 2: 0.9/1.5 = 0.6, off by 0.2, with weight 1.5 of 2.
    assert found.figure.value == pytest.approx(0.15)
    first = np.hypot(0.1 * 0.8, 0.4 * 0.2)
    second = np.hypot(0.9 * 0.2, 0.6 * 0.8)
    assert found.noise == pytest.approx(np.sqrt(2 / np.pi) * (first + second) / 2)


def test_calibration_error_is_the_reliability_diagram_summed():
    events = calibrated(3, temperature=2.0, negative=0.1)
    diagram = reliability(events, 15)
    assert diagram is not None
    distance = np.abs(diagram.signal_fraction - diagram.mean_score)
    # The bins' weights are equal up to fluctuations here.
    assert error_of(events) == pytest.approx(distance.mean(), rel=0.05)
    error = calibration_error(events, replicas=50).figure.error
    assert error is not None
    assert 0 < error < 0.3 * error_of(events)


def test_noise_is_what_calibrated_scores_show():
    values, noises = [], []
    for seed in range(30):
        events = calibrated(seed, events=3000)
        values.append(error_of(events))
        noises.append(calibration_error(events, replicas=0).noise or 0.0)
    assert np.mean(values) == pytest.approx(np.mean(noises), rel=0.1)


def test_bootstrap_error_is_the_spread_of_repeated_samples():
    values = [error_of(calibrated(seed, 3000, temperature=3.0)) for seed in range(100)]
    error = calibration_error(calibrated(1, 3000, temperature=3.0)).figure.error
    assert error == pytest.approx(np.std(values), rel=0.3)


def test_undefined_calibration_error_says_why():
    assert calibration_error(scored([0.5], [True])).figure.reason == "no background event"
    weight = np.array([1.0, -0.5, 1.0, 1.0])
    events = scored([0.1, 0.2, 0.3, 0.4], [False, True, True, False], weight=weight)
    reason = calibration_error(events, 4).figure.reason
    assert reason == "bin 1 of the score has the total weight -1, not positive"
    assert dataclasses.asdict(calibration_error(events, 4))["noise"] is None
