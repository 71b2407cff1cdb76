"""What a cut on the score does to the background: by hand, and against its parts."""

from __future__ import annotations

import json

import numpy as np
import pytest

from evaluation.samples import realistic, scored
from particle_transformer.errors import SampleError
from particle_transformer.evaluation import (
    distance_correlation_squared,
    fold_thresholds,
    sculpting,
)


def test_thresholds_of_the_background_by_hand():
    # Fold 0: background of weights 1, 2, 3, 4 from the highest score on, 10 in all.
    score = [0.9, 0.8, 0.7, 0.6, 0.95, 0.85, 0.2]
    is_signal = [False] * 4 + [True, True, False]
    weight = [1.0, 2.0, 3.0, 4.0, 100.0, 100.0, 7.0]
    events = scored(score, is_signal, weight=weight, fold=[0] * 6 + [1])
    for wanted, threshold in ((0.05, 0.9), (0.1, 0.9), (0.3, 0.8), (0.31, 0.7), (0.99, 0.6)):
        cuts, reason = fold_thresholds(events, wanted, 2, of="background")
        assert cuts == {0: threshold, 1: 0.2}
        assert reason is None
    cuts, reason = fold_thresholds(events, 0.5, 3, of="background")
    assert set(cuts) == {0, 1}
    assert reason == "fold 2, validation events: no background event"
    with pytest.raises(SampleError, match="expected a background efficiency between 0 and 1"):
        fold_thresholds(events, 1.0, 1, of="background")


def test_the_block_by_hand():
    # Two folds with scores on different scales; validation has the events of the test twice as
    # heavy, so that in the test each cut keeps just what was asked for.
    score = np.concatenate([np.arange(1, 101) / 101, np.arange(1, 101) / 1010, [0.5, 0.99]])
    is_signal = np.arange(202) >= 200
    fold = np.concatenate([np.zeros(100), np.ones(100), [0, 1]])
    events = scored(score, is_signal, fold=fold)
    validation = scored(score, is_signal, fold=fold, weight=np.full(202, 2.0))
    rng = np.random.default_rng(1)
    spectators = {"met.pt": rng.exponential(100, 202), "copy": score * 7 + 3}
    found = sculpting(events, validation, spectators, folds=2)
    assert set(found["cuts"]) == {"0.5", "0.1", "0.01"}
    for wanted, first, kept in (("0.5", 51, 100), ("0.1", 91, 20), ("0.01", 100, 2)):
        cut = found["cuts"][wanted]
        assert cut["thresholds"] == {"0": first / 101, "1": first / 1010}
        assert cut["value"] == pytest.approx(float(wanted))
        assert cut["effective_events"] == kept
        assert cut["reason"] is None
    assert found["spectators"]["copy"]["value"] == pytest.approx(1)
    assert abs(found["spectators"]["met.pt"]["value"]) < 5 * np.sqrt(2) / 200
    for figure in found["spectators"].values():
        assert (figure["events"], figure["effective_events"]) == (200, 200)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_it_is_about_the_background_of_the_signal_regions():
    events, validation = realistic(4000), realistic(4000, seed=2)
    rng = np.random.default_rng(3)
    column = (events.score + rng.normal(0, 0.2, 4000)).astype(np.float32)
    inside = events.regions["control"] & ~events.is_signal
    spoilt = np.where(inside, column, 1e6).astype(np.float32)
    found = sculpting(
        events, validation, {"x": spoilt}, folds=3, signal_regions=["control"]
    )["spectators"]["x"]  # fmt: skip
    expected = distance_correlation_squared(
        events.score[inside], column[inside].astype(float), events.weight[inside]
    )
    assert found["value"] == pytest.approx(expected.value)
    assert found["effective_events"] == pytest.approx(expected.effective_events)
    assert found["events"] == inside.sum()


def test_of_many_events_some_evenly_spaced_are_taken():
    events = realistic(4000)
    column = np.random.default_rng(3).normal(events.score, 0.2)
    background = np.flatnonzero(~events.is_signal)
    found, whole = (
        sculpting(events, events, {"x": column}, folds=3, correlated_events=most)["spectators"]["x"]
        for most in (500, len(background))
    )
    assert found["events"] == 500
    chosen = background[np.arange(500) * len(background) // 500]
    assert np.all(np.diff(chosen) > 0)
    expected = distance_correlation_squared(
        events.score[chosen], column[chosen], events.weight[chosen]
    )
    assert found["value"] == pytest.approx(expected.value)
    assert whole["events"] == len(background)
    assert whole["value"] != found["value"]


def test_what_is_undefined_says_why():
    events = scored([0.2, 0.4, 0.6, 0.8], [True] * 4)
    found = sculpting(events, events, {"x": np.arange(4.0)}, folds=2)
    assert found["spectators"]["x"]["value"] is None
    assert "background" in found["spectators"]["x"]["reason"]
    for cut in found["cuts"].values():
        assert cut["value"] is None
        assert cut["reason"] == "fold 0, validation events: no background event"
        assert cut["thresholds"] == {"0": None, "1": None}
    # One fold without validation would make the efficiency that of the other alone.
    both = scored([0.2, 0.4, 0.6, 0.8], [False] * 4, fold=[0, 0, 1, 1])
    only = both.select(both.fold == 0)
    cut = sculpting(both, only, {}, folds=2)["cuts"]["0.5"]
    assert (cut["value"], cut["thresholds"]) == (None, {"0": 0.4, "1": None})


def test_a_misaligned_spectator_is_refused():
    events = scored([0.2, 0.4], [False, False])
    with pytest.raises(SampleError, match=r"spectator 'x' has shape \(3,\), expected \(2,\)"):
        sculpting(events, events, {"x": np.zeros(3)}, folds=2)
