"""Figures of each hypothesis: its own signal, its own scores, nothing of the others."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from evaluation.samples import realistic
from particle_transformer.errors import SampleError
from particle_transformer.evaluation import Hypothesis, ScoredEvents, evaluate, evaluate_hypotheses

SETTINGS: dict[str, Any] = {
    "working_points": [0.3, 0.5], "background_uncertainty": 0.1, "folds": 3,
    "signal_regions": ["signal"], "bootstrap": 10,
}  # fmt: skip


def _two_signals(events: int, seed: int, share: float = 1.0) -> ScoredEvents:
    """The sample with half of its signal called ``heavy``."""
    sample: ScoredEvents = realistic(events, seed=seed, share=share)
    heavy = sample.is_signal & (np.arange(events) % 2 == 0)
    return dataclasses.replace(
        sample,
        process=np.where(heavy, 4, sample.process).astype(np.int16),
        processes=(*sample.processes, "heavy"),
        process_class=(*sample.process_class, "signal"),
    )


def test_each_is_the_evaluation_of_its_events_and_scores_alone():
    test, validation = _two_signals(3000, 1), _two_signals(2000, 2, 0.4)
    rng = np.random.default_rng(3)
    hypotheses = [
        Hypothesis(
            {"mass": mass}, (name,), test.score**power, rng.random(len(validation))
        )
        for mass, name, power in ((500.0, "ttH", 2), (1000.0, "heavy", 3))
    ]  # fmt: skip
    steps = []
    found = evaluate_hypotheses(
        test, validation, hypotheses, **SETTINGS, progress=lambda *step: steps.append(step)
    )
    assert steps == [(step, 20) for step in range(1, 21)]
    assert [each["parameters"] for each in found] == [{"mass": 500.0}, {"mass": 1000.0}]
    assert [each["processes"] for each in found] == [["ttH"], ["heavy"]]
    for each, hypothesis, other in zip(found, hypotheses, (4, 0), strict=True):
        parts = [
            dataclasses.replace(events, score=score).select(events.process != other)
            for events, score in (
                (test, hypothesis.test), (validation, hypothesis.validation)
            )
        ]  # fmt: skip
        expected = evaluate(*parts, **SETTINGS)
        assert each["auc"]["error"] is not None
        for name in ("auc", "auc_unweighted", "rejection", "significance"):
            assert each[name] == expected[name]
    # The area of a monotone function of a score is that of the score.
    alone = evaluate(test.select(test.process != 4), validation, **SETTINGS)
    assert found[0]["auc"]["value"] == pytest.approx(alone["auc"]["value"], abs=1e-12)


def test_an_undefined_figure_says_so():
    test = _two_signals(500, 1)
    test = test.select(test.process != 4)
    nothing = Hypothesis({"mass": 1.0}, ("heavy",), test.score, test.score)
    (found,) = evaluate_hypotheses(test, test, [nothing], **SETTINGS)
    assert found["auc"]["value"] is None
    assert found["auc"]["reason"] == "no signal event"


def test_an_unknown_process_is_refused():
    test = _two_signals(100, 1)
    wrong = Hypothesis({"mass": 1.0}, ("heavvy",), test.score, test.score)
    with pytest.raises(SampleError, match=r"unknown process 'heavvy' \(nearest: heavy\)"):
        evaluate_hypotheses(test, test, [wrong], **SETTINGS)
