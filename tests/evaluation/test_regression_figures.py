"""Bias and resolution: by hand, against the spread of repeated samples, undefined as such."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.samples import realistic
from particle_transformer.errors import SampleError
from particle_transformer.evaluation import bias_and_resolution, evaluate_regression


def test_by_hand():
    residual, weight = np.array([1.0, 3.0, 5.0]), np.array([2.0, 1.0, -1.0])
    bias, resolution = bias_and_resolution(residual, weight)
    # Σw = 2, Σwr = 0, Σwr² = 2 + 9 − 25 < 0.
    assert bias.value == 0
    assert bias.error == pytest.approx(np.sqrt(4 * 1 + 9 + 25) / 2)
    assert bias.effective_events == pytest.approx(4 / 6)
    assert resolution.value is None
    assert resolution.reason == "the variance of the residuals of the events events is -7, negative"
    bias, resolution = bias_and_resolution(residual, np.array([2.0, 1.0, 1.0]))
    assert bias.value == pytest.approx(2.5)
    assert resolution.value == pytest.approx(np.sqrt((2 * 1.5**2 + 0.5**2 + 2.5**2) / 4))


@given(st.integers(2, 50), st.floats(-5, 5), st.floats(0.1, 10), st.floats(0.1, 10))
def test_laws(number, shift, stretch, scale):
    rng = np.random.default_rng(number)
    residual, weight = rng.normal(size=number), rng.random(number) + 0.1
    figures = bias_and_resolution(residual, weight)
    moved = bias_and_resolution(shift + stretch * residual, weight)
    heavier = bias_and_resolution(residual, scale * weight)
    for figure, other, expected in zip(figures, moved, (shift, 0), strict=True):
        assert other.value == pytest.approx(expected + stretch * figure.value, abs=1e-9)
        assert other.error == pytest.approx(stretch * figure.error, abs=1e-9)
    for figure, other in zip(figures, heavier, strict=True):
        assert other.value == pytest.approx(figure.value)
        assert other.error == pytest.approx(figure.error)
        assert other.effective_events == pytest.approx(figure.effective_events)


def test_errors_are_the_spread_of_repeated_samples():
    rng = np.random.default_rng(2)
    found = []
    for _ in range(400):
        weight = rng.gamma(3, 0.3, 500) * np.where(rng.random(500) < 0.1, -1, 1)
        figures = bias_and_resolution(rng.exponential(2, 500), weight)
        found.append([number for f in figures for number in (f.value, f.error)])
    bias, bias_error, resolution, resolution_error = np.array(found, dtype=float).T
    assert bias_error.mean() == pytest.approx(bias.std(), rel=0.12)
    assert resolution_error.mean() == pytest.approx(resolution.std(), rel=0.2)
    assert bias.mean() == pytest.approx(2, abs=4 * bias.std() / 20)
    assert resolution.mean() == pytest.approx(2, rel=0.02)


def test_undefined():
    bias, resolution = bias_and_resolution(np.array([1.0]), np.array([-1.0]), "top")
    assert bias.value is resolution.value is None
    assert bias.reason == "the total weight of the top events is -1, not positive"
    bias, _ = bias_and_resolution(np.zeros(0), np.zeros(0), "top")
    assert bias.reason == "no top event"
    with pytest.raises(SampleError, match="residual: 1 of 2 values are NaN or infinite"):
        bias_and_resolution(np.array([1.0, np.nan]), np.ones(2))
    with pytest.raises(SampleError, match=r"weight: got shape \(3,\), expected \(2,\)"):
        bias_and_resolution(np.ones(2), np.ones(3))


def test_each_class_and_target_has_its_own():
    events = realistic(4000)
    rng = np.random.default_rng(6)
    true = rng.normal(100, 20, (4000, 2)).astype(np.float32)
    shift = np.where(events.is_signal, 5.0, -1.0)
    predicted = true.astype(np.float64)
    predicted[:, 0] += shift + rng.normal(0, 3, 4000)
    found = evaluate_regression(events, ["met", "ht"], predicted, true)
    assert list(found) == ["met", "ht"]
    assert list(found["met"]) == ["signal", "background"]
    for name, expected, chosen in (
        ("signal", 5.0, events.is_signal), ("background", -1.0, ~events.is_signal)
    ):  # fmt: skip
        own = found["met"][name]
        assert own["events"] == chosen.sum()
        assert abs(own["bias"]["value"] - expected) < 4 * own["bias"]["error"]
        assert abs(own["resolution"]["value"] - 3) < 4 * own["resolution"]["error"]
        assert found["ht"][name]["bias"]["value"] == pytest.approx(0, abs=1e-9)
    json.dumps(found, allow_nan=False)
