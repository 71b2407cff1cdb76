"""Scores: means over networks, probabilities, and the score under one hypothesis."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from particle_transformer import AnalysisObjectTransformer
from particle_transformer.artefact import load_artefact, save_artefact
from particle_transformer.errors import SampleError
from particle_transformer.events.conditioning import Conditioning
from particle_transformer.events.packed import PackedBatch
from particle_transformer.inference import score
from particle_transformer.inference.columns import hypothesis_column, regression_columns
from particle_transformer.inference.score import (
    Predictions,
    mean_logits,
    mean_predictions,
    predict_events,
    score_at,
    score_events,
    signal_probability,
)
from training.toys import toy_events, toy_model

if TYPE_CHECKING:
    from pathlib import Path

LOGITS = st.floats(-30, 30)


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-logits)))


def _softmax(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits - logits.max(-1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(-1, keepdims=True))


@given(arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(1, 5), st.just(1)),
              elements=LOGITS))  # fmt: skip
def test_the_mean_of_one_output_is_that_of_the_probabilities(members: np.ndarray) -> None:
    mean = mean_logits(list(members))
    np.testing.assert_allclose(_sigmoid(mean), _sigmoid(members).mean(0), rtol=1e-9)
    # Neither probability loses digits where it is near 0.
    np.testing.assert_allclose(_sigmoid(-mean), _sigmoid(-members).mean(0), rtol=1e-9)


@given(arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(2, 4)),
              elements=LOGITS))  # fmt: skip
def test_the_mean_of_several_classes_is_that_of_the_probabilities(members: np.ndarray) -> None:
    mean = mean_logits(list(members))
    expected = _softmax(members).mean(0)
    np.testing.assert_allclose(_softmax(mean), expected, rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(signal_probability(mean), expected[:, 0], rtol=1e-9, atol=1e-15)


@given(arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(1, 5), st.just(2)),
              elements=LOGITS))  # fmt: skip
def test_the_mean_of_two_scores_is_that_of_each(members: np.ndarray) -> None:
    mean = mean_logits(list(members), two_scores=True)
    np.testing.assert_allclose(_sigmoid(mean), _sigmoid(members).mean(0), rtol=1e-9)
    combined = signal_probability(mean, two_scores=True)
    np.testing.assert_allclose(combined, _sigmoid(mean.sum(1)), rtol=1e-9)


def test_extreme_logits_stay_finite_and_exact() -> None:
    # p = e^-800 underflows, its logarithm does not: the mean of e^-800 and e^-801 by hand.
    low = mean_logits([np.array([[-800.0]]), np.array([[-801.0]])])
    assert low[0, 0] == pytest.approx(-800 + np.log((1 + np.exp(-1)) / 2), abs=1e-9)
    high = mean_logits([np.array([[800.0]]), np.array([[801.0]])])
    assert high[0, 0] == pytest.approx(-low[0, 0], abs=1e-9)
    # Sure of signal and sure of background: one half.
    assert mean_logits([np.array([[900.0]]), np.array([[-900.0]])])[0, 0] == 0
    both = [np.array([[900.0, -700.0]]), np.array([[-900.0, -700.0]])]
    np.testing.assert_allclose(mean_logits(both, two_scores=True), [[0, -700]], atol=1e-9)
    classes = mean_logits([np.array([[900.0, 0.0, -900.0]]), np.array([[0.0, 900.0, -900.0]])])
    np.testing.assert_allclose(classes, np.log([[0.5, 0.5, 0.0 + 5e-324]])[:, :3], atol=2000)
    np.testing.assert_allclose(classes[0, :2], np.log([0.5, 0.5]), atol=1e-12)
    assert classes[0, 2] == pytest.approx(-1800, abs=1e-9)


def test_one_network_is_its_own_mean() -> None:
    logits = np.array([[1.0, -3.0, 2.0]], dtype=np.float32)
    mean = mean_logits([logits])
    assert mean.dtype == np.float64
    np.testing.assert_array_equal(mean, logits)


def test_regressed_quantities_are_averaged_as_they_are() -> None:
    first, second = (
        Predictions(np.zeros((2, 1)), np.array(values, dtype=np.float32))
        for values in ([[1.0, 2.0], [3.0, 4.0]], [[2.0, 4.0], [3.0, -4.0]])
    )
    mean = mean_predictions([first, second]).regression
    np.testing.assert_array_equal(mean, [[1.5, 3.0], [3.0, 0.0]])
    assert mean.dtype == np.float64


def test_predictions_are_those_of_the_network_in_the_order_of_the_events(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(score, "BATCH_EVENTS", 7)
    events, _ = toy_events(30)
    model = toy_model(regression_targets=2)
    told: list[int] = []
    found = predict_events(model, events, progress=told.append)
    assert told == [7, 7, 7, 7, 2]
    with torch.no_grad():
        expected = model.predict_packed(PackedBatch.from_events(events))
    np.testing.assert_allclose(found.logits, expected.logits, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.regression, expected.regression, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(score_events(model, events), found.logits)
    plain = predict_events(toy_model(), events)
    assert plain.regression.shape == (30, 0)


def test_scores_under_any_hypothesis_from_python(tmp_path: Path) -> None:
    events, _ = toy_events(20)
    conditioning = Conditioning(("mass",), ((500.0,), (1000.0,)), (0.5, 0.5), (-1, 0))
    torch.manual_seed(1)
    network = AnalysisObjectTransformer({"jets": 3, "muons": 2}, 2, 8, 8, 8, 8, 8, 2)
    network.event_scaling.scale.copy_(torch.tensor([1.0, 500.0]))
    metadata = {"conditioning": conditioning.to_json(), "two_scores": False}
    save_artefact(tmp_path / "network", network, metadata)

    model, metadata = load_artefact(tmp_path / "network")
    found = score_at(model, metadata, events, {"mass": 900})

    mass = np.full((20, 1), 900, dtype=np.float32)
    told = replace(events, event=np.concatenate([events.event, mass], 1))
    with torch.no_grad():
        logits = network.eval().forward_packed(PackedBatch.from_events(told))[:, 0].double()
    np.testing.assert_allclose(found, logits.sigmoid(), rtol=1e-6)
    assert not np.allclose(found, score_at(model, metadata, events, {"mass": 500}))
    with pytest.raises(SampleError, match=r"got 'mas', expected a parameter .*; nearest: mass"):
        score_at(model, metadata, events, {"mas": 900})
    with pytest.raises(
        SampleError, match=r"got mass, but the networks have no .*training.condition$"
    ):
        score_at(toy_model(), {"conditioning": None}, events, {"mass": 900})


def test_names_of_columns() -> None:
    assert hypothesis_column({"mass": 1000.0}) == "score_mass_1000"
    assert hypothesis_column({"mass": 750.5, "width": 0.1}) == "score_mass_750.5_width_0.1"
    # No two hypotheses have one name, however near they are.
    near = [hypothesis_column({"mass": mass}) for mass in (1234567.0, 1234568.0)]
    assert near == ["score_mass_1234567.0", "score_mass_1234568.0"]
    targets = ["gen_met", "log(gen.pt)", "log gen pt", "a_2", "a", "(a)"]
    assert regression_columns(targets) == [
        "regression_gen_met", "regression_log_gen_pt", "regression_log_gen_pt_2",
        "regression_a_2", "regression_a", "regression_a_3",
    ]  # fmt: skip
