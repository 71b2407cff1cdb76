"""A trained network against the best classifier there is, on events of known density."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from sklearn.ensemble import HistGradientBoostingClassifier

from particle_transformer import AnalysisObjectTransformer
from particle_transformer.evaluation import auc_unweighted
from particle_transformer.inference.score import score_events
from particle_transformer.simulation.known_density import PairProcess
from particle_transformer.simulation.point_events import OBJECT_FEATURES, PointEvents
from particle_transformer.training import FitSettings, fit_network, make_sample

if TYPE_CHECKING:
    from pathlib import Path

# A heavier, narrower peak than in the benchmark: a second density.
PROCESS = PairProcess(resonance=80.0, resolution=0.35)


def drawn(events: int, seed: int) -> PointEvents:
    return PROCESS.generate(np.arange(events) % 2 == 1, seed)


def pooled(points: PointEvents) -> np.ndarray:
    """Number, and sums over objects of the momenta, features and their squares."""
    objects = points.to_events().objects["objects"]
    assert objects.momenta is not None
    values = np.concatenate([objects.values, objects.values**2, objects.momenta], axis=1)
    sums = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0, dtype=float)])
    totals = np.diff(sums[objects.offsets], axis=0)
    mass2 = totals[:, -1] ** 2 - (totals[:, -4:-1] ** 2).sum(1)
    return np.column_stack([points.counts, totals, mass2])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
@pytest.mark.filterwarnings("ignore:.*does not have many workers")
def test_the_network_comes_near_the_optimum(tmp_path: Path) -> None:
    training, validation, test = drawn(20_000, 1), drawn(4_000, 2), drawn(100_000, 3)
    torch.manual_seed(1)
    model = AnalysisObjectTransformer(
        {"objects": len(OBJECT_FEATURES)}, 1, 32, 32, 32, num_att_blocks=2, num_class_blocks=1,
        pair_bias=True,
    )  # fmt: skip
    fit_network(
        model,
        make_sample(training.to_events(), np.arange(len(training)), [0, 1]),
        make_sample(validation.to_events(), np.arange(len(validation)), [0, 1], role="validation"),
        FitSettings(epochs=7, batch_size=128, learning_rate=3e-3),
        checkpoint_dir=tmp_path / "checkpoints",
        log_dir=tmp_path / "logs",
    )
    trees = HistGradientBoostingClassifier(max_iter=60).fit(pooled(training), training.is_signal)
    scores = {
        "optimum": PROCESS.log_likelihood_ratio(test),
        "network": score_events(model, test.to_events())[:, 0].astype(np.float64),
        "pooled": trees.decision_function(pooled(test)),
    }
    above_half, rejection = {}, {}
    for name, score in scores.items():
        value = auc_unweighted(score, test.is_signal).value
        assert value is not None
        above_half[name] = value - 0.5
        cut = np.median(score[test.is_signal])
        rejection[name] = 1 / np.mean(score[~test.is_signal] > cut)
    # Two standard errors above the optimum: no classifier is better.
    assert above_half["network"] < above_half["optimum"] + 0.002
    assert above_half["network"] > 0.965 * above_half["optimum"]
    assert rejection["network"] > 0.88 * rejection["optimum"]
    assert above_half["network"] > 1.1 * above_half["pooled"]
